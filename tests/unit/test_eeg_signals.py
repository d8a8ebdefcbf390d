"""Filters, powers and coherence against SciPy and plain loops; what is missing or bad reaches no other window or channel."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import signal

from consilience.domains.eeg import signals as module
from consilience.domains.eeg.montage import BANDS, REGIONS, SPECTROGRAM_BANDS
from consilience.domains.eeg.signals import (
    POWER_FLOOR,
    bad_channels,
    band_power,
    bins_of,
    coherence,
    eeg_windows,
    filled,
    filtered,
    robust_deviation,
    spectra,
    spectrogram_windows,
)
from tests.unit.eeg_examples import EEG_BANDS, RATE, noise, spectrogram_by_hand, spectrogram_table

COUNT, WINDOW, STRIDE = 5, 800, 400


def windows_of(values, window=WINDOW, stride=STRIDE, count=COUNT, line=60, flat=0.1, deviation=5.0, threshold=None):
    return eeg_windows(values, window, stride, count, line, flat, deviation, threshold)


def sine(frequency, amplitude, seconds=50, phase=0.3):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE + phase)


# --- filters


def butterworth_twice(frequency):
    """The gain of a band-pass of order 4 from 0.5 to 50 Hz, passed twice: the textbook's formula, bilinear transform."""
    low, high, own = (np.tan(np.pi * value / RATE) for value in (0.5, 50, frequency))
    return 1 / (1 + ((own**2 - low * high) / (own * (high - low))) ** 8)


@pytest.mark.parametrize("frequency", [0.25, 0.5, 0.8, 2, 10, 30, 45, 50, 70, 90])
def test_the_band_pass_has_the_gain_of_a_butterworth_filter_passed_twice(frequency):
    # Far from the notch at 60 Hz, which takes 2 Hz.
    values = sine(frequency, 10, seconds=120)
    middle = slice(50 * RATE, 70 * RATE)
    out = filtered(values[None], 60)[0]
    gain = out[middle] @ values[middle] / (values[middle] @ values[middle])
    notch = 1 / (1 + (30 * (frequency / 60 - 60 / frequency)) ** -2)
    assert gain == pytest.approx(butterworth_twice(frequency) * notch, rel=0.01, abs=1e-4)
    # No shift: what is left is the wave itself.
    assert np.abs(out[middle] - gain * values[middle]).max() < 0.01


@pytest.mark.parametrize("line", [50, 60])
def test_the_notch_takes_out_the_mains_and_a_width_of_a_thirtieth(line):
    middle = slice(20 * RATE, 30 * RATE)

    def gain(frequency, own):
        return filtered(sine(frequency, 10)[None], own)[0, middle].std() / filtered(sine(frequency, 10)[None], 110 - own)[0, middle].std()  # fmt: skip

    assert gain(line, line) < 1e-3
    # At the edges of its width one pass halves the power, and two the amplitude.
    for edge in (line * (1 - 1 / 60), line * (1 + 1 / 60)):
        assert gain(edge, line) == pytest.approx(0.5, abs=0.02)
    assert gain(line - 15, line) == pytest.approx(1, abs=0.03)


def test_a_constant_and_a_drift_leave_nothing():
    out = filtered(np.stack([np.full(10000, 4e4), 300 * np.arange(10000) / 10000]), 60)
    assert np.abs(out[0]).max() < 1e-6
    assert np.abs(out[1]).max() < 1


def test_channels_are_filtered_one_by_one():
    values = noise(12)
    np.testing.assert_array_equal(filtered(values, 50)[3], filtered(values[3:4], 50)[0])


# --- missing samples


def test_gaps_are_filled_by_lines_and_told():
    values = np.asarray(
        [[np.nan, np.nan, 1, np.nan, np.nan, 4, np.inf, 8, np.nan], [1, 2, 3, 4, 5, 6, 7, 8, 9]], np.float32
    )
    out, missing = filled(values)
    np.testing.assert_allclose(out, [[1, 1, 1, 2, 3, 4, 6, 8, 8], [1, 2, 3, 4, 5, 6, 7, 8, 9]])
    assert out.dtype == np.float64
    np.testing.assert_array_equal(missing[0], [1, 1, 0, 1, 1, 0, 1, 0, 1])
    assert not missing[1].any()
    assert np.isnan(values[0, 0]), "the input stays as it is"


