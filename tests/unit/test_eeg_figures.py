"""Figures of time courses, calibration and outcomes show what the tables hold, and survive what little data gives."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from consilience.domains.eeg.draw import figures
from consilience.domains.eeg.marks import UNCLEAR, interval_text, is_clear
from consilience.domains.eeg.montage import BRANCHES
from consilience.domains.eeg.outcome_plots import CORRECT, FIRST_CLASS, WRONG, outcome_panels
from consilience.domains.eeg.plots import calibration_curves, percent, pooled, time_courses
from consilience.domains.eeg.tables import COLUMNS
from consilience.figures.style import VERMILLION
from tests.unit.eeg_figure_examples import (
    CLASSES,
    NAN,
    ablations_table,
    linear_metrics,
    points,
    table_of,
    titled,
    written,
)
from tests.unit.figure_examples import rendered

pytestmark = pytest.mark.filterwarnings("error")

# Numbers


def test_intervals_are_clear_where_they_leave_out_chance():
    assert is_clear(0.1, 0.2) and is_clear(-0.2, -0.1) and is_clear(0.3, 0.4, 0.2)
    assert not is_clear(-0.1, 0.2) and not is_clear(0.1, 0.3, 0.2) and not is_clear(NAN, NAN)
    row = {"value": -0.5, "low": -0.75, "high": 0.125}
    assert interval_text(row, "value") == "\u22120.50 [\u22120.75, 0.12]"
    assert interval_text(row | {"high": None}, "value") == interval_text({"value": -0.5}, "value") == "\u22120.50"


def test_shares_are_written_in_percent():
    assert [percent(share) for share in (0.24, 0.1, 0.0909, 0.0084, 0, 1)] == [
        "24 %", "10 %", "9.1 %", "0.84 %", "0 %", "100 %",
    ]  # fmt: skip


# Time courses


def windows_table(classes=CLASSES, counts=(5, 4), known=True, model="small"):
    random, rows = np.random.default_rng(1), []
    for branch, count in zip(BRANCHES, counts, strict=True):
        for target in (*classes, "all"):
            shares = random.dirichlet(np.full(count, 5.0))
            for window, share in enumerate(shares):
                row = {
                    "model": model,
                    "method": "window_occlusion",
                    "branch": branch,
                    "target": target,
                    "window": window,
                }
                row |= {"start_seconds": 5.0 * window, "stop_seconds": 5.0 * window + 10, "samples": 4, "share": share}
                row |= {"low": share - 0.05, "high": share + 0.05} if known else {"low": NAN, "high": NAN}
                beyond = random.normal(scale=0.08)
                row |= {"untrained": share - beyond, "beyond": beyond}
                row |= {"beyond_low": beyond - 0.05, "beyond_high": beyond + 0.05} if known else {}
                rows.append(row | {"chance": 1 / count, "signed": NAN})
    return table_of("windows", rows)


def test_time_courses_are_those_of_the_table():
    table = windows_table()
    figure = time_courses(pd.concat([windows_table(model="other"), table]), "small")
    rendered(figure)
    panels = np.array(figure.axes).reshape(2, 4)
    assert [axes.get_title(loc="left") for axes in panels[0]] == ["All classes", *CLASSES]
    for line, branch in zip(panels, BRANCHES, strict=True):
        for axes, target in zip(line, ("all", *CLASSES), strict=True):
            rows = table[(table["branch"] == branch) & (table["target"] == target)]
            even, share, before = axes.get_lines()[:3]
            np.testing.assert_allclose(before.get_ydata(), rows["untrained"])
            np.testing.assert_allclose(even.get_ydata(), rows["chance"])
            np.testing.assert_allclose(share.get_data(), [rows["start_seconds"] + 5, rows["share"]])
            filled, hollow = axes.get_lines()[3:]
            clear = rows["beyond"].abs() > 0.05
            np.testing.assert_allclose(filled.get_ydata(), rows.loc[clear, "share"])
            np.testing.assert_allclose(hollow.get_ydata(), rows.loc[~clear, "share"])
            assert hollow.get_markerfacecolor() == "white" != filled.get_markerfacecolor()
            (shade,) = (patch.get_extents().transformed(axes.transData.inverted()) for patch in axes.patches)
            # Window 2 of 5, windows 1 and 2 of 4.
            assert (round(shade.x0), round(shade.x1)) == ((10, 20) if branch == "eeg" else (5, 20))
    row = table[(table["branch"] == "eeg") & (table["target"] == "all") & (table["window"] == 2)].iloc[0]
    verdict = "more" if row["beyond_low"] > 0 else "less" if row["beyond_high"] < 0 else "not clearly more"
    before = percent(row["untrained"])
    expected = f"{percent(row['share'])} in the EEG's 10–20 s ({verdict} than before training, {before})"
    assert expected in " ".join(figure.get_suptitle().split())


@pytest.mark.parametrize("known", [True, False])
def test_a_single_window_and_unknown_intervals_are_drawn(known):
    figure = time_courses(windows_table(("lpd",), (1, 1), known), "small")
    rendered(figure)
    assert len(figure.axes) == 4
    shown = [line for axes in figure.axes for line in axes.get_lines()[3:] if len(line.get_xdata())]
    assert len(shown) == 4
    assert known or all(line.get_markerfacecolor() == "white" for line in shown)
    assert "a single window has all" in " ".join(figure.get_suptitle().split())


def test_long_segments_have_lines_and_no_points():
    figure = time_courses(windows_table(("lpd",), (9, 119)), "small")
    rendered(figure)
    assert [len(axes.get_lines()) for axes in figure.axes] == [5, 5, 3, 3]


def test_one_modality_and_no_windows_are_said():
    table = windows_table()
    assert len(time_courses(table[table["branch"] == "eeg"], "small").axes) == 4
    figure = time_courses(table.assign(method="saliency"), "small")
    rendered(figure)
    assert "no sample of small loses anything" in written(figure)


def test_too_few_patients_are_said_of_windows():
    figure = time_courses(windows_table(known=False), "small")
    assert "(too few patients to tell, " in " ".join(figure.get_suptitle().split())


# Calibration


def calibration_table(models=("small", "alone")):
    rows = []
    for model in models:
        for place, name in enumerate(CLASSES):
            for number in (1, 4, 10)[: 3 - place]:
                row = {"model": model, "class": name, "bin": number, "samples": 3 + place}
                rows.append(row | {"mean_probability": 0.1 * number - 0.05, "vote_fraction": 0.2 + 0.1 * place})
    return table_of("calibration", rows)


def metrics_of(*models):
    error = {"value": 0.125, "low": 0.0625, "high": 0.25}
    return {
        name: {"test": {"n": 9, "groups": 3, "expected_calibration_error": error | {"value": 0.125 * (1 + place)}}}
        for place, name in enumerate(models)
    }


def test_curves_pool_classes_by_their_samples():
    table = calibration_table(("small",))
    found = pooled(table)
    assert found["samples"].to_dict() == {1: 12, 4: 7, 10: 3}
    assert found.loc[4, "vote_fraction"] == pytest.approx((3 * 0.2 + 4 * 0.3) / 7)
    assert found.loc[1, "vote_fraction"] == pytest.approx((3 * 0.2 + 4 * 0.3 + 5 * 0.4) / 12)
    np.testing.assert_allclose(found["mean_probability"], [0.05, 0.35, 0.95])


def test_curves_are_those_of_the_table_with_their_counts():
    figure = calibration_curves(calibration_table(), metrics_of("small", "alone"))
    rendered(figure)
    for axes, model in zip(figure.axes, ("small", "alone"), strict=True):
        rows = calibration_table((model,))
        single, together = (own.get_offsets() for own in axes.collections)
        np.testing.assert_allclose(single, rows[["mean_probability", "vote_fraction"]])
        np.testing.assert_allclose(together, pooled(rows)[["mean_probability", "vote_fraction"]])
        areas = axes.collections[1].get_sizes()
        assert list(np.argsort(areas)) == [2, 1, 0]
        counts = {text.get_position()[0]: text.get_text() for text in axes.texts if text.get_text() != "n"}
        assert counts == {0.05: "12", 0.35: "7", 0.95: "3"}
    assert titled(figure, "small").get_title(loc="left") == "small\nerror 0.12 [0.06, 0.25]"
    assert " ".join(figure.get_suptitle().split()) == (
        "Probabilities are off by 0.12 (small) to 0.25 (alone) on average"
    )


def test_the_calibration_of_one_model_without_intervals_is_drawn():
    metrics = {"small": {"test": {"n": 1, "expected_calibration_error": {"value": 0.5, "low": None, "high": None}}}}
    figure = calibration_curves(calibration_table(("small",)), metrics)
    rendered(figure)
    assert figure.get_suptitle().replace("\n", " ") == "Probabilities are off by 0.50 (small) on average"
    assert "1 test sample of 1 patient" in written(figure)


# Outcomes


def outcomes_table(known=True):
    rows = [("confidence", 0.9, 0.6, 0.3, 0.1, 0.5), ("agreement", 0.1, 0.2, -0.1, -0.3, 0.1)]
    names = ("statistic", "correct", "incorrect", "difference", "low", "high")
    table = pd.DataFrame(rows, columns=names).assign(model="small", correct_samples=7, incorrect_samples=2)
    if not known:
        table = table.assign(low=NAN, high=NAN)
    return table.reindex(columns=list(COLUMNS["outcomes"]))


def patterns_table(classes=CLASSES):
    rows = [
        {"model": "small", "class": name, "statistic": statistic, "samples": 3, "value": 0.1 * place, "low": NAN}
        for place, name in enumerate(classes)
        for statistic in ("confidence", "agreement", "eeg_central_share")
    ]
    return table_of("class_patterns", [row | {"high": NAN} for row in rows])


def test_outcomes_lay_the_difference_around_the_level_of_the_wrong():
    figure = outcome_panels(outcomes_table(), patterns_table(), "small")
    rendered(figure)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == [
        "Confidence (probability)", "Agreement of both directions", "Middle's share of the EEG",
    ]  # fmt: skip
    # The third statistic is of classes alone.
    for axes, row in zip(panels[:2], outcomes_table().itertuples(), strict=True):
        found = points(axes)
        assert (WRONG, row.incorrect) in found and (CORRECT, row.correct) in found
        assert [(FIRST_CLASS + place, pytest.approx(0.1 * place)) for place in range(3)] == found[2:]
        (bar,) = (line for line in axes.get_lines() if line.get_linewidth() == 1.1)
        np.testing.assert_allclose(bar.get_ydata(), [row.incorrect + row.low, row.incorrect + row.high])
        assert to_hex(bar.get_color()) == to_hex(VERMILLION if row.low > 0 else UNCLEAR)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["wrong\n2", "correct\n7", *CLASSES]
    assert any("only one" in text.get_text() for text in panels[2].texts)
    assert " ".join(figure.get_suptitle().split()) == (
        "small: 2 wrong predictions; 1 of 2 statistics differs clearly, and confidence is higher where it is right"
    )


def test_outcomes_without_intervals_wrong_predictions_or_anything_are_said():
    figure = outcome_panels(outcomes_table(known=False), patterns_table(("lpd",)), "small")
    rendered(figure)
    assert figure.get_suptitle() == "small: 2 wrong predictions; too few patients to tell what differs"
    figure = outcome_panels(outcomes_table().iloc[:0], patterns_table(), "small")
    rendered(figure)
    assert "nothing to compare" in figure.get_suptitle()
    figure = outcome_panels(outcomes_table(), patterns_table(), "other")
    rendered(figure)
    assert "no statistic of other" in written(figure)


# All


def test_every_figure_is_made_once():
    tables = {name: table_of(name, []) for name in COLUMNS} | {
        "windows": windows_table(),
        "ablations": ablations_table(),
        "calibration": calibration_table(("small",)),
    }

    class Params:
        shown, primary, window, stride = "small", "saliency", 10, 5

    made = dict(figures(tables, {}, metrics_of("small"), linear_metrics(), Params))
    assert list(made) == ["time_courses", "attention", "heads", "modalities", "edges", "calibration", "outcomes"]
    for figure in made.values():
        rendered(figure)
