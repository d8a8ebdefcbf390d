"""What is computed from segments: filters, channels that cannot be used, log band powers, coherence. Arrays in and out.

Where a sample is missing, the windows that hold it are masked for that channel. Filters need a value there: it is
interpolated, and never reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, signal

from consilience.domains.eeg.montage import BANDS, SAMPLING_RATE

PASS = (0.5, 50.0)  # Hz
ORDER = 4  # of the Butterworth filter, in each direction
QUALITY = 30  # of the notch: its center over its width
FRAME, HOP = 400, 200  # samples of a Welch segment, and from one to the next: bins of 0.5 Hz
OF_QUARTILES = 0.7413  # from the interquartile range of a normal distribution to its standard deviation
# Mean power of a spectrogram below this counts as this. In microvolt^2 / Hz, where an amplifier's noise of 1 microvolt
# is 1e-2; the logarithm of 0 would be without bound.
POWER_FLOOR = 1e-4


@dataclass(frozen=True)
class EegWindows:
    """The windows of a segment of EEG.

    `power` (windows, channels, bands) is log10 microvolt^2, 0 where `absent`, bool of the same shape. `amplitude` is
    the mean log10 power from 0.5 to 50 Hz over windows and channels that are present, NaN where none is. `coherence`
    (windows, channels, channels) is None where it was not asked for. `flat`, `deviating`, `missing` and
    `flat_windows`, bool (channels,), are channels that are flat, that deviate, that miss a sample, and that are flat in
    a window and not throughout.
    """

    power: np.ndarray
    absent: np.ndarray
    amplitude: float
    coherence: np.ndarray | None
    flat: np.ndarray
    deviating: np.ndarray
    missing: np.ndarray
    flat_windows: np.ndarray


@dataclass(frozen=True)
class SpectrogramWindows:
    """The windows of a segment of spectrogram: log10 `power` (windows, regions, bands), 0 where `absent`.

    `floored` counts the values that were below `POWER_FLOOR`.
    """

    power: np.ndarray
    absent: np.ndarray
    floored: int


def bins_of(frequencies: np.ndarray, bands: Mapping[str, tuple[float, float]]) -> dict[str, np.ndarray]:
    """Return which of the frequencies (bins,) lie in each band: low <= f < high, the last one f <= high."""
    last = list(bands)[-1]
    return {
        name: (frequencies >= low) & ((frequencies <= high) if name == last else (frequencies < high))
        for name, (low, high) in bands.items()
    }


@cache
def sections(line_frequency: int) -> np.ndarray:
    """Return the filter as second-order sections (sections, 6): Butterworth from 0.5 to 50 Hz, and the notch."""
    band = signal.butter(ORDER, PASS, "bandpass", fs=SAMPLING_RATE, output="sos")
    notch = signal.tf2sos(*signal.iirnotch(line_frequency, QUALITY, fs=SAMPLING_RATE))
    return np.concatenate([band, notch])


def filtered(values: np.ndarray, line_frequency: int) -> np.ndarray:
    """Return (channels, samples) filtered forwards and backwards: no shift, gains squared (a half at 0.5 and 50 Hz).

    In the first and the last window of 10 s, delta power is 0.01 decades off on average, since the filter does not know
    what was recorded before and after.
    """
    return signal.sosfiltfilt(sections(line_frequency), values, axis=-1)


def filled(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (channels, samples) float64 without gaps, and where they were.

    What is not finite is interpolated linearly, or takes the nearest value at the ends. Each channel has a value.
    """
    values = values.astype(np.float64)
    missing = ~np.isfinite(values)
    places = np.arange(values.shape[1])
    for channel in np.flatnonzero(missing.any(axis=1)):
        gap = missing[channel]
        values[channel, gap] = np.interp(places[gap], places[~gap], values[channel, ~gap])
    return values, missing