@pytest.mark.parametrize("gap", [(4000, 4001), (4000, 4400), (0, 100), (9900, 10000), (3000, 7000)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_windows_with_a_missing_sample_are_masked_and_no_other(gap, value):
    whole = noise(50, seed=1)
    values = whole.copy()
    values[6, slice(*gap)] = value
    before, after = (windows_of(one, 2000, 1000, 9, threshold=0.2) for one in (whole, values))
    assert not before.absent.any()
    for place in range(9):
        overlaps = place * 1000 < gap[1] and place * 1000 + 2000 > gap[0]
        assert after.absent[place, 6].all() == after.absent[place, 6].any() == overlaps
    others = np.arange(19) != 6
    assert not after.absent[:, others].any()
    # Another channel does not notice, not by a bit; nor do its edges.
    np.testing.assert_array_equal(after.power[:, others], before.power[:, others])
    np.testing.assert_array_equal(after.coherence[:, others][:, :, others], before.coherence[:, others][:, :, others])
    assert np.isfinite(after.power).all()
    assert np.isfinite(after.coherence).all()
    assert np.isfinite(after.amplitude)
    assert (after.power[after.absent] == 0).all()
    assert not after.coherence[after.absent[:, 6].all(axis=1), 6].any()
    assert after.missing.tolist() == (~others).tolist()
    # Filters ring for a second or two. Changes are in decades: of a gap of 20 s, 2e-5 are left 5 s away.
    kept = np.flatnonzero(~after.absent[:, 6].all(axis=1))
    distance = np.asarray([max(gap[0] - (place * 1000 + 2000), place * 1000 - gap[1]) for place in kept])
    change = np.abs(after.power[kept, 6] - before.power[kept, 6]).max(axis=1)
    assert (change[distance >= 1000] < 1e-4).all()
    assert (change < 0.1).all()


def test_no_interpolated_value_is_told():
    values = noise(50, seed=2)
    values[3, 2500:7200] = np.nan
    other = values.copy()
    # Another end of the gap changes what is interpolated, in windows that are masked.
    other[3, 7200] += 1
    first, second = windows_of(values, 2000, 1000, 9), windows_of(other, 2000, 1000, 9)
    assert np.flatnonzero(~first.absent[:, 3].any(axis=1)).tolist() == [0, 8]
    assert np.abs(first.power[0, 3] - second.power[0, 3]).max() < 1e-6


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 18), st.integers(0, 2399), st.integers(1, 600)), max_size=6))
def test_whatever_is_missing_nothing_spreads(gaps):
    whole = noise(12, seed=4)
    values = whole.copy()
    for channel, start, length in gaps:
        values[channel, start : start + length] = np.nan
    found = windows_of(values)
    for place in range(COUNT):
        part = values[:, place * STRIDE : place * STRIDE + WINDOW]
        np.testing.assert_array_equal(found.absent[place].all(axis=1), np.isnan(part).any(axis=1))
    assert np.isfinite(found.power).all()
    clean = ~np.isnan(values).any(axis=1)
    np.testing.assert_array_equal(found.power[:, clean], windows_of(whole).power[:, clean])


# --- bad channels


@pytest.mark.parametrize("shape", [(7,), (3, 8), (2, 3, 9), (4, 2000), (5, 1)])
def test_the_robust_deviation_is_that_of_numpys_quartiles(shape):
    values = np.random.default_rng(0).standard_normal(shape)
    lower, upper = np.percentile(values, [25, 75], axis=-1)
    np.testing.assert_allclose(robust_deviation(values), 0.7413 * (upper - lower), rtol=1e-12)


def test_the_robust_deviation_of_a_normal_distribution_is_its_standard_deviation():
    values = 7 * np.random.default_rng(0).standard_normal(10**6)
    assert robust_deviation(values) == pytest.approx(7, rel=0.005)


def bad_by_hand(values, missing, flat, deviation):
    """Which channels are flat, and which deviate, one after the other."""
    spreads = []
    for own, gap in zip(values, missing, strict=True):
        lower, upper = np.percentile(own[~gap], [25, 75])
        spreads.append(0.7413 * (upper - lower))
    logs = [np.log(spread) for spread in spreads if spread > flat]
    center = np.median(logs)
    scale = 0.7413 * (np.percentile(logs, 75) - np.percentile(logs, 25))
    z = [abs(np.log(spread) - center) / scale if spread > flat else 0 for spread in spreads]
    return [spread <= flat for spread in spreads], [one > deviation for one in z]


