"""Members of an ensemble: which networks a model has, which rows each sees, and whether its labels are permuted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from consilience.errors import ConsilienceError


@dataclass(frozen=True)
class Member:
    """One network: its number in the ensemble, its seed, the rows it sees, and its permutation (0 = real labels)."""

    member: int
    seed: int
    rows: str = "all"
    permuted: int = 0


def enumerate_members(seeds: int, rows: Sequence[str] = ("all",), permuted: Sequence[int] = (0,)) -> list[Member]:
    """Return a member for every seed (0..seeds-1), subset of rows and permutation; seeds vary fastest."""
    combinations = [(seed, subset, permutation) for permutation in permuted for subset in rows for seed in range(seeds)]
    return [Member(number, *combination) for number, combination in enumerate(combinations)]


def members_table(members: Iterable[Member], model: str) -> pd.DataFrame:
    """Return members.tsv: member, model, seed, rows, permuted."""
    frame = pd.DataFrame([asdict(member) for member in members])
    frame.insert(1, "model", model)
    return frame


def stable_seed(*parts: object) -> int:
    """Return a seed in [0, 2**63) that depends on the text of `parts` alone, on every machine and in every run."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def member_seed(base: int, model: str, member: Member, stream: str) -> int:
    """Return the seed of one random stream (`initialization`, `order`, `noise`) of one member.

    It does not depend on the member's number, nor on which other members there are.
    """
    return stable_seed(base, model, member.seed, member.rows, member.permuted, stream)


def select_rows(groups: Sequence[str], rows: str, seed: int) -> np.ndarray:
    """Return the positions, ascending, of the samples that a named subset `rows` keeps; whole groups go together.

    `groups` (samples,) are the groups of the training samples. The names:

        all         every sample
        fold:i/k    all but fold i of k; groups are dealt to the k folds in the order of a salted hash
        half:i      half of the groups; half:0 and half:1 are the two halves of one division, so are half:2 and half:3
                    (complementary pairs: Shah & Samworth 2013, section 2)

    Raises ConsilienceError for another name, and where there are fewer groups than parts.
    """
    groups = np.asarray([str(group) for group in groups])
    if rows == "all":
        return np.arange(len(groups))
    fold, half = re.fullmatch(r"fold:(\d+)/(\d+)", rows), re.fullmatch(r"half:(\d+)", rows)
    if fold and int(fold[1]) < int(fold[2]) and int(fold[2]) > 1:
        left_out, parts, salt = int(fold[1]), int(fold[2]), f"fold/{fold[2]}"
    elif half:
        left_out, parts, salt = 1 - int(half[1]) % 2, 2, f"half/{int(half[1]) // 2}"
    else:
        raise ConsilienceError(f"rows: {rows!r} names no subset; expected all, fold:i/k with i < k, or half:i")
    names = sorted(set(groups), key=lambda group: (stable_seed(seed, salt, group), group))
    if len(names) < parts:
        raise ConsilienceError(f"rows: {rows!r} needs at least {parts} groups; the training role has {len(names)}")
    return np.flatnonzero(~np.isin(groups, names[left_out::parts]))


def permutation(groups: Sequence[str], permuted: int, seed: int, role: str) -> np.ndarray:
    """Return the order (samples,) that a permutation takes labels in; the identity where `permuted` is 0.

    Labels of one group stay together: the groups are laid down in a shuffled order, and shuffled within, so that
    labels which resemble each other within a group still do. A free shuffle would make them independent, and its null
    distribution too narrow (Winkler et al. 2015, section 2.2). Roles are permuted each by itself, so that the
    validation role cannot tell the labels were real.
    """
    if permuted == 0:
        return np.arange(len(groups))
    random = np.random.default_rng(stable_seed(seed, "permutation", permuted, role))
    _, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    places = np.argsort(codes, kind="stable")
    shuffled = np.lexsort((random.random(len(codes)), random.permutation(codes.max() + 1)[codes]))
    order = np.empty(len(codes), dtype=np.int64)
    order[places] = shuffled
    return order
