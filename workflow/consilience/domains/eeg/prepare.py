"""Makes the dataset of an EEG study from a folder in the layout of the HMS competition: log band powers of windows."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from consilience.audit import Audit
from consilience.dataset_writer import DatasetWriter, chunk_rows, write_dataset
from consilience.domains.eeg.labels import CONSENSUS, FILE, OFFSETS, RECORDINGS, distinct, read_labels, votes_of
from consilience.domains.eeg.montage import BANDS_OF, BRANCHES, COHERENCE, NODES, feature_name
from consilience.domains.eeg.recordings import UnusableError
from consilience.domains.eeg.segments import FAULTS, MASK, Folder, Plan, file_of
from consilience.domains.eeg.signals import POWER_FLOOR
from consilience.errors import ConsilienceError
from consilience.files import sha256
from consilience.progress import following
from consilience.votes import disagreement

TARGET = "pattern"
UNIT = "log10 microvolt^2 (EEG), log10 power (spectrogram)"
MEMORY = 2**24
RULES = {
    "flat": "robust standard deviation in the segment not above {flat:g} microvolts",
    "deviating": "log robust standard deviation more than {deviation:g} robust deviations from the median channel's",
    "missing": "a sample missing, in the windows that hold it",
    "flat_windows": "flat in a window and not throughout, in that window",
}


def prepare(raw: list[Path], settings: dict[str, Any], dataset: Path, seed: int, memory: int = MEMORY) -> pd.DataFrame:
    """Write `dataset` from the folder raw[0] (or what it holds, in any order), and return the audit.

    Samples stand in the order of train.csv, those of one EEG together. Memory is that of the labels, of the row groups
    of a segment, and of blocks of about `memory` bytes: what is computed waits in files without a name, since only the
    last recording tells how many samples there are. Nothing here is random: `seed` is not used. Raises
    ConsilienceError.
    """
    del seed
    plan, folder = Plan.of(settings), _folder(raw)
    table, classes = read_labels(folder / FILE)
    features = _features()
    note = f"{table['eeg_id'].nunique()} EEGs of {table['patient_id'].nunique()} patients"
    audit = Audit(len(table), len(features), FILE, note)
    if plan.source.get("rows") == "distinct":
        table = distinct(table, classes, audit)
    dataset.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        spools = {name: stack.enter_context(Spool(dataset.parent, *kind)) for name, kind in plan.arrays().items()}
        if plan.source.get("unusable") != "drop":
            _check_files(folder, table, plan)
        measured = _measure(folder, table, plan, spools)
        kept = _kept(folder, table, measured, plan, audit)
        _check_classes(folder / FILE, kept, classes)
        with write_dataset(dataset, "votes", TARGET, classes=classes, **_facts(folder, plan, measured)) as writer:
            writer.features(features)
            votes = kept[votes_of(classes)].to_numpy(np.float64)
            writer.target(votes / votes.sum(axis=1, keepdims=True))
            writer.samples(_samples(kept, votes))
            _write(writer, spools, len(kept), memory)
    _tell(audit, kept, plan)
    audit.step("dataset", f"written as {UNIT}")
    return audit.frame()


class Spool:
    """Arrays of one shape, written one by one to a file without a name, and read in blocks; a context manager."""

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: type) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.size = int(np.prod(shape)) * self.dtype.itemsize
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, values: np.ndarray) -> None:
        """Add the array of the next sample."""
        self.file.write(np.ascontiguousarray(values, self.dtype).tobytes())

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Yield all arrays in order, (at most `rows`, *shape)."""
        self.file.seek(0)
        while part := self.file.read(rows * self.size):
            yield np.frombuffer(part, self.dtype).reshape(-1, *self.shape)


@dataclass
class Measured:
    """What came of the rows: places and facts of those that are kept, lines by reason of the others.

    `examples` are the first messages by reason, `digests` the SHA-256 of the recordings that are used.
    """

    places: list[int] = field(default_factory=list)
    facts: list[dict[str, float]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)


