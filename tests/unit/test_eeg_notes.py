"""What the summary is told of an EEG study."""

import numpy as np
import pandas as pd
import pytest

from consilience.domains.eeg.notes import HARDLY, LIKE_UNTRAINED, NEARLY_UNIFORM, SIGNIFICANT, note_lines
from consilience.domains.eeg.tables import COLUMNS

METRICS = {
    name: {
        "test": {
            "n": 40,
            "groups": 8,
            "expected_calibration_error": {"value": error, "low": low, "high": None if low is None else 0.2},
        }
    }
    for name, error, low in (("small", 0.125, 0.05), ("wide", 0.25, None))
}


def table(name, *rows):
    return pd.DataFrame([dict(row) for row in rows]).reindex(columns=list(COLUMNS[name]))


def ablations(low=0.01, high=0.3, modalities="spectrogram", shown="eeg + spectrogram"):
    alone = {"kl_divergence": 0.5, "difference": 0.1, "difference_low": low, "difference_high": high}
    return table(
        "ablations",
        {"model": "small", "modalities": shown, "kl_divergence": 0.4, "against": "small"},
        {"model": "wide", "modalities": "eeg + spectrogram", **alone},
        {"model": "alone", "modalities": modalities, **alone},
    )


def modalities(eeg=0.7):
    shares = {"eeg": eeg, "spectrogram": 1 - eeg}
    rows = [
        {
            "model": "small",
            "target": target,
            "player": player,
            "share": share,
            "share_low": share - 0.05,
            "share_high": share + 0.05,
        }
        for target in ("lpd", "all")
        for player, share in (shares if target == "all" else {"eeg": 0.99, "spectrogram": 0.01}).items()
    ]
    return table("modalities", *rows, {"model": "small", "target": "all", "player": "interaction"})


def agreement(p_value=0.2):
    return table(
        "agreement",
        {"model": "small", "agreement": 0.3, "low": 0.1, "high": 0.5, "shuffled": 0.28, "p_value": p_value},
    )


def attention(entropy=0.8, untrained=0.99):
    rows = [
        {"model": "small", "direction": direction, "head": head, "entropy": value, "entropy_low": value - 0.01, "entropy_high": value + 0.01, "untrained_entropy": untrained}
        for direction, head, value in (
            ("eeg_to_spec", "0", 0.999), ("eeg_to_spec", "all", entropy), ("spec_to_eeg", "all", 0.7),
        )
    ]  # fmt: skip
    return table("attention", *rows)


def knockouts(all_low=0.1):
    rows = [
        ("eeg_to_spec", "0", "removed", 0.01), ("eeg_to_spec", "1", "removed", -0.01), ("spec_to_eeg", "0", "removed", np.nan),
        ("eeg_to_spec", "0", "uniform", 0.01), ("eeg_to_spec", "all", "removed", -0.5), ("both", "all", "uniform", -0.5),
        ("both", "all", "removed", all_low),
    ]  # fmt: skip
    columns = ("direction", "head", "kind", "low")
    return table(
        "knockouts",
        *({"model": "small", **dict(zip(columns, row, strict=True)), "kl_change": 0.2, "high": 0.3} for row in rows),
    )


def windows(low=0.3, count=5):
    rows = [
        {"model": model, "method": method, "branch": "eeg", "target": target, "window": window, "start_seconds": 5.0 * window,
         "stop_seconds": 5.0 * window + 10, "share": 0.4, "low": low, "high": 0.5, "chance": 0.2}
        for model, method, target in (("small", "occlusion", "all"), ("small", "saliency", "all"), ("small", "occlusion", "lpd"), ("wide", "occlusion", "all"))
        for window in range(count)
    ]  # fmt: skip
    return table("windows", *rows)


def lines_of(**changes):
    tables = {
        "ablations": ablations(), "modalities": modalities(), "agreement": agreement(), "attention": attention(),
        "knockouts": knockouts(), "windows": windows(),
    }  # fmt: skip
    return note_lines(tables | changes, METRICS, "small", "occlusion")


def line_with(words, **changes):
    (line,) = [line for line in lines_of(**changes) if words in line]
    return line


