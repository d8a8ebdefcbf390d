"""The electrodes of the 10-20 system in the order of the recordings, the regions of the spectrograms, and the bands."""

from __future__ import annotations

import math

CHANNELS = (
    "Fp1", "F3", "C3", "P3", "F7", "T3", "T5", "O1", "Fz", "Cz", "Pz",
    "Fp2", "F4", "C4", "P4", "F8", "T4", "T6", "O2",
)  # fmt: skip
# Next to each other on the head, along its rows and columns: 32 pairs.
NEIGHBORS = (
    ("Fp1", "Fp2"), ("Fp1", "F7"), ("Fp1", "F3"), ("Fp2", "F4"), ("Fp2", "F8"),
    ("F7", "F3"), ("F3", "Fz"), ("Fz", "F4"), ("F4", "F8"),
    ("F7", "T3"), ("F3", "C3"), ("Fz", "Cz"), ("F4", "C4"), ("F8", "T4"),
    ("T3", "C3"), ("C3", "Cz"), ("Cz", "C4"), ("C4", "T4"),
    ("T3", "T5"), ("C3", "P3"), ("Cz", "Pz"), ("C4", "P4"), ("T4", "T6"),
    ("T5", "P3"), ("P3", "Pz"), ("Pz", "P4"), ("P4", "T6"),
    ("T5", "O1"), ("P3", "O1"), ("P4", "O2"), ("T6", "O2"), ("O1", "O2"),
)  # fmt: skip
# Lateral and parasagittal chains, left and right: a region of a spectrogram averages the differences along its chain.
REGIONS = ("LL", "RL", "LP", "RP")
CHAINS = {
    "LL": ("Fp1", "F7", "T3", "T5", "O1"),
    "RL": ("Fp2", "F8", "T4", "T6", "O2"),
    "LP": ("Fp1", "F3", "C3", "P3", "O1"),
    "RP": ("Fp2", "F4", "C4", "P4", "O2"),
}
NEIGHBORING_REGIONS = (("LL", "LP"), ("RL", "RP"), ("LL", "RL"), ("LP", "RP"))
# Hz, from the first up to the second.
BANDS = {"delta": (0.5, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0), "gamma": (30.0, 50.0)}
# Spectrograms end at 20 Hz.
SPECTROGRAM_BANDS = {"delta": (0.5, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 20.0)}
BRANCHES = ("eeg", "spectrogram")
NODES = {"eeg": CHANNELS, "spectrogram": REGIONS}
EDGES = {"eeg": NEIGHBORS, "spectrogram": NEIGHBORING_REGIONS}
BANDS_OF = {"eeg": BANDS, "spectrogram": SPECTROGRAM_BANDS}
COHERENCE = "coherence"  # the graph, and the auxiliary array that holds it
SAMPLING_RATE = 200  # Hz
ROUNDING = 1e-6


def windows(seconds: float, window: float, stride: float) -> int:
    """Return how many windows of `window` seconds, one every `stride`, lie in so many seconds."""
    # Decimals that should divide evenly miss it by rounding: 40 / 0.1 is 399.99...
    steps = (seconds - window) / stride
    return math.floor(steps + ROUNDING) + 1 if steps > -ROUNDING else 0


def feature_name(node: str, band: str) -> str:
    """Return the name of a feature, such as T3 theta."""
    return f"{node} {band}"
