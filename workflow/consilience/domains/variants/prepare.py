"""Makes the dataset of a study of structural variants: k-mer shares and attributes of calls, true and false ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.audit import Audit
from consilience.dataset_writer import DatasetWriter, chunk_rows, write_dataset
from consilience.domains.variants.benches import Bench, benches_of, reference_of
from consilience.domains.variants.calls import CLASSES, TYPES
from consilience.domains.variants.embeddings import prepare_embeddings
from consilience.domains.variants.features import Features
from consilience.domains.variants.references import Reference, open_reference
from consilience.domains.variants.samples import call_row, sample_table
from consilience.domains.variants.vcf import SPANNING, Call, count_calls, declared, read_calls, refuse_answers
from consilience.errors import ConsilienceError
from consilience.files import read_table, sha256

TARGET = "true call"
UNIT = "k-mer shares and call attributes"
MEMORY = 2**24
MOST_ROWS = 4096


def prepare(raw: list[Path], settings: dict[str, Any], dataset: Path, seed: int, memory: int = MEMORY) -> pd.DataFrame:
    """Write `dataset` from the calls of Truvari benches or from embeddings, and return the audit.

    Calls are read twice, in blocks of about `memory` bytes; held is the table of samples alone. Calls stand in the
    order of their files, bench by bench, true ones first. Nothing here is random: `seed` is not used. Raises
    ConsilienceError.
    """
    del seed
    source = settings["source"]
    if source["kind"] == "embeddings":
        return prepare_embeddings(Path(source["path"]), TARGET, dataset, memory)
    benches, fasta = benches_of(raw, source), reference_of(raw, source)
    fields = _declared(benches, settings["attributes"])
    with open_reference(fasta) as reference:
        survey = Survey(fields, settings["maximum_sequence"])
        for bench in benches:
            survey.read(bench, reference)
        features = survey.features(settings, reference is not None)
        audit = _audit(benches, survey, features, settings["attributes"])
        samples = survey.samples(audit)
        if source["kind"] == "simulate":
            samples = _with_planted(samples, raw[0].parent / "planted.tsv")
        files = [path for bench in benches for path, _ in bench.files]
        told = "simulate" if source["kind"] == "simulate" else ", ".join(path.name for path in files)
        facts = {"unit": UNIT, "source": told, "source_sha256": _sha256_of([*files, *([fasta] if fasta else [])])}
        with write_dataset(dataset, "classification", TARGET, classes=list(CLASSES), **facts) as writer:
            writer.features(features.frame())
            writer.target(np.asarray(survey.labels))
            writer.samples(samples)
            _write(writer, features, benches, reference, len(samples), memory)
    audit.step("dataset", f"written as {UNIT}, k = {features.k}")
    return audit.frame()


@dataclass
class Survey:
    """What a first reading tells of all calls: the rows of the table, and what the audit counts."""

    fields: tuple[str, ...]
    maximum: int
    rows: dict[str, list[Any]] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)
    qualities: list[float | None] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    files: list[tuple[Path, int]] = field(default_factory=list)

    def read(self, bench: Bench, reference: Reference | None) -> None:
        """Read the calls of a bench; refuses a file without calls, and a call that is both true and false."""
        true: set[bytes] = set()
        for path, label in bench.files:
            before = len(self.labels)
            for call in read_calls(path, self.fields):
                key = _key(call)
                if label:
                    true.add(key)
                elif key in true:
                    raise ConsilienceError(
                        f"{path}: record {call.place}: the same call is in {bench.true}; expected it in one of the two"
                    )
                if reference is not None:
                    reference.check(call, path, self.maximum)
                self._add(call, label, bench.dataset, reference is not None)
            if len(self.labels) == before:
                raise ConsilienceError(f"{path}: no calls; expected {'true' if label else 'false'} calls")
            self.files.append((path, len(self.labels) - before))

    def _add(self, call: Call, label: int, dataset: str, reference: bool) -> None:
        for name, value in call_row(call, dataset).items():
            self.rows.setdefault(name, []).append(value)
        self.labels.append(label)
        self.qualities.append(call.quality)
        for name, value in zip(self.fields, call.attributes, strict=True):
            self.counts[f"INFO/{name}"] += value is not None
        symbolic = not call.explicit and reference and call.type in SPANNING
        longest = max(len(call.ref), len(call.alt)) - 1 if call.explicit else symbolic * (call.end - call.position)
        self.counts["alleles"] += longest > 0
        self.counts["cut"] += longest > self.maximum

    def features(self, settings: Mapping[str, Any], reference: bool) -> Features:
        """Return the features that these calls have; fields without a value in any call are none."""
        found = set(self.rows["type"])
        kept = tuple(name for name in self.fields if self.counts[f"INFO/{name}"])
        types = (*TYPES, *sorted(found - set(TYPES)))
        return Features(types, kept, settings["k"], settings["flank"], self.maximum, reference)

    def samples(self, audit: Audit) -> pd.DataFrame:
        """Return the table of samples; QUAL, a trivial predictor, is left out where a call lacks it."""
        table = sample_table(self.rows)
        lacking = sum(quality is None for quality in self.qualities)
        if lacking:
            audit.detail("trivial_quality", "left out: calls without QUAL", lacking, len(table))
            return table
        return table.assign(trivial_quality=np.asarray(self.qualities, np.float64))


def _key(call: Call) -> bytes:
    """Return what is the same for the same call, short whatever the length of its alleles."""
    told = (call.contig, call.position, call.end, call.type, call.size, call.ref, call.alt)
    return hashlib.blake2b("\t".join(map(str, told)).encode(), digest_size=16).digest()


def _declared(benches: Sequence[Bench], attributes: Sequence[str]) -> tuple[str, ...]:
    """Return the fields that the header of at least one file declares, in the order asked for."""
    refuse_answers(attributes)
    found = [declared(path, attributes) for bench in benches for path, _ in bench.files]
    return tuple(name for name in attributes if any(name in own for own in found))


def _audit(benches: Sequence[Bench], survey: Survey, features: Features, asked: Sequence[str]) -> Audit:
    """Tell what the files hold, and what of it is used."""
    total = len(survey.labels)
    note = ", ".join(f"{path.parent.name}/{path.name} {count}" for path, count in survey.files)
    audit = Audit(total, len(features.frame()), "structural-variant calls", note)
    for bench in benches:
        if bench.missed is not None:
            missed = count_calls(bench.missed)
            audit.detail("missed truths", f"{bench.missed.name}: no calls, left out", 0, missed, bench.dataset)
    audit.detail("labels", "true calls", sum(survey.labels), total)
    for kind in features.types:
        audit.detail("types", kind, survey.rows["type"].count(kind), total)
    for name in asked:
        if name not in features.attributes:
            reason = "no call has a value" if name in survey.fields else "the header of no file declares it"
            audit.detail("attributes", f"INFO/{name} is left out: {reason}", 0, total)
        else:
            audit.detail("attributes", f"INFO/{name}", survey.counts[f"INFO/{name}"], total)
    audit.detail("sequences", "an allele with bases", survey.counts["alleles"], total)
    audit.detail("sequences", f"an allele cut to {survey.maximum} bases", survey.counts["cut"], total)
    audit.detail("sequences", "a consensus", sum(survey.rows["has_sequence"]), total)
    return audit


def _with_planted(samples: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Add what was planted in each simulated call, 0 or 1, as columns planted_<signal>."""
    planted = read_table(path, ("id",)).set_index("id")
    absent = samples["id"][~samples["id"].isin(planted.index)]
    if len(absent):
        raise ConsilienceError(f"{path}: no row {absent.iloc[0]}; expected one for every call")
    own = planted.loc[samples["id"]].add_prefix("planted_").astype(np.int64)
    return pd.concat([samples, own.reset_index(drop=True)], axis=1)


