"""What the calls have in common that an atom is on in: activations, sizes, places, and those that excite it most."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control

from consilience.domains.variants.calls import CLASSES, SIZE_BINS, size_bins
from consilience.domains.variants.contingency import TRUE, tables
from consilience.domains.variants.enrichment import (
    TRAINING,
    Enrichment,
    columns_of,
    in_order,
    training_codes,
)
from consilience.domains.variants.specialization import types_in_order
from consilience.splits import EXCLUDED

CHOSEN = ("atom", "feature", "direction", "certain", "near_end", "support")
QUARTILES = {"q1": 0.25, "median": 0.5, "q3": 0.75}


def card_atoms(table: pd.DataFrame, cards: int) -> pd.DataFrame:
    """Return the atoms of the bias `table` that have a card, those of true calls first.

    The `cards` most biased of either direction whose interval does not hold 1; where no atom is such, the 2 `cards`
    best supported, with `certain` False. Columns: atom, feature, direction, certain, near_end and support.
    """
    chosen = pd.concat([table[sign * table["near_end"] > 0].head(cards) for sign in (1, -1)], ignore_index=True)
    if chosen.empty:
        chosen = in_order(table, -table["support"], table["atom"]).head(2 * cards)
    return chosen.assign(certain=chosen["near_end"] != 0)[list(CHOSEN)]


def quantiles_by_group(values: np.ndarray, groups: np.ndarray, count: int, shares: np.ndarray) -> np.ndarray:
    """Return the quantiles (shares, groups) of `values`, each of one of `count` groups; NaN for a group without any.

    Interpolated linearly between the two nearest values, as NumPy does.
    """
    ordered = np.append(values[np.lexsort((values, groups))].astype(np.float64), np.nan)
    sizes = np.bincount(groups, minlength=count)
    first = np.cumsum(sizes) - sizes
    place = np.asarray(shares)[:, None] * np.maximum(sizes - 1, 0)
    below = np.floor(place).astype(np.int64)
    low = ordered[np.where(sizes, first + below, -1)]
    high = ordered[np.where(sizes, first + np.minimum(below + 1, np.maximum(sizes - 1, 0)), -1)]
    return low + (high - low) * (place - below)


def atoms_table(
    codes: csr_matrix,
    features: pd.DataFrame,
    labels: np.ndarray,
    samples: pd.DataFrame,
    roles: np.ndarray,
    table: pd.DataFrame,
    stability: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return a row for every atom of the bias `table`, in its order, told of the training calls that have it on.

    `stability` (all atoms of the dictionary,) is by number. Columns: atom, feature, direction, near_end, support,
    support_share, precision (the share of true calls) and base_rate (that of all calls); activation_median, _p90 and
    _maximum, auroc; type_<type>, shares; size_q1, _median and _q3 in base pairs, of calls with a size, and
    background_q1.. of all such calls; size_<bin> and background_<bin>, shares of all; chromosome and dataset, that of
    which there are most beyond its base rate, each with _share, _base_rate, _lift, _p (hypergeometric, so many or more)
    and _q (corrected over all atoms and all chromosomes, or datasets), and empty where all calls are of one; stability.
    """
    rows = np.flatnonzero(roles == TRAINING)
    active, of_training = training_codes(codes, features, roles, table), samples.iloc[rows]
    found = table[["atom", "feature", "direction", "near_end", "support", "support_share"]].reset_index(drop=True)
    found["precision"] = tables(active, labels[rows]).on[0, TRUE] / found["support"]
    found["base_rate"] = labels[rows].mean()
    levels = quantiles_by_group(active.data, active.indices, len(found), np.array([0.5, 0.9, 1]))
    for name, level in zip(("median", "p90", "maximum"), levels, strict=True):
        found[f"activation_{name}"] = level
    found["auroc"] = table["auroc"].to_numpy()
    types = Enrichment.of(active, of_training["type"])
    shares = dict(zip(types.names, types.share, strict=True))
    told = [pd.DataFrame({f"type_{name}": shares[name] for name in types_in_order(types.names)})]
    told += [_sizes(active, of_training["size"].to_numpy())]
    told += [_most_enriched(active, of_training[name], name) for name in ("chromosome", "dataset")]
    found = pd.concat([found, *told], axis=1)
    found["stability"] = np.nan if stability is None else stability[found["atom"]]
    return found


def _sizes(active: csr_matrix, sizes: np.ndarray) -> pd.DataFrame:
    """Tell of the sizes (calls,) of calls with an atom on, and of all."""
    shares, atoms = np.array(list(QUARTILES.values())), active.shape[1]
    of_code = np.repeat(sizes, np.diff(active.indptr))
    known = of_code >= 0
    own = quantiles_by_group(of_code[known], active.indices[known], atoms, shares)
    measured = sizes[sizes >= 0]
    every = quantiles_by_group(measured, np.zeros(len(measured), np.int64), 1, shares)
    on, calls = (counts.sum(axis=1) for counts in _by_bin(active, np.zeros(len(sizes), np.int64), sizes))
    told = {}
    for names, ours, theirs in (
        (QUARTILES, own, every),
        (SIZE_BINS, on / on.sum(axis=0), calls[:, None] / calls.sum()),
    ):
        told |= {f"size_{name}": values for name, values in zip(names, ours, strict=True)}
        told |= {f"background_{name}": np.full(atoms, value) for name, (value,) in zip(names, theirs, strict=True)}
    return pd.DataFrame(told)


