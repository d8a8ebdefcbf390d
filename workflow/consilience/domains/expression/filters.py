"""Chooses samples and genes, and tells every step to the audit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.audit import Audit
from consilience.domains.expression.archs4 import Archive
from consilience.domains.expression.keywords import mentions, read_keywords
from consilience.errors import ConsilienceError, nearest


def choose_samples(archive: Archive, settings: dict[str, Any], audit: Audit) -> np.ndarray:
    """Return the indices (samples,) of the samples that pass `settings`, the study's `filter`.

    Raises ConsilienceError, with the audit as a note, where none passes.
    """
    samples = np.arange(archive.samples)
    limit = settings["max_single_cell_probability"]
    if limit is not None:
        samples = _bulk(archive, samples, limit, audit)
    if settings["keywords"] is not None:
        samples = _mentioning(archive, samples, Path(settings["keywords"]), settings["metadata_fields"], audit)
    return samples


def _bulk(archive: Archive, samples: np.ndarray, limit: float, audit: Audit) -> np.ndarray:
    probability = archive.numbers("singlecellprobability")[samples]
    unknown = int(np.isnan(probability).sum())
    kept = samples[probability <= limit]
    note = f"{unknown} without a probability are left out" if unknown else ""
    audit.step("single cells", f"singlecellprobability <= {limit:g}", samples=len(kept), note=note)
    return some(kept, archive, audit)


def _mentioning(archive: Archive, samples: np.ndarray, path: Path, fields: list[str], audit: Audit) -> np.ndarray:
    keywords = read_keywords(path)
    found = np.zeros((len(samples), len(keywords)), dtype=bool)
    mentioned = np.zeros(len(samples), dtype=bool)
    for field in fields:
        hits, any_mention = mentions(archive.field(field, samples), keywords)
        found |= hits
        mentioned |= any_mention
    passing = found.any(axis=1)
    alone = found[found.sum(axis=1) == 1].sum(axis=0)
    for keyword, count, single in zip(keywords, found.sum(axis=0), alone, strict=True):
        if count:
            audit.detail("keyword", keyword, count, len(samples), f"{single} of them by this keyword alone")
    denied = int((mentioned & ~passing).sum())
    notes = [f"{np.count_nonzero(~found.any(axis=0))} of {len(keywords)} keywords occur nowhere"]
    notes += [f"{denied} samples mention keywords in denial only"] if denied else []
    audit.step("keywords", f"{path.name} in {', '.join(fields)}", samples=passing.sum(), note="; ".join(notes))
    return some(samples[passing], archive, audit)


def some(kept: np.ndarray, archive: Archive, audit: Audit, what: str = "sample") -> np.ndarray:
    """Return `kept`, or raise ConsilienceError with the audit as a note where nothing is left."""
    if len(kept):
        return kept
    step, rule = audit.rows[-1][:2]
    error = ConsilienceError(f"{archive.path}: no {what} is left after the filter {step} ({rule})")
    error.add_note(audit.text())
    raise error


@dataclass(frozen=True)
class Genes:
    """Which rows of the file are read, and which column of the compact matrix each is added to.

    `rows` (selected,) are ascending; `columns` (selected,) is the feature of each, or the number of features for the
    rows of the target. `features` has a row a feature: name, branch, ensembl_gene.
    """

    rows: np.ndarray
    columns: np.ndarray
    features: pd.DataFrame


def choose_genes(archive: Archive, target: str, biotype: str | None, audit: Audit) -> Genes:
    """Choose the rows of one `biotype` (None: all), join those of one symbol, and set the target apart.

    The target is looked for among all genes, so that one of another biotype can be predicted too. Raises
    ConsilienceError where it is absent or, as a gene, in several rows.
    """
    symbols = _symbols(archive, audit)
    of_target = _target_rows(archive, symbols, target)
    rows = np.arange(len(symbols)) if biotype is None else _of_biotype(archive, biotype, audit)
    counts = pd.Series(symbols[rows]).value_counts()
    joined = f"{(counts > 1).sum()} symbols had several rows"
    audit.step("symbols", "rows of one symbol summed", features=len(counts), note=joined)
    own = np.intersect1d(rows, of_target)
    note = "" if len(own) else f"not of this biotype, but found among all {archive.level}"
    audit.step("target", f"{target} taken out", features=len(counts) - (len(own) > 0), note=note)
    inputs = some(np.setdiff1d(rows, of_target), archive, audit, "gene")
    columns, names = pd.factorize(symbols[inputs])
    # Of a target measured by transcripts, the same biotype counts as of any other gene, unless it has none of it.
    chosen = own if len(own) else of_target
    all_rows = np.concatenate([inputs, chosen])
    all_columns = np.concatenate([columns, np.full(len(chosen), len(names))])
    order = np.argsort(all_rows, kind="stable")
    return Genes(all_rows[order], all_columns[order], _features(archive, inputs, columns, names))


def _of_biotype(archive: Archive, biotype: str, audit: Audit) -> np.ndarray:
    if "biotype" not in archive.rows:
        raise ConsilienceError(
            f"{archive.path}: no field meta/{archive.level}/biotype, which filter: biotype reads; "
            f"it has {', '.join(archive.row_fields)}"
        )
    biotypes = archive.rows["biotype"]
    rows = np.flatnonzero(biotypes == biotype)
    note = "" if len(rows) else f"the file has {', '.join(sorted(set(biotypes))[:8])}"
    audit.step("biotype", f"biotype = {biotype}", features=len(rows), note=note)
    return some(rows, archive, audit, "gene")


def _symbols(archive: Archive, audit: Audit) -> np.ndarray:
    """Return every row's symbol (rows,); a row without one goes by its Ensembl id."""
    symbols = archive.rows["symbol"].copy()
    nameless = np.flatnonzero(symbols == "")
    if len(nameless):
        symbols[nameless] = archive.rows["ensembl_gene"][nameless]
        if (symbols == "").any():
            row = np.flatnonzero(symbols == "")[0]
            raise ConsilienceError(f"{archive.path}: row {row} of meta/{archive.level} has no symbol and no Ensembl id")
        audit.detail("symbols", "no symbol: Ensembl id", audit.samples, audit.samples, f"{len(nameless)} rows")
    return symbols


def _target_rows(archive: Archive, symbols: np.ndarray, target: str) -> np.ndarray:
    rows = np.flatnonzero(symbols == target)
    if not len(rows):
        raise ConsilienceError(
            f"{archive.path}: target: no gene {target!r} among {len(symbols)} {archive.level}{nearest(target, symbols)}"
        )
    if len(rows) > 1 and (archive.level == "genes" or len(set(archive.rows["ensembl_gene"][rows])) > 1):
        listed = ", ".join(map(str, rows[:5]))
        raise ConsilienceError(
            f"{archive.path}: target: {target!r} names {len(rows)} {archive.level} (rows {listed}); expected one gene"
        )
    return rows


def _features(archive: Archive, rows: np.ndarray, columns: np.ndarray, names: np.ndarray) -> pd.DataFrame:
    """Describe the features; one of several rows names all their Ensembl ids, in the order of the file."""
    ids: list[dict[str, None]] = [{} for _ in names]
    for column, identifier in zip(columns.tolist(), archive.rows["ensembl_gene"][rows], strict=True):
        ids[column][identifier] = None
    return pd.DataFrame({"name": names, "branch": "genes", "ensembl_gene": [",".join(each) for each in ids]})
