"""Small folders in the layout of the HMS competition, and windows computed by plain loops, for the tests of the eeg slice."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from consilience.domains.eeg.montage import CHANNELS, REGIONS, SPECTROGRAM_BANDS

RATE = 200
EEG_SECONDS, SPECTROGRAM_SECONDS, WINDOW, STRIDE = 12, 20, 4, 2
EEG_WINDOWS, SPECTROGRAM_WINDOWS = 5, 9
FREQUENCIES = [round(0.59 + 0.78 * place, 2) for place in range(25)]  # 0.59 to 19.31 Hz
EEG_BANDS = {"delta": (0.5, 4), "theta": (4, 8), "alpha": (8, 13), "beta": (13, 30), "gamma": (30, 50)}
CLASSES = ["seizure", "lpd", "other"]


def noise(seconds, seed=0, channels=19):
    """Microvolts (channels, samples): noise that channels share in part, each with an amplitude of its own."""
    random = np.random.default_rng(seed)
    own = random.standard_normal((channels, round(seconds * RATE)))
    # Each value leans on the one before: slow waves have more power.
    for sample in range(1, own.shape[1]):
        own[:, sample] += 0.9 * own[:, sample - 1]
    shared = own.mean(axis=0) * np.sqrt(channels)
    return (own + 0.5 * shared) * random.uniform(3, 6, (channels, 1)) + random.uniform(-20, 20, (channels, 1))


def eeg_table(seconds=20, seed=0):
    values = noise(seconds, seed).astype(np.float32)
    return pd.DataFrame({**dict(zip(CHANNELS, values, strict=True)), "EKG": np.float32(1)})


def spectrogram_table(seconds=30, seed=0):
    random = np.random.default_rng(seed)
    times = np.arange(1, seconds, 2)
    columns = {
        f"{region}_{frequency:.2f}": (10 ** random.normal(1 - np.log10(frequency), 0.5, len(times))).astype(np.float32)
        for region in REGIONS
        for frequency in FREQUENCIES
    }
    return pd.DataFrame({"time": times.astype(np.int64), **columns})


def labels_table(eegs=(11, 12, 13), rows=3, step=4.0, seed=0):
    """Segments every `step` seconds of EEGs, two of a patient; the spectrogram of EEG 11 is 911, and so on."""
    random = np.random.default_rng(seed)
    table = []
    for place, eeg in enumerate(eegs):
        for row in range(rows):
            votes = random.multinomial(random.integers(1, 9), [0.5, 0.3, 0.2])
            table.append(
                {
                    "eeg_id": eeg,
                    "eeg_sub_id": row,
                    "eeg_label_offset_seconds": row * step,
                    "spectrogram_id": 900 + eeg,
                    "spectrogram_sub_id": row,
                    "spectrogram_label_offset_seconds": row * step,
                    "label_id": 1000 * eeg + row,
                    "patient_id": 70 + place // 2,
                    "expert_consensus": CLASSES[int(votes.argmax())],
                    **{f"{name}_vote": int(count) for name, count in zip(CLASSES, votes, strict=True)},
                }
            )
    return pd.DataFrame(table)


def write_parquet(path, table, row_group_size=None, **keys):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path, row_group_size=row_group_size, **keys)
    return path


def write_labels(folder, labels):
    folder.mkdir(parents=True, exist_ok=True)
    labels.to_csv(folder / "train.csv", index=False)


def write_folder(folder, labels=None, row_group_size=None):
    """Write a folder of recordings long enough for `labels`; return it and the labels."""
    labels = labels_table() if labels is None else labels
    write_labels(folder, labels)
    for eeg in dict.fromkeys(labels["eeg_id"]):
        write_parquet(folder / "train_eegs" / f"{eeg}.parquet", eeg_table(seed=eeg), row_group_size)
    for name in dict.fromkeys(labels["spectrogram_id"]):
        size = row_group_size and max(1, row_group_size // 400)
        path = folder / "train_spectrograms" / f"{name}.parquet"
        write_parquet(path, spectrogram_table(seed=name), size)
    return folder, labels


def settings_of(source=None, **keys):
    """Settings as a study has them, with short windows."""
    own = {
        "kind": "hms",
        "path": "",
        "eeg_seconds": EEG_SECONDS,
        "spectrogram_seconds": SPECTROGRAM_SECONDS,
        "rows": "all",
        "unusable": "refuse",
    }
    return {
        "source": own | (source or {}),
        "window": WINDOW,
        "stride": STRIDE,
        "line_frequency": 60,
        "graph": "adjacency",
        "coherence_threshold": 0.5,
        "bad_channels": {"flat": 0.1, "deviation": 5},
        **keys,
    }


def spectrogram_by_hand(table, offset, count, window=WINDOW, stride=STRIDE, floor=1e-4):
    """Log powers (windows, regions, bands) of a spectrogram, NaN where absent, one value after the other."""
    out = np.full((count, 4, 4), np.nan)
    for place in range(count):
        low = offset + place * stride
        rows = table[(table["time"] >= low) & (table["time"] < low + window)]
        for region, name in enumerate(REGIONS):
            for band, (below, above) in enumerate(SPECTROGRAM_BANDS.values()):
                columns = [
                    column
                    for column in table
                    if column.startswith(f"{name}_")
                    and (below <= float(column[3:]) < above or (band == 3 and float(column[3:]) == above))
                ]
                means = [row.mean() for row in rows[columns].to_numpy(float) if np.isfinite(row).all()]
                if means:
                    out[place, region, band] = np.log10(max(np.mean(means), floor))
    return out