def _folder(raw: Sequence[Path]) -> Path:
    """Return the folder, which is given itself or by what it holds."""
    return next((path.parent for path in raw if path.name == FILE), raw[0])


def _measure(path: Path, table: pd.DataFrame, plan: Plan, spools: Mapping[str, Spool]) -> Measured:
    """Compute all segments into the spools, one recording after the other."""
    measured = Measured()
    groups = table.groupby("eeg_id", sort=False).indices
    with Folder(path) as folder:
        for recording in following(groups, "preparing", "recording"):
            for place in groups[recording].tolist():
                row = table.iloc[place]
                try:
                    arrays, facts = plan.measure(folder, row)
                except UnusableError as error:
                    _drop(error, f"line {row['line']} of {FILE}", plan, measured)
                    continue
                for name, values in arrays.items():
                    spools[name].write(values)
                measured.places.append(place)
                measured.facts.append(facts)
                for name in (file_of(branch, row[column]) for branch, column in zip(BRANCHES, RECORDINGS, strict=True)):
                    if name not in measured.digests:
                        measured.digests[name] = sha256(path / name)
    return measured


def _check_files(folder: Path, table: pd.DataFrame, plan: Plan) -> None:
    """Refuse recordings that are missing before the first is read; thousands take a while."""
    missing = {}
    for branch, column in zip(BRANCHES, RECORDINGS, strict=True):
        first = table.drop_duplicates(column)
        for identifier, line in zip(first[column], first["line"], strict=True):
            if not (folder / file_of(branch, identifier)).is_file():
                missing.setdefault(folder / file_of(branch, identifier), line)
    if missing:
        path, line = min(missing.items(), key=lambda item: item[1])
        others = f" ({len(missing) - 1} more are missing)" if len(missing) > 1 else ""
        _refuse(UnusableError(f"{path}: no such file{others}", "missing file"), f"line {line} of {FILE}", plan)


def _check_classes(path: Path, kept: pd.DataFrame, classes: list[str]) -> None:
    """Refuse a class without a sample of its own: nothing could be said of it."""
    most = kept[votes_of(classes)].to_numpy().argmax(axis=1)
    for place, name in enumerate(votes_of(classes)):
        if not (most == place).any():
            raise ConsilienceError(
                f"{path}: none of {len(kept)} rows has most votes in {name}; expected some of every class (leave the "
                "column out, or add it to another)"
            )


def _refuse(error: UnusableError, where: str, plan: Plan) -> None:
    offer = "; source.unusable: drop leaves such rows out" if "unusable" in plan.source else ""
    raise ConsilienceError(f"{error} ({where}){offer}") from error


def _drop(error: UnusableError, where: str, plan: Plan, measured: Measured) -> None:
    """Count a row that cannot be used, or refuse it."""
    if plan.source.get("unusable") != "drop":
        _refuse(error, where, plan)
    measured.dropped[error.reason] = measured.dropped.get(error.reason, 0) + 1
    measured.examples.setdefault(error.reason, f"first: {error} ({where})")


def _kept(folder: Path, table: pd.DataFrame, measured: Measured, plan: Plan, audit: Audit) -> pd.DataFrame:
    """Return the rows that are kept, with their facts; tells the audit of the others."""
    if plan.source.get("unusable") == "drop":
        before, count = len(table), len(measured.places)
        audit.step("unusable", "rows whose recordings can be used (source.unusable: drop)", count)
        for reason in sorted(measured.dropped):
            audit.detail("unusable", reason, measured.dropped[reason], before, measured.examples[reason])
    if not measured.places:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(measured.dropped.items()))
        raise ConsilienceError(
            f"{folder / FILE}: no row can be used ({reasons}); {next(iter(measured.examples.values()))}"
        )
    kept = table.iloc[measured.places].reset_index(drop=True)
    return pd.concat([kept, pd.DataFrame(measured.facts)], axis=1)


