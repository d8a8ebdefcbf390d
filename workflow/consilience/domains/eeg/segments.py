"""What is computed of a labelled segment: which windows fit, whose recordings they come from, and their arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.domains.eeg.labels import OFFSETS
from consilience.domains.eeg.montage import BANDS_OF, BRANCHES, COHERENCE, NODES, SAMPLING_RATE, windows
from consilience.domains.eeg.recordings import Eeg, Recording, Spectrogram, UnusableError
from consilience.domains.eeg.signals import (
    FRAME,
    HOP,
    EegWindows,
    SpectrogramWindows,
    eeg_windows,
    spectrogram_windows,
)
from consilience.errors import ConsilienceError

MORE_PIECES = 2
MASK = "{} mask"
READERS: dict[str, type[Recording]] = {"eeg": Eeg, "spectrogram": Spectrogram}
# Channels that are counted for every segment, by their names in `EegWindows`.
FAULTS = ("flat", "deviating", "missing", "flat_windows")


def file_of(branch: str, identifier: str) -> str:
    """Return the place of a recording in its folder."""
    return f"train_{'eegs' if branch == 'eeg' else 'spectrograms'}/{identifier}.parquet"


class Folder:
    """The recordings of a folder, of which the last EEG and the last spectrogram stay open; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open: dict[str, tuple[str, Recording]] = {}

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        for branch in list(self.open):
            self._close(branch)

    def recording(self, branch: str, identifier: str) -> Any:
        """Return the recording of a branch that has this id; raises UnusableError."""
        if branch in self.open and self.open[branch][0] != identifier:
            self._close(branch)
        if branch not in self.open:
            self.open[branch] = (identifier, READERS[branch](self.path / file_of(branch, identifier)))
        return self.open[branch][1]

    def _close(self, branch: str) -> None:
        self.open.pop(branch)[1].close()


@dataclass(frozen=True)
class Plan:
    """What is computed of every segment: the study's settings, and how many windows there are by branch."""

    settings: Mapping[str, Any]
    counts: Mapping[str, int]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Plan:
        """Count the windows; raises ConsilienceError where they are no whole samples, too short, or do not fit."""
        source, window = settings["source"], settings["window"]
        for key, seconds in {
            "window": window,
            "stride": settings["stride"],
            "source.eeg_seconds": source["eeg_seconds"],
        }.items():
            samples = seconds * SAMPLING_RATE
            if round(samples) < 1 or abs(samples - round(samples)) > 1e-6:
                raise ConsilienceError(f"{key}: {seconds:g}; expected seconds in steps of 1/{SAMPLING_RATE}, a sample")
        # The coherence of one piece alone is 1, whatever the signals; of independent ones it is 0.34 with three.
        least = (FRAME + MORE_PIECES * HOP * (settings["graph"] == COHERENCE)) / SAMPLING_RATE
        if window < least:
            raise ConsilienceError(
                f"window: {window:g}; expected at least {least:g} seconds with graph: {settings['graph']}, since "
                f"spectra come from pieces of {FRAME / SAMPLING_RATE:g} s"
            )
        counts = {name: windows(source[f"{name}_seconds"], window, settings["stride"]) for name in BRANCHES}
        for name, count in counts.items():
            if not count:
                seconds = source[f"{name}_seconds"]
                raise ConsilienceError(f"source.{name}_seconds: {seconds:g}; expected at least window, {window:g}")
        return cls(settings, counts)

    @property
    def source(self) -> Mapping[str, Any]:
        """The source of the study."""
        return self.settings["source"]

    def arrays(self) -> dict[str, tuple[tuple[int, ...], type]]:
        """Return the shape and type, of one sample, of every array that `measure` gives."""
        arrays: dict[str, tuple[tuple[int, ...], type]] = {}
        for name, count in self.counts.items():
            shape = (count, len(NODES[name]), len(BANDS_OF[name]))
            arrays |= {name: (shape, np.float32), MASK.format(name): (shape, bool)}
        if self.settings["graph"] == COHERENCE:
            arrays[COHERENCE] = ((self.counts["eeg"], *(len(NODES["eeg"]),) * 2), np.float32)
        return arrays

    def measure(self, folder: Folder, row: pd.Series) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Return the arrays of a labelled segment, a row of the labels, and what is told of it.

        That is `amplitude`, `masked` (the share of the EEG's values), the numbers of channels in `FAULTS`, and of the
        spectrogram `empty`, windows without a band or more, and `floored`, values. Raises UnusableError.
        """
        eeg, spectrogram = self._eeg(folder, row), self._spectrogram(folder, row)
        arrays = {"eeg": eeg.power, "spectrogram": spectrogram.power}
        arrays |= {MASK.format("eeg"): eeg.absent, MASK.format("spectrogram"): spectrogram.absent}
        if eeg.coherence is not None:
            arrays[COHERENCE] = eeg.coherence
        facts = {"amplitude": eeg.amplitude, "masked": float(eeg.absent.mean())}
        facts |= {name: int(getattr(eeg, name).sum()) for name in FAULTS}
        empty = int(spectrogram.absent.any(axis=(1, 2)).sum())
        return arrays, facts | {"empty": empty, "floored": spectrogram.floored}

    def _eeg(self, folder: Folder, row: pd.Series) -> EegWindows:
        settings, offset = self.settings, row[OFFSETS[0]]
        recording = folder.recording("eeg", row["eeg_id"])
        found = eeg_windows(
            recording.segment(offset, self.source["eeg_seconds"]),
            round(settings["window"] * SAMPLING_RATE),
            round(settings["stride"] * SAMPLING_RATE),
            self.counts["eeg"],
            settings["line_frequency"],
            settings["bad_channels"]["flat"],
            settings["bad_channels"]["deviation"],
            settings["coherence_threshold"] if settings["graph"] == COHERENCE else None,
        )
        if found.absent.all():
            raise UnusableError(
                f"{recording.path}: no channel can be used in the segment from {offset:.10g} s: "
                "in every window each is flat, deviates or misses a sample",
                "every channel masked",
            )
        return found

    def _spectrogram(self, folder: Folder, row: pd.Series) -> SpectrogramWindows:
        settings, offset = self.settings, row[OFFSETS[1]]
        recording = folder.recording("spectrogram", row["spectrogram_id"])
        times, power = recording.segment(offset, self.source["spectrogram_seconds"], settings["window"])
        found = spectrogram_windows(
            times, power, recording.bins, settings["window"], settings["stride"], self.counts["spectrogram"]
        )
        if found.absent.all():
            raise UnusableError(
                f"{recording.path}: no value in the segment from {offset:.10g} s: "
                "in every row of a window each band lacks a bin",
                "no spectrogram value",
            )
        return found