@pytest.mark.parametrize("deviation", [1.0, 2.0, 5.0])
def test_flat_and_deviating_channels_are_those_of_plain_loops(deviation):
    values = noise(12, seed=5)
    values -= values.mean(axis=1, keepdims=True)
    values[2] *= 40
    values[5] /= 40
    values[8] = 0
    values[11] *= 1e-4
    missing = np.zeros(values.shape, bool)
    missing[1, 500:1500] = True
    values[1, 500:1500] = 1e4
    found = bad_channels(values, missing, 0.1, deviation)
    expected = bad_by_hand(values, missing, 0.1, deviation)
    assert [one.tolist() for one in found] == [list(one) for one in expected]
    assert np.flatnonzero(found[0]).tolist() == [8, 11]
    assert set(np.flatnonzero(found[1])) >= {2, 5}
    assert (found[1].sum() > 2) == (deviation == 1)


def test_a_flat_channel_is_one_that_is_not_above_the_limit():
    values = np.tile([1.0, -1.0], (4, 500)) * np.asarray([[1], [2], [3], [4]])
    spread = robust_deviation(values)
    flat, _ = bad_channels(values, np.zeros(values.shape, bool), spread[1], 5)
    assert flat.tolist() == [True, True, False, False]


def test_channels_that_are_all_alike_do_not_deviate_and_all_flat_ones_are_only_flat():
    same = np.tile(noise(12)[0], (19, 1))
    flat, deviating = bad_channels(same, np.zeros(same.shape, bool), 0.1, 5)
    assert not flat.any()
    assert not deviating.any()
    flat, deviating = bad_channels(0 * same, np.zeros(same.shape, bool), 0.1, 5)
    assert flat.all()
    assert not deviating.any()


def test_bad_channels_are_masked_in_all_windows_and_change_no_other_power():
    whole = noise(12, seed=6)
    values = whole.copy()
    values[4] = 17
    values[9] *= 60
    found, before = windows_of(values, threshold=0.2), windows_of(whole, threshold=0.2)
    assert np.flatnonzero(found.flat).tolist() == [4]
    assert np.flatnonzero(found.deviating).tolist() == [9]
    others = ~np.isin(np.arange(19), [4, 9])
    assert found.absent[:, ~others].all()
    assert not found.absent[:, others].any()
    np.testing.assert_array_equal(found.power[:, others], before.power[:, others])
    assert not found.coherence[:, ~others].any()
    assert not found.flat_windows.any()


def test_a_channel_that_is_flat_in_a_window_is_masked_there():
    values = noise(12, seed=7)
    values[4, 790:1610] = 3
    found = windows_of(values)
    assert not found.flat.any()
    assert found.flat_windows.tolist() == [channel == 4 for channel in range(19)]
    # Windows start every 400 samples: 800 to 1600 is flat, though the filter rings there.
    assert np.flatnonzero(found.absent[:, 4].all(axis=1)).tolist() == [2]
    assert found.absent.sum() == 5


def test_a_channel_that_only_drifts_is_flat():
    values = noise(12, seed=7)
    values[4] = np.linspace(-20, 20, values.shape[1])
    found = windows_of(values)
    assert np.flatnonzero(found.flat).tolist() == [4]
    assert found.absent[:, 4].all()
    assert not found.flat_windows.any()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [0.0, 1e-200])
def test_a_segment_without_any_signal_is_all_masked(scale):
    found = windows_of(scale * noise(12), flat=0.0, threshold=0.1)
    assert found.absent.all()
    assert not found.power.any()
    assert not found.coherence.any()
    assert np.isnan(found.amplitude)


# --- powers


def powers_by_hand(values, window, stride, count):
    """Powers by window, channel and band: one window after the other by scipy.signal.welch."""
    out = np.empty((count, len(values), 5))
    for place in range(count):
        for channel, own in enumerate(values):
            part = own[place * stride : place * stride + window]
            frequencies, density = signal.welch(part, RATE, nperseg=400)
            for band, (low, high) in enumerate(EEG_BANDS.values()):
                bins = (frequencies >= low) & ((frequencies < high) | ((band == 4) & (frequencies == high)))
                out[place, channel, band] = density[bins].sum() * 0.5
    return out


@pytest.mark.parametrize(
    ("window", "stride", "count"),
    [(2000, 1000, 2), (800, 400, 5), (400, 100, 3), (500, 130, 7), (400, 1000, 3), (999, 1, 2)],
)
def test_powers_are_those_of_scipys_welch(window, stride, count):
    values = noise(15, seed=8, channels=4)
    found = band_power(*spectra(values, window, stride, count))
    np.testing.assert_allclose(found, powers_by_hand(values, window, stride, count), rtol=1e-9)