def _by_bin(active: csr_matrix, labels: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the calls with an atom on (bins, 2, atoms), and all calls (bins, 2), by size bin and class."""
    counts = tables(active, labels, size_bins(sizes))
    missing = len(SIZE_BINS) - len(counts.on)
    return np.pad(counts.on, ((0, missing), (0, 0), (0, 0))), np.pad(counts.totals, ((0, missing), (0, 0)))


def _most_enriched(active: csr_matrix, groups: pd.Series, name: str) -> pd.DataFrame:
    """Tell of the group of calls in which an atom is on the most beyond its base rate."""
    atoms = np.arange(active.shape[1])
    counts = Enrichment.of(active, groups)
    if len(counts.names) < 2:
        values = dict.fromkeys(("share", "base_rate", "lift", "p", "q"), np.full(len(atoms), np.nan))
        names = np.full(len(atoms), None, object)
    else:
        p = counts.upper()
        best = np.lexsort((-counts.lift, p), axis=0)[0]
        names = counts.names[best].astype(object)
        values = {
            "share": counts.share[best, atoms],
            "base_rate": counts.base_rate[best, 0],
            "lift": counts.lift[best, atoms],
            "p": p[best, atoms],
            "q": false_discovery_control(p.ravel()).reshape(p.shape)[best, atoms],
        }
    return pd.DataFrame({name: names} | {f"{name}_{key}": value for key, value in values.items()})


def card_examples(
    codes: csr_matrix,
    features: pd.DataFrame,
    labels: np.ndarray,
    samples: pd.DataFrame,
    roles: np.ndarray,
    chosen: pd.DataFrame,
    examples: int,
) -> pd.DataFrame:
    """Return the calls of any role that excite the `chosen` atoms (`card_atoms`) most, at most `examples` of each.

    Columns: atom, feature, direction, certain, rank (from 1; equal ones by name), sample, contig, position, type, size
    (base pairs; empty where there is none), class, activation and role.
    """
    codes = codes[:, columns_of(features, chosen["atom"].to_numpy())].tocoo()
    kept = (codes.data > 0) & (roles[codes.row] != EXCLUDED)
    call, card, activation = codes.row[kept], codes.col[kept], codes.data[kept]
    order = np.lexsort((samples["id"].to_numpy(str)[call], -activation, card))
    sizes = np.bincount(card, minlength=len(chosen))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    order, rank = order[rank < examples], rank[rank < examples]
    call, told = call[order], samples.iloc[call[order]].reset_index(drop=True)
    cards = chosen[["atom", "feature", "direction", "certain"]].iloc[card[order]].reset_index(drop=True)
    sizes = told["size"].astype("Int64")
    return cards.assign(
        rank=rank + 1,
        sample=told["id"],
        contig=told["contig"],
        position=told["position"],
        type=told["type"],
        size=sizes.mask(sizes < 0),
        **{"class": np.array(CLASSES, object)[labels[call]]},
        activation=activation[order],
        role=roles[call].astype(object),
    )


def size_profiles(
    codes: csr_matrix,
    features: pd.DataFrame,
    labels: np.ndarray,
    samples: pd.DataFrame,
    roles: np.ndarray,
    chosen: pd.DataFrame,
) -> pd.DataFrame:
    """Return a row for every one of the `chosen` atoms (`card_atoms`) and every size bin, of the training calls.

    Columns: atom, feature, size_bin, calls (of the bin), on (calls of the bin with the atom on), share (on / calls),
    true_share_on and true_share_all, the share of true calls among either; a share of nothing is empty.
    """
    active, rows = training_codes(codes, features, roles, chosen), np.flatnonzero(roles == TRAINING)
    on, calls = _by_bin(active, labels[rows], samples["size"].to_numpy()[rows])
    on, calls = on.transpose(2, 0, 1).reshape(-1, len(CLASSES)), np.tile(calls, (len(chosen), 1))
    of_bin, bins = calls.sum(axis=1), len(SIZE_BINS)
    return pd.DataFrame(
        {
            "atom": np.repeat(chosen["atom"].to_numpy(), bins),
            "feature": np.repeat(chosen["feature"].to_numpy(), bins),
            "size_bin": np.tile(np.array(SIZE_BINS, object), len(chosen)),
            "calls": of_bin,
            "on": on.sum(axis=1),
            "share": _share(on.sum(axis=1), of_bin),
            "true_share_on": _share(on[:, TRUE], on.sum(axis=1)),
            "true_share_all": _share(calls[:, TRUE], of_bin),
        }
    )


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, where=whole > 0, out=np.full(len(whole), np.nan))
