"""Makes the dataset of a study of structural variants: k-mer shares and attributes of calls, true and false ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
from consilience.domains.variants.fields import Fields, fields_of
from consilience.domains.variants.references import Reference, open_reference
from consilience.domains.variants.samples import call_row, sample_table, tell_sizes
from consilience.domains.variants.vcf import SPANNING, SUPPORTS, Call, count_calls, read_calls
from consilience.errors import ConsilienceError
from consilience.files import read_table, sha256_of_all
from consilience.progress import following, progress

TARGET = "true call"
UNIT = "k-mer shares and call attributes"
MEMORY = 2**24
MOST_ROWS = 4096


def prepare(raw: list[Path], settings: dict[str, Any], dataset: Path, seed: int, memory: int = MEMORY) -> pd.DataFrame:
    """Write `dataset` from the calls of Truvari benches or from embeddings, and return the audit.

    Calls are read twice, in blocks of about `memory` bytes; held is the table of samples alone. Calls stand in the
    order of their files, bench by bench, true ones first; false calls that are true ones of their bench too are left
    out, and, with `multi: drop`, those flagged Multi. Nothing here is random: `seed` is not used. Raises
    ConsilienceError.
    """
    del seed
    source = settings["source"]
    if source["kind"] == "embeddings":
        return prepare_embeddings(Path(source["path"]), TARGET, dataset, memory)
    benches, fasta = benches_of(raw, source), reference_of(raw, source)
    fields = fields_of(benches, settings["attributes"])
    with open_reference(fasta) as reference:
        survey = Survey(fields, settings["maximum_sequence"], settings["multi"])
        for bench in benches:
            survey.read(bench, reference)
        features = survey.features(settings, reference is not None)
        audit = _audit(benches, survey, features, settings["attributes"])
        samples = survey.samples(audit)
        tell_sizes(audit, samples)
        if source["kind"] == "simulate":
            samples = _with_planted(samples, raw[0].parent / "planted.tsv")
        files = [path for bench in benches for path, _ in bench.files]
        told = "simulate" if source["kind"] == "simulate" else ", ".join(path.name for path in files)
        facts = {"unit": UNIT, "source": told, "source_sha256": sha256_of_all([*files, *([fasta] if fasta else [])])}
        with write_dataset(dataset, "classification", TARGET, classes=list(CLASSES), **facts) as writer:
            writer.features(features.frame())
            writer.target(np.asarray(survey.labels))
            writer.samples(samples)
            _write(writer, features, survey, reference, memory)
    audit.step("dataset", f"written as {UNIT}, k = {features.k}")
    return audit.frame()


@dataclass(frozen=True)
class Part:
    """A file of calls: how many it holds, and the numbers, from 0, of those that are left out."""

    path: Path
    calls: int
    left_out: frozenset[int]


@dataclass
class Survey:
    """What a first reading tells of all calls: the rows of the table, and what the audit counts.

    `multi` says whether false calls that Truvari flags so are kept ("keep") or left out ("drop").
    """

    fields: Fields
    maximum: int
    multi: str
    rows: dict[str, list[Any]] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)
    qualities: list[float | None] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    parts: list[Part] = field(default_factory=list)

    def read(self, bench: Bench, reference: Reference | None) -> None:
        """Read the calls of a bench; refuses a file that has none, or none that is kept."""
        true: set[bytes] = set()
        for path, label in bench.files:
            calls, left_out = 0, set()
            found = read_calls(path, self.fields.attributes, self.fields.one_sided)
            for call in following(found, f"reading {path.name}", "call"):
                if reference is not None:
                    reference.check(call, path, self.maximum)
                if label:
                    true.add(_key(call))
                if not label and self._refuses(call, true):
                    left_out.add(calls)
                else:
                    self._add(call, label, bench.dataset, reference is not None)
                calls += 1
            if calls == len(left_out):
                why = f": all {calls} are true calls of the bench too, or flagged Multi" if calls else ""
                raise ConsilienceError(f"{path}: no calls{why}; expected {'true' if label else 'false'} calls")
            self.parts.append(Part(path, calls, frozenset(left_out)))

    def _refuses(self, call: Call, true: Collection[bytes]) -> bool:
        """Count a false call that is true too or flagged Multi, and return whether it is left out.

        Of two records of one call Truvari matches one, and the other, which counts as false, is as true.
        """
        twin = _key(call) in true
        self.counts["twins"] += twin
        self.counts["multi"] += call.multi and not twin
        return twin or (call.multi and self.multi == "drop")

    def _add(self, call: Call, label: int, dataset: str, reference: bool) -> None:
        for name, value in call_row(call, dataset).items():
            self.rows.setdefault(name, []).append(value)
        self.labels.append(label)
        self.qualities.append(call.quality)
        for name, value in zip(self.fields.attributes, call.attributes, strict=True):
            self.counts[f"INFO/{name}"] += value is not None
            self.counts[f"unsupported {name}"] += name in call.unsupported
        symbolic = not call.explicit and reference and call.type in SPANNING
        longest = max(map(len, call.alleles)) if call.explicit else symbolic * (call.end - call.position)
        self.counts["alleles"] += longest > 0
        self.counts["cut"] += longest > self.maximum

    def features(self, settings: Mapping[str, Any], reference: bool) -> Features:
        """Return the features that these calls have; fields without a value in any call are none."""
        found = set(self.rows["type"])
        kept = tuple(name for name in self.fields.attributes if self.counts[f"INFO/{name}"])
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


def _audit(benches: Sequence[Bench], survey: Survey, features: Features, asked: Sequence[str]) -> Audit:
    """Tell what the files hold, and what of it is used."""
    note = ", ".join(f"{part.path.parent.name}/{part.path.name} {part.calls}" for part in survey.parts)
    audit = Audit(sum(part.calls for part in survey.parts), len(features.frame()), "structural-variant calls", note)
    for bench in benches:
        if bench.missed is not None:
            missed = count_calls(bench.missed)
            audit.detail("missed truths", f"{bench.missed.name}: no calls, left out", 0, missed, bench.dataset)
    total = len(survey.labels)
    twins = audit.samples - survey.counts["twins"]
    audit.step("duplicates", "false calls that are true calls of their bench too: left out", samples=twins)
    if survey.multi == "drop":
        audit.step("multi", "false calls flagged Multi: left out", samples=total)
    else:
        audit.detail("multi", "false calls flagged Multi: kept", survey.counts["multi"], total)
    audit.detail("labels", "true calls", sum(survey.labels), total)
    for kind in features.types:
        audit.detail("types", kind, survey.rows["type"].count(kind), total)
    _tell_attributes(audit, survey, features, asked)
    audit.detail("sequences", "an allele with bases", survey.counts["alleles"], total)
    audit.detail("sequences", f"an allele cut to {survey.maximum} bases", survey.counts["cut"], total)
    audit.detail("sequences", "a consensus", sum(survey.rows["has_sequence"]), total)
    return audit


def _tell_attributes(audit: Audit, survey: Survey, features: Features, asked: Sequence[str]) -> None:
    """Tell how many calls have each field that was asked for, and which fields are not read for whose lack."""
    total, counts = len(survey.labels), survey.counts
    for name in asked:
        if name in features.attributes:
            audit.detail("attributes", f"INFO/{name}", counts[f"INFO/{name}"], total)
        elif name not in survey.fields.one_sided:
            reason = "no call has a value" if name in survey.fields.attributes else "the header of no file declares it"
            audit.detail("attributes", f"INFO/{name} is left out: {reason}", 0, total)
        if counts[f"unsupported {name}"]:
            rule = f"INFO/{name} is absent where {SUPPORTS[name]} is 0 or absent"
            audit.detail("attributes", rule, counts[f"unsupported {name}"], total)
    for name, file in survey.fields.one_sided.items():
        rule = f"INFO/{name} is left out: {file} does not declare it, the other file of the bench does"
        audit.detail("attributes", rule, 0, total)


def _with_planted(samples: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Add what was planted in each simulated call, 0 or 1, as columns planted_<signal>."""
    planted = read_table(path, ("id",)).set_index("id")
    absent = samples["id"][~samples["id"].isin(planted.index)]
    if len(absent):
        raise ConsilienceError(f"{path}: no row {absent.iloc[0]}; expected one for every call")
    own = planted.loc[samples["id"]].add_prefix("planted_").astype(np.int64)
    return pd.concat([samples, own.reset_index(drop=True)], axis=1)


def _write(writer: DatasetWriter, features: Features, survey: Survey, reference: Reference | None, memory: int) -> None:
    """Write all branches, block by block, in a second reading."""
    first, names, samples = 0, features.names, len(survey.labels)
    for branch, own in names.items():
        writer.branch(branch, first + np.arange(len(own)), samples, scaling="feature", reduce="mean", masked=True)
        first += len(own)
    # A share takes 8 bytes as a count, 4 as float32, as many while it is written, and more for the mask.
    widest = max(map(len, names.values()))
    chunk = chunk_rows((widest,), samples)
    rows = max(1, min(MOST_ROWS, memory // (20 * widest)) // chunk) * chunk
    for part in survey.parts:
        calls = enumerate(read_calls(part.path, features.attributes, survey.fields.one_sided))
        kept = (call for number, call in calls if number not in part.left_out)
        with progress(f"writing {part.path.name}", "call", part.calls) as advance:
            for block in _blocks(kept, rows, memory):
                for branch, (values, mask) in features.block(block, reference).items():
                    writer.append(branch, values, mask)
                advance(len(block))


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
