"""Simulates recordings in the layout of the HMS competition: a rhythm for every class, patients that differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import fft, signal

from consilience.domains.eeg.montage import (
    BANDS,
    CHAINS,
    CHANNELS,
    NEIGHBORS,
    SAMPLING_RATE,
    feature_name,
)
from consilience.files import write_table


@dataclass(frozen=True)
class Rhythm:
    """What is planted for a class: at which channels, at how many Hz, and which regions of the spectrogram show it."""

    channels: tuple[str, ...]
    frequency: float
    regions: tuple[str, ...]

    @property
    def band(self) -> str:
        """The band of its frequency."""
        return next(name for name, (low, high) in BANDS.items() if low <= self.frequency < high)


# In the competition's order. No two classes share a channel and a band; that of GRDA at the midline is in no chain.
RHYTHMS = {
    "seizure": Rhythm(("F7", "T3", "T5"), 6.0, ("LL",)),
    "lpd": Rhythm(("F4", "C4", "P4"), 1.5, ("RP",)),
    "gpd": Rhythm(("Fp1", "Fp2", "O1", "O2"), 2.0, ("LL", "RL", "LP", "RP")),
    "lrda": Rhythm(("F3", "C3", "P3"), 1.5, ("LP",)),
    "grda": Rhythm(("F7", "F8", "Fz", "Cz", "Pz"), 2.5, ("LL", "RL")),
    "other": Rhythm(("P3", "P4", "O1", "O2"), 10.0, ("LL", "RL", "LP", "RP")),
}
BACKGROUND = 12.0  # microvolts
LINE = 2.0  # microvolts, at 60 Hz
SPREAD = 0.5  # of what a neighbor sees of a channel's background
LAG = 0.4  # radians from one channel of a rhythm to the next: differences along a chain must not cancel
JITTER = 0.1  # of a rhythm's frequency
DECIMALS = 1  # of a microvolt: files are a third of the size, and no band is touched
LEAST_RATERS, MOST_RATERS = 3, 20
TORN = 40.0  # times the amplitude of a channel that is torn off
FRAME, BINS = 400, 1024  # samples of a spectrogram's row, and of its transform
LOWEST, HIGHEST = 3, 103  # bins that are kept: 0.59 to 19.92 Hz


def simulate(folder: Path, settings: dict[str, Any], seed: int) -> pd.DataFrame:
    """Write `train.csv`, `train_eegs` and `train_spectrograms` into `folder` and return the planted truth.

    A patient has one recording of `segments` segments, each of one class, its EEG in the middle of its spectrogram. The
    background is 1/f noise, which neighboring channels share in part; every patient's channels have amplitudes of
    their own. The class's rhythm is a sine wave of the `amplitude` at its channels, for 0.4 to 0.8 of the EEG's length
    about its middle. The spectrogram is that of the differences along each chain. Between 3 and 20 raters vote. Bad
    channels are made after the spectrogram.

    The truth has a row a channel and band, and a row a region and band, of the class's rhythm: feature, target, sign,
    strength (the amplitude), effect. Of two classes the target is the second, and what is planted for the first speaks
    against it.
    """
    source = settings["source"]
    classes = list(RHYTHMS)[: source["classes"]]
    plan, *patients = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(1 + source["patients"])
    )
    count = source["patients"] * source["segments"]
    labels = plan.permutation(np.arange(count) % len(classes)).reshape(source["patients"], -1)
    for name in ("train_eegs", "train_spectrograms"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for patient, (own, random) in enumerate(zip(labels, patients, strict=True)):
        eeg = _recording([RHYTHMS[classes[label]] for label in own], source, random)
        _write_spectrogram(folder / "train_spectrograms" / f"{5000 + patient}.parquet", eeg)
        _damage(eeg, source["bad_channels"], random)
        _write_eeg(folder / "train_eegs" / f"{1000 + patient}.parquet", eeg, random)
        rows += [_row(patient, segment, label, classes, source, random) for segment, label in enumerate(own)]
    write_table(folder / "train.csv", pd.DataFrame(rows))
    return _truth(classes, source["amplitude"])


def _recording(rhythms: list[Rhythm], source: dict[str, Any], random: np.random.Generator) -> np.ndarray:
    """Return the EEG of one patient in microvolts, (channels, samples)."""
    length = round(source["spectrogram_seconds"] * SAMPLING_RATE)
    samples = length * len(rhythms)
    deviations = BACKGROUND * 10 ** random.normal(0, source["patient_offset"], len(CHANNELS))
    eeg = deviations[:, None] * _background(samples, random)
    for place, rhythm in enumerate(rhythms):
        middle = (place + 0.5) * length
        _add(eeg, rhythm, middle, deviations, source, random)
    time = np.arange(samples) / SAMPLING_RATE
    eeg += LINE * np.sin(2 * np.pi * 60 * time + random.uniform(0, 2 * np.pi))
    return eeg


def _background(samples: int, random: np.random.Generator) -> np.ndarray:
    """Return 1/f noise of standard deviation 1 between 0.5 and 50 Hz, (channels, samples)."""
    size = fft.next_fast_len(samples, real=True)
    frequencies = fft.rfftfreq(size, 1 / SAMPLING_RATE)
    amplitudes = np.where(frequencies >= 0.5, 1 / np.sqrt(np.maximum(frequencies, 0.5)), 0)
    heard = (frequencies >= 0.5) & (frequencies < 50)
    amplitudes *= size / (2 * np.sqrt(np.sum(amplitudes[heard] ** 2)))
    parts = random.standard_normal((2, len(CHANNELS), len(frequencies)))
    own = fft.irfft(amplitudes * (parts[0] + 1j * parts[1]), size)[:, :samples]
    place = {name: index for index, name in enumerate(CHANNELS)}
    mixing = np.eye(len(CHANNELS))
    for first, second in NEIGHBORS:
        mixing[place[first], place[second]] = mixing[place[second], place[first]] = SPREAD / 2
    return (mixing / np.linalg.norm(mixing, axis=1, keepdims=True)) @ own


def share_of_band(band: str) -> float:
    """Return the share of the background's variance from 0.5 to 50 Hz that lies in a band."""
    low, high = BANDS[band]
    return float(np.log(high / low) / np.log(50 / 0.5))