def robust_deviation(values: np.ndarray) -> np.ndarray:
    """Return 0.7413 times the interquartile range over the last axis (quartiles as NumPy's default has them)."""
    places = (values.shape[-1] - 1) * np.asarray([0.25, 0.75])
    below = places.astype(int)
    above = np.minimum(below + 1, values.shape[-1] - 1)
    # Twice as fast as np.percentile.
    parts = np.partition(values, np.unique([below, above]).tolist(), axis=-1)
    lower, upper = np.moveaxis(parts[..., below] + (places - below) * (parts[..., above] - parts[..., below]), -1, 0)
    return OF_QUARTILES * (upper - lower)


def bad_channels(
    values: np.ndarray, missing: np.ndarray, flat: float, deviation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return which channels of a filtered segment (channels, samples) are flat, and which deviate, bool (channels,).

    Flat: the robust standard deviation is not above `flat` microvolts. Deviating: the robust z of its logarithm, over
    the channels that are not flat, is more than `deviation` from 0; robust z has the median for the mean and the robust
    standard deviation for the standard deviation (PREP, Bigdely-Shamlo et al. 2015, Front. Neuroinform. 9:16, which
    takes 5, and no logarithm). `missing` samples do not count.
    """
    spread = robust_deviation(values)
    for channel in np.flatnonzero(missing.any(axis=1)):
        spread[channel] = robust_deviation(values[channel, ~missing[channel]])
    is_flat = spread <= flat
    logarithms = np.log(spread[~is_flat])
    deviating = np.zeros_like(is_flat)
    if len(logarithms):
        distance = np.abs(logarithms - np.median(logarithms))
        deviating[~is_flat] = distance > deviation * robust_deviation(logarithms)
    return is_flat, deviating


def spectra(values: np.ndarray, window: int, stride: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectra of Welch's segments, complex (channels, segments, frequencies), and those of each window.

    A segment has 400 samples without their mean, times a Hann window, and half of it overlaps with the next; |.|^2 is
    a two-sided density in microvolt^2 / Hz (Welch 1967). The second result (count, segments of a window) has places
    among all segments, since overlapping windows share them.
    """
    starts = stride * np.arange(count)[:, None] + np.arange(0, window - FRAME + 1, HOP)
    distinct, places = np.unique(starts, return_inverse=True)
    taper = signal.get_window("hann", FRAME)
    frames = sliding_window_view(values, FRAME, axis=-1)[:, distinct]
    frames -= frames.mean(axis=-1, keepdims=True)
    frames *= taper / np.sqrt(SAMPLING_RATE * np.sum(taper**2))
    return fft.rfft(frames, axis=-1), places.reshape(starts.shape)


def band_power(segments: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the power in microvolt^2 by window, channel and band from `spectra`: mean density, summed times 0.5 Hz."""
    density = 2 * (segments.real**2 + segments.imag**2)  # both sides; no band has 0 or 100 Hz, which have but one
    frequencies = fft.rfftfreq(FRAME, 1 / SAMPLING_RATE)
    bands = [density[..., bins].sum(axis=-1) for bins in bins_of(frequencies, BANDS).values()]
    power = np.stack(bands, axis=-1) * SAMPLING_RATE / FRAME
    return power[:, places].mean(axis=2).swapaxes(0, 1)


def coherence(segments: np.ndarray, places: np.ndarray, absent: np.ndarray, threshold: float) -> np.ndarray:
    """Return the coherence of every two channels in every window, (windows, channels, channels), symmetric.

    It is |S_xy|^2 / (S_xx S_yy) of the spectra that Welch's segments average, its mean over the bins from 0.5 to 50 Hz.
    What is not above `threshold`, pairs with an `absent` channel (windows, channels), and the diagonal are 0.
    """
    frequencies = fft.rfftfreq(FRAME, 1 / SAMPLING_RATE)
    used = segments[..., (frequencies >= PASS[0]) & (frequencies <= PASS[1])]
    upper = np.triu(np.ones((len(segments),) * 2, dtype=bool), 1)
    out = np.zeros((len(places), *upper.shape))
    for window, own in enumerate(places):
        parts = used[:, own].transpose(2, 0, 1)  # (frequencies, channels, segments)
        cross = parts @ parts.conj().swapaxes(1, 2)
        powers = np.diagonal(cross, axis1=1, axis2=2).real
        products = powers[:, :, None] * powers[:, None, :]
        squares = cross.real**2 + cross.imag**2
        mean = np.divide(squares, products, out=np.zeros_like(squares), where=products > 0).mean(axis=0)
        joined = upper & (mean > threshold) & ~(absent[window][:, None] | absent[window])
        out[window, joined] = mean[joined]
    return out + out.swapaxes(1, 2)


def eeg_windows(
    values: np.ndarray,
    window: int,
    stride: int,
    count: int,
    line_frequency: int,
    flat: float,
    deviation: float,
    threshold: float | None = None,
) -> EegWindows:
    """Return what is computed from a segment of EEG, (channels, samples) in microvolts, NaN where missing.

    There are `count` windows of `window` samples, one every `stride`. A channel is masked in all of them where it is
    flat or deviates (`bad_channels`), and in those that miss a sample of it or in which it is flat before any filter; a
    value also where the power of its band is 0. With `threshold`, also `coherence`.
    """
    recorded, missing = filled(values)
    values = filtered(recorded, line_frequency)
    is_flat, deviating = bad_channels(values, missing, flat, deviation)
    # Of what was recorded: beside a signal that ends, the filter rings on.
    windows = sliding_window_view(recorded, window, axis=-1)[:, : stride * count : stride]
    still = (robust_deviation(windows) <= flat).T
    gaps = np.zeros_like(still)
    for channel in np.flatnonzero(missing.any(axis=1)):
        gaps[:, channel] = sliding_window_view(missing[channel], window)[: stride * count : stride].any(axis=1)
    absent = gaps | still | is_flat | deviating
    segments, places = spectra(values, window, stride, count)
    power = band_power(segments, places)
    mask = absent[:, :, None] | (power <= 0)
    total = power.sum(axis=2)
    heard = ~absent & (total > 0)
    return EegWindows(
        np.log10(power, out=np.zeros_like(power), where=~mask),
        mask,
        float(np.log10(total[heard]).mean()) if heard.any() else np.nan,
        None if threshold is None else coherence(segments, places, absent, threshold),
        is_flat,
        deviating,
        missing.any(axis=1),
        still.any(axis=0) & ~is_flat,
    )


def band_means(power: np.ndarray, bins: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Return the mean of each row over the bins of a region and band, (rows, regions, bands), from (columns, rows).

    `bins` are places among the columns by region and band. A mean is not finite where one of its bins is not.
    """
    means = [[power[places].mean(axis=0, dtype=np.float64) for places in own] for own in bins]
    return np.stack(means).transpose(2, 0, 1)


def spectrogram_windows(
    times: np.ndarray, power: np.ndarray, bins: Sequence[Sequence[np.ndarray]], window: float, stride: float, count: int
) -> SpectrogramWindows:
    """Return the log10 mean power of `count` windows of a spectrogram, by region and band.

    `power` (columns, rows), not negative, was measured at `times` (rows,), in seconds after the segment's start. Window
    i has the rows with stride * i <= time < stride * i + window. The mean is one over bins, then over the rows whose
    bins are all finite; it is absent where there is none, and `POWER_FLOOR` where it is less.
    """
    means = band_means(power, bins)
    counts = np.isfinite(means)
    starts = stride * np.arange(count)
    edges = np.searchsorted(times, np.stack([starts, starts + window], axis=1))
    sums = _sums(np.where(counts, means, 0), edges)
    rows = _sums(counts.astype(np.float64), edges)
    absent = rows == 0
    mean = np.divide(sums, rows, out=np.ones_like(sums), where=~absent)
    return SpectrogramWindows(np.log10(np.maximum(mean, POWER_FLOOR)), absent, int((mean < POWER_FLOOR).sum()))


def _sums(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the sums of rows first..last by window, (windows, ...); edges (windows, 2)."""
    # reduceat wants a row at every edge, and gives a single row where a range is empty.
    padded = np.concatenate([values, np.zeros((1, *values.shape[1:]))])
    sums = np.add.reduceat(padded, edges.ravel(), axis=0)[::2]
    sums[edges[:, 0] == edges[:, 1]] = 0
    return sums
