"""What the summary is told of an EEG study."""

import numpy as np
import pandas as pd
import pytest

from consilience.domains.eeg.asked import Asked
from consilience.domains.eeg.notes import (
    HARDLY,
    LIKE_UNTRAINED,
    NEARLY_UNIFORM,
    SIGNIFICANT,
    moved,
    note_lines,
    verdict,
)
from consilience.domains.eeg.tables import COLUMNS

ASKED = Asked(list("abcdefghijkl"), np.repeat(list("abc"), 4), *([np.zeros(0)] * 3), [], 0, 0)
ON = "on 12 samples of 3 patients, classes taking turns"
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


def agreement(p_value=0.2, least_p=0.01, excess=0.02):
    row = {"agreement": 0.3, "low": 0.1, "high": 0.5, "shuffled": 0.3 - excess, "excess": excess}
    return table("agreement", {"model": "small", **row, "p_value": p_value, "least_p": least_p})


def attention(entropy=0.8, untrained=0.99):
    rows = [
        {"model": "small", "direction": direction, "head": head, "entropy": value, "entropy_low": value - 0.01, "entropy_high": value + 0.01, "untrained_entropy": untrained}
        for direction, head, value in (
            ("eeg_to_spec", "0", 0.999), ("eeg_to_spec", "all", entropy), ("spec_to_eeg", "all", 0.7),
        )
    ]  # fmt: skip
    return table("attention", *rows)


def knockouts(value=0.2, low=0.1, high=0.3, known=True):
    rows = [
        ("eeg_to_spec", "0", "removed", 0.01, 0.3), ("eeg_to_spec", "1", "removed", -0.01, 0.3), ("spec_to_eeg", "0", "removed", np.nan, np.nan),
        ("spec_to_eeg", "1", "removed", -0.3, -0.01), ("spec_to_eeg", "2", "removed", -0.3, -0.01),
        ("eeg_to_spec", "0", "uniform", 0.01, 0.3), ("eeg_to_spec", "all", "removed", -0.5, 0.3), ("both", "all", "uniform", -0.5, 0.3),
        ("both", "all", "removed", low, high),
    ]  # fmt: skip
    columns = ("direction", "head", "kind", "low", "high")
    found = [{"model": "small", **dict(zip(columns, row, strict=True)), "kl_change": value} for row in rows]
    return table("knockouts", *found if known else ({**row, "low": np.nan, "high": np.nan} for row in found))


def windows(low=0.05, high=0.3, count=5):
    rows = [
        {"model": model, "method": method, "branch": "eeg", "target": target, "window": window, "start_seconds": 5.0 * window,
         "stop_seconds": 5.0 * window + 10, "share": 0.4, "low": 0.3, "high": 0.5, "chance": 0.2, "untrained": 0.25, "beyond": 0.15,
         "beyond_low": low, "beyond_high": high}
        for model, method, target in (
            ("small", "window_occlusion", "all"), ("small", "saliency", "all"), ("small", "window_occlusion", "lpd"),
            ("wide", "window_occlusion", "all"),
        )
        for window in range(count)
    ]  # fmt: skip
    return table("windows", *rows)


def edges(least_p=0.001):
    rows = [("lpd", 0.04, 1.0), ("lpd", 0.05, 1.0), ("seizure", 0.01, 0.5), ("all", 0.01, 1.0)]
    return table(
        "edges",
        *({"model": "small", "target": target, "q_value": q, "agreeing": agreeing, "least_p": least_p} for target, q, agreeing in rows),
    )  # fmt: skip


def lines_of(**changes):
    tables = {
        "ablations": ablations(), "modalities": modalities(), "agreement": agreement(), "attention": attention(),
        "knockouts": knockouts(), "windows": windows(), "edges": edges(),
    }  # fmt: skip
    return note_lines(tables | changes, METRICS, "small", ASKED)


def line_with(words, **changes):
    (line,) = [line for line in lines_of(**changes) if words in line]
    return line


def test_the_calibration_error_of_every_model_comes_first():
    assert lines_of()[0] == (
        "expected calibration error (confidence against the share of votes; 0 is none) on 40 samples of 8 patients: "
        "small 0.125 [0.050, 0.200], wide 0.250"
    )


def test_an_interval_that_is_missing_is_no_verdict():
    said = [verdict({"low": low, "high": high}, "up", "down", "open") for low, high in ((1, 2), (-2, -1), (-1, 1))]
    assert said == ["up", "down", "open"]
    assert {verdict({"low": none, "high": none}, "up", "down", "open") for none in (None, np.nan)} == {
        "too few patients to tell"
    }


def test_a_fall_is_no_negative_rise():
    assert moved({"value": 0.2, "low": -0.1, "high": 0.3}) == "rises by 0.200 [-0.100, 0.300]"
    assert moved({"value": -0.2, "low": -0.3, "high": 0.1}) == "falls by 0.200 [-0.100, 0.300]"
    assert moved({"value": -0.2, "low": None, "high": None}) == "falls by 0.200"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.3, "worse"),
        (-0.01, 0.3, "no loss shown without the other modality"),
        (-0.3, -0.01, "better than both together"),
        (None, None, "too few patients to tell"),
    ],
)
def test_one_modality_alone_is_held_against_both(low, high, said):
    interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    assert line_with("alone)", ablations=ablations(low, high)) == (
        "KL divergence from the votes on 40 samples of 8 patients, beyond that of small with both, 0.400: "
        f"alone (spectrogram alone) 0.100{interval}, {said}"
    )


def test_without_a_network_of_both_modalities_there_is_nothing_to_hold_one_against():
    found = lines_of(ablations=ablations(modalities="eeg", shown="spectrogram"))
    assert not [line for line in found if "alone" in line]


