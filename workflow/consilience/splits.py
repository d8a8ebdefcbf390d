"""Divides samples into train, validation and test by whole groups, and checks what came out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from consilience.errors import ConsilienceError

ROLES = ("train", "validation", "test")
# The role, in split.tsv, of what is left out so that hashed roles share no value of split.apart.
EXCLUDED = "excluded"
SALTS_TRIED = 1000


@dataclass(frozen=True)
class Division:
    """A split by a `mode` that is no longer auto.

    `table` (samples, columns sample, group, role) is split.tsv. `excluded` counts what was left out by column of
    split.apart and the role it would have had, {column: {"train": n, "validation": n}}; empty where the data name
    validation. A sample that shares values of several columns counts for the first of them.
    """

    mode: str
    table: pd.DataFrame
    excluded: dict[str, dict[str, int]]


@dataclass(frozen=True)
class _Grouping:
    """The names that samples have in a column: a row of `rows` (a sample) and `codes` (a name) for each."""

    column: str
    rows: np.ndarray
    codes: np.ndarray

    @classmethod
    def of(cls, samples: pd.DataFrame, column: str) -> _Grouping:
        names = samples[column].map(names_of).reset_index(drop=True).explode().dropna()
        return cls(column, names.index.to_numpy(), pd.factorize(names)[0])

    def sharing(self, some: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Say which of `some` samples share a name with one of the `others`; all bool (samples,)."""
        held = np.zeros(self.codes.max(initial=-1) + 1, dtype=bool)
        held[self.codes[others[self.rows]]] = True
        found = np.zeros(len(some), dtype=bool)
        found[self.rows[held[self.codes]]] = True
        return found & some