def _facts(folder: Path, plan: Plan, measured: Measured) -> dict[str, str]:
    """Return unit, name and SHA-256 of the source: that of train.csv, and of names and SHA-256 of what is used."""
    lines = [sha256(folder / FILE), *(f"{name} {measured.digests[name]}" for name in sorted(measured.digests))]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    name = folder.resolve().name if plan.source["kind"] == "hms" else plan.source["kind"]
    return {"unit": UNIT, "source": name, "source_sha256": digest}


def _features() -> pd.DataFrame:
    return pd.DataFrame(
        {"name": feature_name(node, band), "branch": branch, "node": node, "band": band, "low": low, "high": high}
        for branch in BRANCHES
        for node in NODES[branch]
        for band, (low, high) in BANDS_OF[branch].items()
    )


def _samples(kept: pd.DataFrame, votes: np.ndarray) -> pd.DataFrame:
    """Return the samples: `weight` is the number of votes, `entropy` that of their fractions, from 0 to 1."""
    fractions = votes / votes.sum(axis=1, keepdims=True)
    columns = ["id", "patient_id", *RECORDINGS, *OFFSETS, *([CONSENSUS] if CONSENSUS in kept else [])]
    return kept[columns].assign(
        weight=votes.sum(axis=1),
        entropy=disagreement(fractions),
        trivial_amplitude=kept["amplitude"].to_numpy(np.float64),
    )


def _write(writer: DatasetWriter, spools: Mapping[str, Spool], samples: int, memory: int) -> None:
    """Write the branches, whose features follow each other, and the coherence."""
    first = 0
    for branch in BRANCHES:
        shape = spools[branch].shape
        places = first + np.arange(shape[1] * shape[2]).reshape(shape[1:])
        first += places.size
        writer.branch(branch, np.broadcast_to(places, shape), samples, scaling="band", reduce="mean", masked=True)
        # Whole chunks of the dataset are compressed once; a part of one would be read, and compressed again.
        rows = _rows(memory, shape, chunk_rows(shape, samples))
        masks = spools[MASK.format(branch)].blocks(rows)
        for values, mask in zip(spools[branch].blocks(rows), masks, strict=True):
            writer.append(branch, values, mask)
    if COHERENCE in spools:
        spool = spools[COHERENCE]
        rows = _rows(memory, spool.shape, chunk_rows(spool.shape, samples))
        writer.auxiliary_blocks(COHERENCE, spool.blocks(rows), samples, spool.shape)


def _rows(memory: int, shape: tuple[int, ...], chunk: int) -> int:
    return max(1, memory // (4 * int(np.prod(shape)) * chunk)) * chunk


def _tell(audit: Audit, kept: pd.DataFrame, plan: Plan) -> None:
    """Tell of what is masked."""
    count = len(kept)
    channels = count * len(NODES["eeg"])
    note = f"{kept['masked'].mean():.2%} of all values"
    audit.detail("masked channels", "any, in a window or more", int((kept["masked"] > 0).sum()), count, note)
    for name in FAULTS:
        rule = RULES[name].format(**plan.settings["bad_channels"])
        note = f"{int(kept[name].sum())} of {channels} (row, channel)"
        audit.detail("masked channels", rule, int((kept[name] > 0).sum()), count, note)
    windows, values = (count * plan.counts["spectrogram"] * size for size in (1, 16))
    note = f"{int(kept['empty'].sum())} of {windows} (row, window)"
    rule = "no row in which all bins of a band have a value"
    audit.detail("masked spectrogram", rule, int((kept["empty"] > 0).sum()), count, note)
    note = f"{int(kept['floored'].sum())} of {values} values"
    audit.detail(
        "power floor", f"mean power below {POWER_FLOOR:g} counts as that", int((kept["floored"] > 0).sum()), count, note
    )