def _sha256_of(files: Sequence[Path]) -> str:
    """Return one SHA-256 of several files: that of their own, in order."""
    return hashlib.sha256("".join(sha256(path) for path in files).encode()).hexdigest()


def _write(
    writer: DatasetWriter,
    features: Features,
    benches: Sequence[Bench],
    reference: Reference | None,
    samples: int,
    memory: int,
) -> None:
    """Write all branches, block by block, in a second reading."""
    first, names = 0, features.names
    for branch, own in names.items():
        writer.branch(branch, first + np.arange(len(own)), samples, scaling="feature", reduce="mean", masked=True)
        first += len(own)
    # A share takes 8 bytes as a count, 4 as float32, as many while it is written, and more for the mask.
    widest = max(map(len, names.values()))
    chunk = chunk_rows((widest,), samples)
    rows = max(1, min(MOST_ROWS, memory // (20 * widest)) // chunk) * chunk
    for bench in benches:
        for path, _ in bench.files:
            for calls in _blocks(read_calls(path, features.attributes), rows, memory):
                for branch, (values, mask) in features.block(calls, reference).items():
                    writer.append(branch, values, mask)


def _blocks(calls: Iterable[Call], rows: int, memory: int) -> Iterator[list[Call]]:
    """Yield calls in blocks of at most `rows`, and of sequences of hardly more than `memory` bytes."""
    block, held = [], 0
    for call in calls:
        block.append(call)
        held += len(call.ref) + len(call.alt) + len(call.consensus)
        if len(block) == rows or held >= memory:
            yield block
            block, held = [], 0
    if block:
        yield block