def _add(
    eeg: np.ndarray,
    rhythm: Rhythm,
    middle: float,
    deviations: np.ndarray,
    source: dict[str, Any],
    random: np.random.Generator,
) -> None:
    """Add a rhythm about the sample `middle` at its channels."""
    half = round(random.uniform(0.2, 0.4) * source["eeg_seconds"] * SAMPLING_RATE)
    first, last = max(0, round(middle) - half), min(eeg.shape[1], round(middle) + half)
    frequency = rhythm.frequency * (1 + random.uniform(-JITTER, JITTER))
    phase = 2 * np.pi * frequency * np.arange(last - first) / SAMPLING_RATE + random.uniform(0, 2 * np.pi)
    envelope = signal.windows.tukey(last - first, 0.1)
    scale = source["amplitude"] * np.sqrt(2 * share_of_band(rhythm.band))
    for order, channel in enumerate(rhythm.channels):
        place = CHANNELS.index(channel)
        gain = scale * deviations[place] * random.uniform(0.8, 1.2)
        eeg[place, first:last] += gain * envelope * np.sin(phase + LAG * order)


def _damage(eeg: np.ndarray, share: float, random: np.random.Generator) -> None:
    """Make some channels flat, or as loud as a cable that hangs loose."""
    for channel in range(len(eeg)):
        kind = random.random()
        if kind < share / 2:
            eeg[channel] = 0
        elif kind < share:
            eeg[channel] *= TORN


def _write_eeg(path: Path, eeg: np.ndarray, random: np.random.Generator) -> None:
    columns = {name: np.round(values, DECIMALS).astype(np.float32) for name, values in zip(CHANNELS, eeg, strict=True)}
    columns["EKG"] = np.round(random.standard_normal(eeg.shape[1], dtype=np.float32), DECIMALS)
    _write(path, columns)


def _write_spectrogram(path: Path, eeg: np.ndarray) -> None:
    """Write the mean power (microvolt^2 / Hz) of the differences along every chain, a row every two seconds."""
    frequencies = fft.rfftfreq(BINS, 1 / SAMPLING_RATE)[LOWEST:HIGHEST]
    columns = {}
    for region, chain in CHAINS.items():
        differences = -np.diff(eeg[[CHANNELS.index(name) for name in chain]], axis=0)
        _, time, power = signal.spectrogram(differences, SAMPLING_RATE, "hann", FRAME, 0, BINS)
        columns.setdefault("time", time.astype(np.int64))
        for place, frequency in enumerate(frequencies, LOWEST):
            columns[f"{region}_{frequency:.2f}"] = power[:, place].mean(axis=0).astype(np.float32)
    _write(path, columns)


def _write(path: Path, columns: dict[str, np.ndarray]) -> None:
    pq.write_table(pa.table(columns), path, compression="zstd", compression_level=1)


def _row(
    patient: int, segment: int, label: int, classes: list[str], source: dict[str, Any], random: np.random.Generator
) -> dict[str, Any]:
    """Return a row of train.csv."""
    # Some segments divide the raters more than others.
    doubt = min(0.9, random.uniform(0, 2) * source["disagreement"])
    chances = np.full(len(classes), doubt / (len(classes) - 1))
    chances[label] = 1 - doubt
    votes = random.multinomial(random.integers(LEAST_RATERS, MOST_RATERS + 1), chances)
    start = segment * source["spectrogram_seconds"]
    return {
        "eeg_id": 1000 + patient,
        "eeg_sub_id": segment,
        "eeg_label_offset_seconds": start + (source["spectrogram_seconds"] - source["eeg_seconds"]) / 2,
        "spectrogram_id": 5000 + patient,
        "spectrogram_sub_id": segment,
        "spectrogram_label_offset_seconds": start,
        "label_id": 100000 + 1000 * patient + segment,
        "patient_id": patient,
        "expert_consensus": classes[int(np.argmax(votes))],
        **{f"{name}_vote": int(count) for name, count in zip(classes, votes, strict=True)},
    }


def _truth(classes: list[str], amplitude: float) -> pd.DataFrame:
    two = len(classes) == 2
    return pd.DataFrame(
        {
            "feature": feature_name(node, RHYTHMS[name].band),
            "target": classes[1] if two else name,
            "sign": -1 if two and name == classes[0] else 1,
            "strength": amplitude,
            "effect": "linear",
        }
        for name in classes
        for node in (*RHYTHMS[name].channels, *RHYTHMS[name].regions)
    )