@pytest.mark.parametrize(("frequency", "band"), [(2, 0), (6, 1), (10, 2), (20, 3), (40, 4), (10.2, 2), (2.7, 0)])
def test_a_wave_has_half_its_squared_amplitude_in_its_band(frequency, band):
    values = noise(50, channels=19) * 1e-3
    values[0] = sine(frequency, 30)
    found = windows_of(values, 2000, 1000, 9, deviation=100.0)
    # Ends of the segment are not what the filter has reached there.
    middle = 10 ** found.power[2:7, 0]
    gain = butterworth_twice(frequency)
    np.testing.assert_allclose(middle[:, band], 30**2 / 2 * gain**2, rtol=0.01)
    assert (np.delete(middle, band, axis=1) < 0.01 * middle[:, [band]]).all()


def test_windows_are_the_powers_of_the_filtered_segment():
    values = noise(12, seed=9)
    found = windows_of(values, line=50)
    expected = powers_by_hand(filtered(values, 50), WINDOW, STRIDE, COUNT)
    np.testing.assert_allclose(found.power, np.log10(expected), atol=1e-9)
    assert found.power.shape == found.absent.shape == (5, 19, 5)
    assert found.amplitude == pytest.approx(np.log10(expected.sum(axis=2)).mean(), abs=1e-9)
    assert found.coherence is None


def test_amplitude_counts_what_is_present():
    values = noise(12, seed=9)
    values[3] *= 100
    values[5, 100] = np.nan
    found = windows_of(values)
    powers = powers_by_hand(filtered(filled(values)[0], 60), WINDOW, STRIDE, COUNT).sum(axis=2)
    kept = np.ones((5, 19), bool)
    kept[:, 3] = False
    kept[0, 5] = False
    assert found.amplitude == pytest.approx(np.log10(powers[kept]).mean(), abs=1e-9)


def test_amplitude_is_kept():
    """No record is standardized: ten times the voltage is two decades more power, in every band."""
    values = noise(12, seed=10)
    np.testing.assert_allclose(windows_of(10 * values).power, windows_of(values).power + 2, atol=1e-9)


def test_bands_are_closed_below_and_the_last_one_above_too():
    frequencies = np.asarray([0.4, 0.5, 3.9, 4, 8, 12.99, 13, 30, 50, 50.1])
    bands = bins_of(frequencies, BANDS)
    assert {name: frequencies[bins].tolist() for name, bins in bands.items()} == {
        "delta": [0.5, 3.9], "theta": [4], "alpha": [8, 12.99], "beta": [13], "gamma": [30, 50],
    }  # fmt: skip


# --- coherence


def coherence_by_hand(values, window, stride, count):
    """Mean coherence from 0.5 to 50 Hz by window and pair, by scipy.signal.coherence."""
    out = np.zeros((count, len(values), len(values)))
    for place in range(count):
        part = values[:, place * stride : place * stride + window]
        for first, own in enumerate(part):
            frequencies, found = signal.coherence(own, part, RATE, nperseg=400)
            out[place, first] = found[:, (frequencies >= 0.5) & (frequencies <= 50)].mean(axis=1)
            out[place, first, first] = 0
    return out


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5])
def test_coherence_is_that_of_scipy_above_the_threshold(threshold):
    values = noise(14, seed=11, channels=5)
    expected = coherence_by_hand(values, 1200, 500, 3)
    assert (expected > 0.3).any()
    assert (expected < 0.3).any()
    absent = np.zeros((3, 5), bool)
    absent[1, 2] = True
    expected[1, 2] = expected[1, :, 2] = 0
    found = coherence(*spectra(values, 1200, 500, 3), absent, threshold)
    np.testing.assert_allclose(found, np.where(expected > threshold, expected, 0), atol=1e-9)
    np.testing.assert_array_equal(found, found.swapaxes(1, 2))
    assert not found[:, range(5), range(5)].any()


def test_coherence_of_a_segment_is_that_of_its_filtered_channels():
    values = noise(12, seed=12)
    values[7, 50] = np.nan
    values[9] *= 60
    found = windows_of(values, threshold=0.25).coherence
    expected = coherence_by_hand(filtered(filled(values)[0], 60), WINDOW, STRIDE, COUNT)
    expected[0, 7] = expected[0, :, 7] = 0
    expected[:, 9] = expected[:, :, 9] = 0
    np.testing.assert_allclose(found, np.where(expected > 0.25, expected, 0), atol=1e-9)
    assert found.any()


def test_channels_that_are_alike_are_fully_coherent():
    values = noise(12, seed=13)
    values[1] = -3 * values[0]
    found = windows_of(values, threshold=0.9, deviation=100.0).coherence
    np.testing.assert_allclose(found[:, 0, 1], 1, atol=1e-9)
    assert (found <= 1 + 1e-9).all()


