"""Divides samples into train, validation and test by whole groups, and checks what came out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from consilience.errors import ConsilienceError

ROLES = ("train", "validation", "test")
SALTS_TRIED = 1000


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
        text = "" if pd.isna(value) else str(value)
        names = [name.strip() for name in re.split(r"[,;\t]", text) if name.strip()]
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
    """Return the split (samples, columns sample, group, role) that `settings` describe.

    `labels` (samples,) are classes; every role must hold each of them. Raises ConsilienceError for a group column or
    official role that is absent or unknown, and for a role that comes out empty or lacks a class.
    """
    column = settings["group"]
    if column not in samples:
        raise ConsilienceError(
            f"split.group: no sample column {column!r}; the dataset has {', '.join(samples.columns)}"
        )
    groups = connected_groups(samples.set_index("id", drop=False)[column])
    official = _official(samples, settings["mode"])
    roles = _roles(groups, official, settings, settings["salt"])
    if not _complete(roles, labels):
        raise ConsilienceError(_refusal(groups, official, settings, roles, labels))
    return pd.DataFrame({"sample": samples["id"].to_numpy(), "group": groups, "role": roles})


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


def _complete(roles: np.ndarray, labels: np.ndarray | None) -> bool:
    classes = np.zeros(len(roles), dtype=int) if labels is None else labels
    return all(set(classes[roles == role]) == set(classes) for role in ROLES)


def _refusal(
    groups: np.ndarray, official: np.ndarray, settings: Mapping[str, Any], roles: np.ndarray, labels: np.ndarray | None
) -> str:
    """Say what is missing, and offer the first salt that works; it is chosen on counts alone."""
    salt = settings["salt"]
    if len(set(groups)) < len(ROLES):
        return f"split: {len(set(groups))} groups of {settings['group']} cannot fill {len(ROLES)} roles"
    tried = (f"{salt}-{number}" for number in range(1, SALTS_TRIED + 1))
    works = next((other for other in tried if _complete(_roles(groups, official, settings, other), labels)), None)
    counts = ", ".join(
        f"{role} {np.count_nonzero(roles == role)} samples in {len(set(groups[roles == role]))} groups"
        for role in ROLES
    )
    lacking = "is empty" if labels is None else "is empty or lacks a class"
    offer = (
        f"split.salt: {works} works"
        if works
        else f"none of {SALTS_TRIED} other salts works; change the shares or the group"
    )
    return f"split: a role {lacking} with salt {salt!r}: {counts}; {offer}"


def overlaps(samples: pd.DataFrame, split: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Count, for every grouping column, the groups that two roles share.

    Columns count as groupings where they are text, repeat, and name at least two groups. Hashed roles share no group
    of the split's own column; other groupings and official roles may overlap, which is reported, not refused.
    """
    found: dict[str, dict[str, int]] = {}
    for column in ["group", *samples.columns]:
        values = split["group"] if column == "group" else samples[column]
        if values.dtype.kind in "biuf" or column == "official_role" or not 1 < values.nunique() < len(values):
            continue
        members = {role: set(values[(split["role"] == role).to_numpy()]) for role in ROLES}
        pairs = (("train", "validation"), ("train", "test"), ("validation", "test"))
        found[column] = {f"{one} and {two}": len(members[one] & members[two]) for one, two in pairs}
    return found