def sampled(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return `rows`, or `most` of them drawn by the seed, in order."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def names_of(value: Any) -> list[str]:
    """Return the names that a value holds, separated by commas, semicolons or tabs; none where it is blank."""
    text = "" if pd.isna(value) else str(value)
    return [name.strip() for name in re.split(r"[,;\t]", text) if name.strip()]


def connected_groups(values: pd.Series) -> np.ndarray:
    """Return the group of every sample (samples,), joining groups that a sample names together.

    `values`, indexed by sample, hold one name or several, separated by commas, semicolons or tabs. Samples are
    connected where they share a name, directly or through others; the component takes the first of its names, shorter
    ones before longer, so that its role depends neither on the order of samples nor on accessions that join later
    (GSE99 before GSE100).
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    firsts = []
    for sample, value in values.items():
        names = names_of(value)
        if not names:
            raise ConsilienceError(
                f"sample {sample}: the group column {values.name!r} is empty; every sample needs a group"
            )
        firsts.append(names[0])
        for name in names:
            first, second = sorted((root(names[0]), root(name)), key=lambda name: (len(name), name))
            parent[second] = first
    return np.asarray([root(name) for name in firsts], dtype=object)


def position(group: str, salt: str) -> float:
    """Return where a group lies on [0, 1): the first 8 bytes of SHA-256 of salt and group, over 2**64."""
    digest = hashlib.sha256(f"{salt}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def assign(samples: pd.DataFrame, settings: Mapping[str, Any], labels: np.ndarray | None = None) -> pd.DataFrame:
    """Return the split (samples, columns sample, group, role) that `settings` describe; see `divide`."""
    return divide(samples, settings, labels).table


def divide(samples: pd.DataFrame, settings: Mapping[str, Any], labels: np.ndarray | None = None) -> Division:
    """Divide samples into roles as `settings`, the study's split section, describe.

    What `apart` leaves out lies in hashed roles: where test is official, training samples that share a value with a
    hashed validation role; where validation is official too, none.

    `labels` (samples,) are classes; every role must hold each of them, after what `apart` leaves out. Raises
    ConsilienceError for a column or official role that is absent or unknown, and for a role that comes out empty or
    lacks a class.
    """
    apart = list(settings.get("apart", ()))
    for key, column in (("group", settings["group"]), *(("apart", column) for column in apart)):
        if column not in samples:
            raise ConsilienceError(
                f"split.{key}: no sample column {column!r}; the dataset has {', '.join(samples.columns)}"
            )
    groups = connected_groups(samples.set_index("id", drop=False)[settings["group"]])
    mode = _mode(samples, settings["mode"])
    official = _official(samples, mode)
    given = set(official) - {""}
    groupings = [] if "validation" in given else [_Grouping.of(samples, column) for column in apart]
    hashed = [role for role in ROLES if role not in given]

    def drawn(salt: str) -> tuple[np.ndarray, np.ndarray]:
        roles = _roles(groups, official, settings, salt)
        return roles, _reasons(roles, groupings, hashed)

    roles, reasons = drawn(settings["salt"])
    kept = _kept(roles, reasons)
    if not _complete(kept, labels):
        raise ConsilienceError(_refusal(groups, drawn, settings, labels))
    excluded = {
        grouping.column: {role: int(((reasons == grouping.column) & (roles == role)).sum()) for role in ROLES[:2]}
        for grouping in groupings
    }
    return Division(mode, pd.DataFrame({"sample": samples["id"].to_numpy(), "group": groups, "role": kept}), excluded)


def _mode(samples: pd.DataFrame, mode: str) -> str:
    """Return the mode, and for auto the one that the samples allow: official where some have the official role test."""
    if mode != "auto":
        return mode
    return "official" if "official_role" in samples and (samples["official_role"] == "test").any() else "hash"


def _official(samples: pd.DataFrame, mode: str) -> np.ndarray:
    """Return the official role of every sample, or "" where the mode leaves it open."""
    if mode == "hash":
        return np.full(len(samples), "", dtype=object)
    if "official_role" not in samples:
        raise ConsilienceError(f"split.mode: {mode} needs the sample column official_role, which the dataset lacks")
    official = samples["official_role"].fillna("").to_numpy(dtype=object)
    unknown = sorted(set(official) - {*ROLES, ""})
    if unknown:
        raise ConsilienceError(f"official_role: {unknown[0]!r} is not one of {', '.join(ROLES)} or empty")
    if not (official == "test").any():
        raise ConsilienceError(f"split.mode: {mode} needs samples with the official role test; the dataset has none")
    if mode == "official_test":
        return np.where(official == "test", "test", "").astype(object)
    # Where the data name a validation role, it is theirs; else it is hashed out of train below.
    given = ROLES if (official == "validation").any() else ("test",)
    keep = np.isin(official.astype(str), given)
    return np.where(keep, official, "").astype(object)


def _roles(groups: np.ndarray, official: np.ndarray, settings: Mapping[str, Any], salt: str) -> np.ndarray:
    train, validation = settings["train"], settings["validation"]
    # Once the test role is given, train and validation share what is left in their own proportion.
    whole = train + validation if (official == "test").any() else 1.0
    names, inverse = np.unique(groups.astype(str), return_inverse=True)
    place = np.asarray([position(name, salt) for name in names]) * whole
    hashed = np.where(place < train, "train", np.where(place < train + validation, "validation", "test"))
    return np.where(official == "", hashed[inverse], official).astype(object)


def _reasons(roles: np.ndarray, groupings: Sequence[_Grouping], hashed: Collection[str]) -> np.ndarray:
    """Return the column for which each sample is left out (samples,), "" where it stays.

    Only `hashed` roles are kept apart. Test samples stay. Validation goes first, so that no training sample goes for
    the sake of one that is left out.
    """
    reasons = np.full(len(roles), "", dtype=object)
    for role, above in (("validation", ("test",)), ("train", ("validation", "test"))):
        held = np.isin(roles.astype(str), [other for other in above if other in hashed]) & (reasons == "")
        for grouping in groupings:
            reasons[grouping.sharing((roles == role) & (reasons == ""), held)] = grouping.column
    return reasons


def _kept(roles: np.ndarray, reasons: np.ndarray) -> np.ndarray:
    return np.where(reasons == "", roles, EXCLUDED).astype(object)


def _complete(roles: np.ndarray, labels: np.ndarray | None) -> bool:
    classes = np.zeros(len(roles), dtype=int) if labels is None else labels
    return all(set(classes[roles == role]) == set(classes) for role in ROLES)


def _refusal(
    groups: np.ndarray,
    drawn: Callable[[str], tuple[np.ndarray, np.ndarray]],
    settings: Mapping[str, Any],
    labels: np.ndarray | None,
) -> str:
    """Say what is missing, and offer the first salt that works; it is chosen on counts alone.

    `drawn` gives the roles of a salt, and why samples are left out of them.
    """
    salt = settings["salt"]
    if len(set(groups)) < len(ROLES):
        return f"split: {len(set(groups))} groups of {settings['group']} cannot fill {len(ROLES)} roles"
    tried = (f"{salt}-{number}" for number in range(1, SALTS_TRIED + 1))
    works = next((other for other in tried if _complete(_kept(*drawn(other)), labels)), None)
    roles = _kept(*drawn(salt))
    counts = ", ".join(
        f"{role} {np.count_nonzero(roles == role)} samples in {len(set(groups[roles == role]))} groups"
        for role in (*ROLES, *([EXCLUDED] if (roles == EXCLUDED).any() else []))
    )
    lacking = "is empty" if labels is None else "is empty or lacks a class"
    remedies = "the shares, the group or apart" if settings.get("apart") else "the shares or the group"
    offer = f"split.salt: {works} works" if works else f"none of {SALTS_TRIED} other salts works; change {remedies}"
    return f"split: a role {lacking} with salt {salt!r}: {counts}; {offer}"


def overlaps(samples: pd.DataFrame, split: pd.DataFrame, apart: Collection[str] = ()) -> dict[str, dict[str, int]]:
    """Count, for every grouping column, the values that two roles share; blanks count for nothing.

    Columns count as groupings where they are text, repeat, and name at least two groups, or are among `apart`. A value
    of `apart` or of the split's own groups may hold several names, which count each. Hashed roles share no group of
    the split's own column, and none of `apart`; other groupings and official roles may overlap, which is reported, not
    refused.
    """
    found: dict[str, dict[str, int]] = {}
    for column in ["group", *samples.columns]:
        values = split["group"] if column == "group" else samples[column]
        plain = values.dtype.kind in "biuf" or column == "official_role" or not 1 < values.nunique() < len(values)
        if plain and column not in apart:
            continue
        several = column == "group" or column in apart
        names = values.map(names_of if several else _whole).set_axis(split["role"]).explode().dropna()
        members = {role: set(names[names.index == role]) for role in ROLES}
        pairs = (("train", "validation"), ("train", "test"), ("validation", "test"))
        found[column] = {f"{one} and {two}": len(members[one] & members[two]) for one, two in pairs}
    return found


def _whole(value: Any) -> list[Any]:
    return [] if pd.isna(value) or not str(value).strip() else [value]