# --- spectrograms


def bins_by_name(table):
    columns = [name for name in table if name != "time"]
    return columns, [
        [
            np.asarray(
                [place for place, name in enumerate(columns) if name[:2] == region and low <= float(name[3:]) < high]
            )
            for low, high in SPECTROGRAM_BANDS.values()
        ]
        for region in REGIONS
    ]


def spectrogram_of(table, offset, seconds, count, window=4, stride=2):
    columns, bins = bins_by_name(table)
    rows = table[(table["time"] >= offset) & (table["time"] < offset + seconds)]
    times = rows["time"].to_numpy() - offset
    return spectrogram_windows(times, rows[columns].to_numpy().T, bins, window, stride, count)


@pytest.mark.parametrize(
    ("offset", "window", "stride", "count"),
    [(0, 4, 2, 9), (3.5, 4, 2, 9), (1, 10, 5, 3), (2, 3, 0.5, 7), (0, 2, 3, 6), (0, 1, 1, 20), (15, 4, 2, 9)],
)
def test_windows_of_a_spectrogram_are_those_of_plain_loops(offset, window, stride, count):
    table = spectrogram_table(seed=1)
    random = np.random.default_rng(0)
    names = random.choice(table.columns[1:], 12)
    for name in names:
        table.loc[random.integers(len(table)), name] = random.choice([np.nan, np.inf])
    table.loc[5:6, table.columns[1:]] = np.nan
    found = spectrogram_of(table, offset, stride * (count - 1) + window, count, window, stride)
    expected = spectrogram_by_hand(table, offset, count, window, stride)
    np.testing.assert_array_equal(found.absent, np.isnan(expected))
    np.testing.assert_allclose(found.power, np.nan_to_num(expected), atol=1e-6)
    assert found.absent.any() == (window < 10)
    assert not found.absent.all()
    assert found.floored == 0


def test_a_row_belongs_to_the_windows_that_begin_at_it_and_not_to_those_that_end_there():
    times = np.asarray([0.0, 2.0, 3.999, 4.0])
    power = np.asarray([[1.0, 10.0, 100.0, 1000.0]])
    bins = [[np.asarray([0])]]
    found = spectrogram_windows(times, power, bins, 4, 2, 3)
    np.testing.assert_allclose(
        10 ** found.power.ravel(), [np.mean([1, 10, 100]), np.mean([10, 100, 1000]), 1000], rtol=1e-12
    )


def test_power_is_averaged_before_its_logarithm_is_taken_and_over_bins_first():
    # A row counts once, however many bins another band has.
    power = np.asarray([[1.0, 9.0], [3.0, np.nan]])
    found = spectrogram_windows(np.asarray([0.0, 1.0]), power, [[np.asarray([0, 1]), np.asarray([0])]], 4, 2, 1)
    np.testing.assert_allclose(10 ** found.power[0, 0], [2, 5])


def test_power_below_the_floor_counts_as_the_floor_and_is_told():
    power = np.asarray([[0.0, 0, 1e-3, 1e-3], [1e-3, 1e-3, 1e-3, 1e-3]])
    found = spectrogram_windows(np.arange(4.0), power, [[np.asarray([0])], [np.asarray([1])]], 2, 2, 2)
    assert POWER_FLOOR == 1e-4
    np.testing.assert_allclose(found.power[:, :, 0], [[-4, -3], [-3, -3]])
    assert found.floored == 1
    assert not found.absent.any()


def test_great_powers_do_not_drown_small_ones_elsewhere():
    power = np.asarray([[1e12, 1e-3, 1e-3, 2e-3]])
    found = spectrogram_windows(np.arange(4.0), power, [[np.asarray([0])]], 1, 1, 4)
    np.testing.assert_allclose(found.power.ravel(), np.log10(power[0]), atol=1e-12)


def test_windows_without_rows_are_absent_wherever_they_are():
    table = spectrogram_table(seed=2)
    table = table[table["time"].between(8, 13)]
    found = spectrogram_of(table, 0, 30, 14)
    expected = spectrogram_by_hand(table, 0, 14)
    assert found.absent.all(axis=(1, 2)).tolist() == [place not in (3, 4, 5, 6) for place in range(14)]
    np.testing.assert_array_equal(found.absent, np.isnan(expected))
    assert not found.power[found.absent].any()


def test_constants_are_those_that_are_documented():
    assert (module.FRAME, module.HOP, module.ORDER, module.QUALITY) == (400, 200, 4, 30)
    assert pd.Series(BANDS).to_dict() == {name: (float(low), float(high)) for name, (low, high) in EEG_BANDS.items()}