def test_the_calibration_error_of_every_model_comes_first():
    assert lines_of()[0] == (
        "expected calibration error on 40 samples of 8 patients (0 is none; experts who disagree add to it): "
        "small 0.125 [0.050, 0.200], wide 0.250"
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.3, "worse"),
        (-0.01, 0.3, "not clearly worse: nothing shows that the other modality adds to it"),
        (-0.3, -0.01, "better than both together"),
        (None, None, "not clearly worse: nothing shows that the other modality adds to it"),
    ],
)
def test_one_modality_alone_is_held_against_both(low, high, verdict):
    interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    assert line_with("alone (", ablations=ablations(low, high)) == (
        f"alone (spectrogram alone): KL divergence 0.500, less that of small 0.100{interval}: {verdict}"
    )


def test_without_a_network_of_both_modalities_there_is_nothing_to_hold_one_against():
    found = lines_of(ablations=ablations(modalities="eeg", shown="spectrogram"))
    assert not [line for line in found if "alone" in line]


@pytest.mark.parametrize(
    ("eeg", "said"),
    [(0.7, ""), (HARDLY - 0.01, ": it hardly uses the EEG"), (1 - HARDLY + 0.01, ": it hardly uses the spectrogram")],
)
def test_the_share_of_modalities_is_told_over_all_samples(eeg, said):
    line = line_with("modalities' share", modalities=modalities(eeg))
    assert line.startswith("small: ")
    assert f"EEG {eeg:.3f} [{eeg - 0.05:.3f}, {eeg + 0.05:.3f}], spectrogram {1 - eeg:.3f}" in line
    assert line.endswith(f"]{said}")


@pytest.mark.parametrize(
    ("p_value", "verdict"), [(0.2, "not clearly more"), (SIGNIFICANT, "not clearly more"), (0.001, "more")]
)
def test_agreement_is_told_beside_that_of_other_patients(p_value, verdict):
    assert line_with("directions", agreement=agreement(p_value)) == (
        "small: both directions of attention agree by 0.300 [0.100, 0.500], with those of other patients by 0.280: "
        f"{verdict} than by chance (p = {p_value:.2g})"
    )


def test_one_patient_tells_nothing_of_chance():
    assert "of one patient, nothing tells" in line_with("directions", agreement=agreement(np.nan))


def test_attention_that_is_uniform_or_as_before_training_is_told_and_other_is_not():
    assert not [line for line in lines_of() if "entropy" in line]
    line = line_with("entropy", attention=attention(NEARLY_UNIFORM + 0.01, 0.9))
    assert line == (
        "small: its attention tells little; entropy (1 is uniform; before training): EEG to spectrogram 0.960 [0.950, 0.970], "
        "nearly uniform (0.900)"
    )
    line = line_with("entropy", attention=attention(0.8, 0.8 + LIKE_UNTRAINED / 2))
    assert line.endswith("0.800 [0.790, 0.810], hardly other than before training (0.810)")
    both = line_with("entropy", attention=attention(0.99, 0.99))
    assert both.endswith("nearly uniform and hardly other than before training (0.990)")


def test_heads_that_may_go_are_counted_and_all_of_them_weighed():
    assert line_with("heads") == (
        "small: 2 of 3 heads of attention may be removed without a clear loss; without all of them the KL divergence rises "
        "by 0.200 [0.100, 0.300]"
    )
    assert line_with("heads", knockouts=knockouts(-0.1)).endswith("[-0.100, 0.300], no clear loss")


def test_the_middle_of_the_segment_is_told_by_the_primary_method_of_the_shown_model():
    assert line_with("middle") == (
        "small: share of the attribution (occlusion) in the middle of the segment: EEG 10-20 s 0.400 [0.300, 0.500], "
        "more than an even share (0.200)"
    )
    assert "not clearly more than an even share" in line_with("middle", windows=windows(0.2))
    two = line_with("middle", windows=windows(count=4))
    assert "EEG 5-15 s" in two
    assert "EEG 10-20 s" in two
    assert not [line for line in lines_of(windows=table("windows")) if "middle" in line]


def test_a_study_of_networks_without_attention_tells_of_none():
    empty = {name: table(name) for name in ("modalities", "agreement", "attention", "knockouts", "windows")}
    assert len(lines_of(**empty)) == 2
