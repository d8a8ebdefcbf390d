"""The table of calls that a dataset holds: unique names, chromosomes, sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from consilience.audit import Audit
from consilience.domains.variants.calls import NO_SIZE, SIZED, chromosome_of
from consilience.domains.variants.vcf import Call

UNNAMED = "."


def call_row(call: Call, dataset: str) -> dict[str, Any]:
    """Return what the table tells of a call, beside what follows from it."""
    return {
        "name": call.name,
        "contig": call.contig,
        "position": call.position,
        "end": call.end,
        "type": call.type,
        "size": call.size,
        "dataset": dataset,
        "filter": call.filter,
        "has_sequence": int(bool(call.consensus)),
    }


def sample_table(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Return the table, a row a call, from the columns that `call_row` names.

    `trivial_size` is log10(1 + size in base pairs), 0 for a call without a size.
    """
    table = pd.DataFrame({name: list(values) for name, values in columns.items()})
    whole = {name: table[name].astype(np.int64) for name in ("position", "end", "size", "has_sequence")}
    table = table.assign(
        id=identifiers(table["name"], table["contig"], table["position"], table["dataset"]),
        chromosome=table["contig"].map(chromosome_of),
        trivial_size=np.log10(1 + np.maximum(table["size"].to_numpy(np.float64), 0)),
        **whole,
    )
    order = ["id", "chromosome", "contig", "position", "end", "type", "size", "dataset", "filter"]
    return table[[*order, "has_sequence", "trivial_size"]]


def tell_sizes(audit: Audit, samples: pd.DataFrame) -> None:
    """Tell how many calls of a table have no size although those of their type have one, by type."""
    lacking = samples.loc[(samples["size"] == NO_SIZE) & samples["type"].isin(SIZED), "type"]
    counts = lacking.value_counts()
    note = ", ".join(f"{kind} {counts[kind]}" for kind in SIZED if kind in counts)
    audit.detail("sizes", f"no size, of types that have one ({', '.join(SIZED)})", len(lacking), len(samples), note)


def identifiers(names: pd.Series, contigs: pd.Series, positions: pd.Series, datasets: pd.Series) -> pd.Series:
    """Return a unique text for every call: its name if all are unique, else contig:position:name, #2 for a repeat.

    Where there are several datasets, names are unique within each, and stand behind `dataset:`.
    """
    prefix = datasets + ":" if len(set(datasets)) > 1 else pd.Series("", index=names.index)
    own = prefix + names
    if not own.duplicated().any() and not names.eq(UNNAMED).any():
        return own
    places = prefix + contigs + ":" + positions.astype(str) + ":" + names
    repeat = places.groupby(places).cumcount() + 1
    return places.where(repeat == 1, places + "#" + repeat.astype(str))