@pytest.mark.parametrize(
    ("eeg", "said"),
    [(0.7, ""), (HARDLY - 0.01, ", it hardly uses the EEG"), (1 - HARDLY + 0.01, ", it hardly uses the spectrogram")],
)
def test_the_share_of_modalities_is_told_over_all_samples(eeg, said):
    line = line_with("EEG's share", modalities=modalities(eeg))
    assert line.endswith(f"{ON}: small {eeg:.3f} [{eeg - 0.05:.3f}, {eeg + 0.05:.3f}]{said}")


@pytest.mark.parametrize(
    ("p_value", "excess", "said"),
    [
        (0.2, 0.02, "not clearly other than"),
        (SIGNIFICANT, 0.02, "not clearly other than"),
        (0.001, 0.02, "more than"),
        (0.001, -0.02, "less than"),
    ],
)
def test_agreement_is_told_beyond_that_of_other_patients(p_value, excess, said):
    assert line_with("directions of", agreement=agreement(p_value, excess=excess)) == (
        f"agreement of both directions of attention, against other patients' pairings, {ON}: small 0.300 against "
        f"{0.3 - excess:.3f}, an excess of {excess:.3f}, {said} by chance (p = {p_value:.2g})"
    )


def test_agreement_of_attention_that_is_nearly_uniform_makes_no_headline():
    table = attention(0.99).assign(entropy=0.99)
    line = line_with("directions of", agreement=agreement(0.001), attention=table)
    assert line.endswith(
        "small 0.300 against 0.280 (p = 0.001), of attention that is nearly uniform, which says little"
    )
    assert "more than" in line_with("directions of", agreement=agreement(0.001), attention=attention(0.99))


@pytest.mark.parametrize(("p_value", "least_p"), [(np.nan, 1), (0.08, SIGNIFICANT + 0.001)])
def test_of_few_patients_nothing_tells_what_chance_gives(p_value, least_p):
    line = line_with("directions of", agreement=agreement(p_value, least_p))
    assert line.endswith("small 0.300, too few patients to tell")


def test_attention_that_is_uniform_or_as_before_training_is_told_and_other_is_not():
    assert not [line for line in lines_of() if "entropy" in line]
    line = line_with("entropy", attention=attention(NEARLY_UNIFORM + 0.01, 0.9))
    assert line == (
        f"attention that tells little, by its entropy (1 is uniform; before training) {ON}: small EEG to spectrogram "
        "0.960 [0.950, 0.970] (0.900), nearly uniform"
    )
    line = line_with("entropy", attention=attention(0.8, 0.8 + LIKE_UNTRAINED / 2))
    assert line.endswith("0.800 [0.790, 0.810] (0.810), hardly other than before training")
    both = line_with("entropy", attention=attention(0.99, 0.99))
    assert both.endswith("(0.990), nearly uniform and hardly other than before training")


def test_losses_and_gains_without_heads_are_told_beside_what_chance_gives():
    start = (
        "small: without single heads of attention the KL divergence rises clearly for 1 of 4 and falls clearly for 2 "
        "(0.1 each by chance); without all of them it "
    )
    ends = {
        (0.2, 0.1, 0.3): "rises by 0.200 [0.100, 0.300], a loss on 12 samples of 3 patients",
        (0.2, -0.1, 0.3): "rises by 0.200 [-0.100, 0.300], no loss shown on 12 samples of 3 patients",
        (-0.2, -0.3, -0.1): "falls by 0.200 [0.100, 0.300], a gain on 12 samples of 3 patients",
        (-0.2, -0.3, 0.1): "falls by 0.200 [-0.100, 0.300], no loss shown on 12 samples of 3 patients",
    }
    for numbers, end in ends.items():
        assert line_with("heads", knockouts=knockouts(*numbers)) == start + end


def test_heads_of_few_patients_are_not_judged():
    assert line_with("heads", knockouts=knockouts(known=False)) == (
        "small: without single heads of attention the KL divergence cannot be judged (too few patients to tell); without all of them it rises by 0.200, too few patients to tell "
        "on 12 samples of 3 patients"
    )


def test_the_middle_of_the_segment_is_held_against_networks_before_training():
    assert line_with("middle") == (
        f"small: share of the middle windows in what is lost without single windows {ON}: EEG 10-20 s 0.400 "
        "(before training 0.250, even 0.200), more than before training"
    )
    assert line_with("middle", windows=windows(-0.1)).endswith("not clearly more than before training")
    assert line_with("middle", windows=windows(-0.3, -0.1)).endswith("less than before training")
    assert line_with("middle", windows=windows(None, None)).endswith("too few patients to tell")
    two = line_with("middle", windows=windows(count=4))
    assert "EEG 5-15 s" in two
    assert "EEG 10-20 s" in two
    for none in (table("windows"), windows(count=1), windows().assign(method="saliency")):
        assert not [line for line in lines_of(windows=none) if "middle" in line]


def test_edges_are_counted_that_are_clear_in_single_classes():
    start = f"edges of graphs that matter to a class (q < 0.05, all members of one sign) {ON}: "
    assert line_with("edges") == start + "small 1 of 3"
    assert line_with("edges", edges=edges(0.06)) == start + "small 1 of 3 (too few patients to tell)"


def test_notes_are_few():
    assert len(lines_of()) <= 8


def test_a_study_of_networks_without_attention_tells_of_none():
    empty = {name: table(name) for name in ("modalities", "agreement", "attention", "knockouts", "windows", "edges")}
    assert len(lines_of(**empty)) == 2
