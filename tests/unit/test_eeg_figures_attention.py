"""Figures of attention, of heads and of modalities show what the tables hold, and survive what little data gives."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from consilience.domains.eeg.attention_figures import LEAST_REACH, MOST_HEADS, attention_maps, multiples, read_means
from consilience.domains.eeg.head_plots import MOST_MEMBERS, head_panels, lines_of
from consilience.domains.eeg.marks import UNCLEAR
from consilience.domains.eeg.modality_plots import SHIFTS, modality_panels, predictors
from consilience.domains.eeg.montage import BRANCHES
from consilience.figures.style import BLUE, GRAY, PURPLE, VERMILLION
from consilience.files import read_h5, write_h5
from tests.unit.eeg_attention_examples import drawn
from tests.unit.eeg_figure_examples import (
    CLASSES,
    NAN,
    ablations_table,
    bars,
    linear_metrics,
    points,
    table_of,
    titled,
    written,
)
from tests.unit.figure_examples import rendered

pytestmark = pytest.mark.filterwarnings("error")

DIRECTIONS = ("eeg_to_spec", "spec_to_eeg")
TIMES = (10, 5)


# Attention


def attention_table(heads=2, members=(0, 1), model="small", directions=DIRECTIONS):
    random, rows = np.random.default_rng(2), []
    for direction in directions:
        for member, head in [*((member, head) for member in members for head in range(heads)), ("all", "all")]:
            entropy = random.uniform(0.5, 0.9)
            row = {"model": model, "direction": direction, "head": head, "member": member, "samples": 6}
            row |= {"entropy": entropy, "entropy_low": entropy - 0.1, "entropy_high": entropy + 0.05}
            row |= {"maximum": 0.4, "specialization": 1 - entropy, "untrained_entropy": random.uniform(0.9, 1)}
            rows.append(row | {"distance": random.uniform(0, 0.5), "top_query": 0, "top_key": 0, "top_weight": 0.4})
    return table_of("attention", rows)


def means_of(heads=2, windows=(4, 6), members=2):
    return {
        "eeg_to_spec": drawn(members, heads, *windows),
        "spec_to_eeg": drawn(members, heads, *windows[::-1], seed=1),
    }


def test_multiples_are_of_the_uniform_weight():
    weights = drawn(2, 3, 4, 5)
    np.testing.assert_allclose(multiples(weights), 5 * weights)
    weights[..., 1, :] = NAN
    weights[..., 0, 2] = NAN
    found = multiples(weights)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(weights))
    np.testing.assert_allclose(np.nanmean(found[..., 0, :], axis=-1), 1)


def test_maps_show_all_heads_and_those_of_the_first_member():
    means, table = means_of(), attention_table()
    figure = attention_maps(means, table, "small", TIMES)
    rendered(figure)
    panels = np.array([axes for axes in figure.axes if axes.images]).reshape(2, 3)
    reach = max(np.abs(multiples(own.mean(axis=(0, 1))) - 1).max() for own in means.values())
    for line, (direction, own) in zip(panels, means.items(), strict=True):
        keys = own.shape[-1]
        for axes, expected in zip(line, (own.mean(axis=(0, 1)), own[0, 0], own[0, 1]), strict=True):
            (image,) = axes.images
            np.testing.assert_allclose(image.get_array(), keys * expected)
            assert image.norm.vcenter == 1 and image.norm.halfrange >= reach
            query, key = np.unravel_index(expected.argmax(), expected.shape)
            (box,) = (patch for patch in axes.patches if isinstance(patch, Rectangle))
            np.testing.assert_allclose(box.get_xy(), (2.5 + 5 * key, 2.5 + 5 * query))
            left, right, bottom, top = image.get_extent()
            assert (left, right) == (2.5, 2.5 + 5 * keys) and top < bottom
        found = table[(table["direction"] == direction) & (table["member"] == 0)]["entropy"]
        titles = [axes.get_title(loc="left") for axes in line[1:]]
        assert titles == [f"head {head}\nentropy {value:.3f}" for head, value in enumerate(found)]
    # The four windows of EEG lie in the middle of the six of the spectrogram.
    for line, later in zip(panels, (5, -5), strict=True):
        (same,) = line[0].get_lines()
        np.testing.assert_allclose(np.subtract(*same.get_data()), later)
    assert figure.get_suptitle().startswith("Attention of small is not uniform")


def test_attention_that_is_nearly_uniform_is_pale_and_said():
    uniform = {name: np.full(own.shape, 1 / own.shape[-1]) for name, own in means_of().items()}
    table = attention_table().assign(entropy=0.999)
    figure = attention_maps(uniform, table, "small", TIMES)
    rendered(figure)
    assert all(axes.images[0].norm.halfrange == LEAST_REACH for axes in figure.axes if axes.images)
    assert figure.get_suptitle().startswith("Attention of small is nearly uniform: entropy 0.999")
    table.loc[table["direction"] == "eeg_to_spec", "entropy"] = 0.5
    assert "in one direction" in attention_maps(uniform, table, "small", TIMES).get_suptitle()


def test_absent_windows_many_heads_and_one_direction_are_drawn():
    means = means_of(MOST_HEADS + 2, (1, 4))
    means["spec_to_eeg"][:] = NAN
    means["eeg_to_spec"][..., 3] = NAN
    figure = attention_maps(means, attention_table(MOST_HEADS + 2, directions=DIRECTIONS[:1]), "small", TIMES)
    rendered(figure)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == MOST_HEADS + 1
    assert all(np.ma.getmaskarray(axes.images[0].get_array())[:, 3].all() for axes in panels)
    assert f"the first {MOST_HEADS} of {MOST_HEADS + 2}" in written(figure)


def test_a_model_without_attention_is_said(tmp_path):
    with write_h5(tmp_path / "attention.h5") as file:
        for name, own in means_of().items():
            file[f"small/{name}/mean"] = own
    with read_h5(tmp_path / "attention.h5") as file:
        assert read_means(file, "alone") == {}
        np.testing.assert_allclose(read_means(file, "small")["spec_to_eeg"], means_of()["spec_to_eeg"])
    figure = attention_maps({}, attention_table(), "alone", TIMES)
    rendered(figure)
    assert "alone attends to no other modality" in written(figure)


# Heads


def knockouts_table(heads=2, members=(0, 1), model="small", known=True):
    random, rows = np.random.default_rng(3), []
    single = [(direction, head, member) for direction in DIRECTIONS for member in members for head in range(heads)]
    for direction, head, member in [*single, *((name, "all", "all") for name in (*DIRECTIONS, "both"))]:
        for kind in ("removed", "uniform"):
            change = random.normal()
            row = {"model": model, "direction": direction, "head": head, "member": member, "kind": kind, "samples": 6}
            ends = {"low": change - 0.5, "high": change + 0.5} if known else {"low": NAN, "high": NAN}
            rows.append(row | {"kl_change": change, "logit_change": 0.1} | ends)
    return table_of("knockouts", rows)


def agreement_table(p_values=(0.01, 0.5)):
    rows = [
        {"model": f"m{place}", "samples": 6, "agreement": 0.2, "low": 0.1, "high": 0.3, "shuffled": 0.05, "p_value": p}
        for place, p in enumerate(p_values)
    ]
    return table_of("agreement", rows)


def test_lines_stand_by_direction_and_member():
    lines, members = lines_of(knockouts_table())
    assert members == 2
    assert [line[:3] for line in lines] == [
        *((direction, head, member) for direction in DIRECTIONS for head, member in
          (("0", "0"), ("1", "0"), ("0", "1"), ("1", "1"), ("all", "all"))),
        ("both", "all", "all"),
    ]  # fmt: skip
    places = [line[-1] for line in lines]
    assert min(np.diff(places)) >= 1
    assert len(lines_of(knockouts_table(members=range(5)))[0]) == 2 * (2 * MOST_MEMBERS + 1) + 1


def test_heads_show_entropies_distances_and_losses():
    attention, lost = attention_table(), knockouts_table()
    figure = head_panels(attention, lost, agreement_table(), "small")
    rendered(figure)
    entropies, distances, losses, agreements = (axes for axes in figure.axes if axes.get_xlabel())
    lines = {line[:3]: line[3] for line in lines_of(lost)[0]}
    whiskers = bars(entropies)
    for row in attention.itertuples():
        place = lines[row.direction, str(row.head), str(row.member)]
        assert (row.entropy, place) in points(entropies)
        assert (row.untrained_entropy, place) in points(entropies, "D")
        assert whiskers[place] == pytest.approx((row.entropy_low, row.entropy_high))
        assert (row.distance, place) in points(distances)
    for row in lost.itertuples():
        marker, shift = {"removed": ("o", -0.17), "uniform": ("s", 0.17)}[row.kind]
        place = lines[row.direction, str(row.head), str(row.member)] + shift
        assert (row.kl_change, place) in points(losses, marker)
        assert bars(losses)[place] == pytest.approx((row.low, row.high))
        (point,) = (line for line in losses.get_lines() if line.get_marker() == marker and line.get_ydata()[0] == place)
        clear = BLUE if row.high < 0 else VERMILLION if row.low > 0 else UNCLEAR
        assert to_hex(point.get_color()) == to_hex(clear)
    assert points(agreements) == [(0.2, 0), (0.2, 1)] and points(agreements, "D") == [(0.05, 0), (0.05, 1)]
    colors = [to_hex(line.get_color()) for line in agreements.get_lines() if line.get_marker() == "o"]
    assert colors == [to_hex(PURPLE), to_hex(GRAY)]
    single = lost[(lost["kind"] == "removed") & (lost["head"] != "all")]
    worse, better = (single["low"] > 0).sum(), (single["high"] < 0).sum()
    assert " ".join(figure.get_suptitle().split()).startswith(
        f"small: a clear loss without {worse} of 8 heads, a clear gain without {better} (0.2 each by chance)"
    )
    assert worse and better and worse != better


def test_heads_survive_unknown_intervals_one_window_and_no_attention():
    lost = knockouts_table(known=False)
    figure = head_panels(attention_table().iloc[:0], lost, agreement_table(()), "small")
    rendered(figure)
    assert "single heads: too few patients to tell" in figure.get_suptitle()
    losses = next(axes for axes in figure.axes if "KL" in axes.get_xlabel())
    shown = [line for line in losses.get_lines() if line.get_marker() in "os" and len(line.get_xdata()) == 1]
    assert {to_hex(line.get_color()) for line in shown} == {to_hex(UNCLEAR)} and len(shown) == len(lost)
    assert "not defined" in written(figure) and "single window" in written(figure)
    rendered(head_panels(attention_table(), knockouts_table(members=range(5)), agreement_table((NAN,)), "small"))
    figure = head_panels(attention_table(), lost, agreement_table(), "alone")
    rendered(figure)
    assert "alone has no attention" in written(figure)


# Modalities


def modalities_table(models=("small", "wide"), classes=CLASSES, known=True):
    random, rows = np.random.default_rng(4), []
    for model in models:
        for target in (*classes, "all"):
            for player in (*BRANCHES, "interaction"):
                value = random.normal()
                row = {"model": model, "target": target, "player": player, "samples": 5, "value": value, "size": 1.0}
                row |= {"low": value - 0.5, "high": value + 0.5} if known else {}
                if player != "interaction":
                    row |= {"share": 0.7, "share_low": 0.6, "share_high": 0.8} if known else {"share": 0.7}
                rows.append(row)
    return table_of("modalities", rows)


def test_modalities_show_values_by_class_and_every_predictor():
    table = modalities_table()
    figure = modality_panels(table, ablations_table(), linear_metrics(), "small")
    rendered(figure)
    targets = [*CLASSES, "all"]
    for model in ("small", "wide"):
        axes = titled(figure, f"{model}: ")
        assert [label.get_text() for label in axes.get_yticklabels()] == [*CLASSES, "all classes"]
        for row in table[table["model"] == model].itertuples():
            place = targets.index(row.target) + SHIFTS[row.player]
            assert (row.value, place) in points(axes, {"eeg": "o", "spectrogram": "s", "interaction": "D"}[row.player])
            assert bars(axes)[place] == pytest.approx((row.low, row.high))
    every, above = titled(figure, "Every predictor"), titled(figure, "Above that of small")
    assert [label.get_text() for label in every.get_yticklabels()] == [
        "small", "alone", "logistic (linear)", "class prior (trivial)",
    ]  # fmt: skip
    assert points(every) == [(0.3, 0), (0.4, 1), (0.5, 2), (0.9, 3)]
    assert bars(every) == {0: (0.2, 0.4), 1: (0.3, 0.5), 2: (0.4, 0.6)}
    assert points(above) == [(0.1, 1)] and bars(above)[1] == pytest.approx((0.05, 0.15))
    assert " ".join(figure.get_suptitle().split()) == (
        "EEG has a share of 0.70 [0.60, 0.80] in small's predictions; EEG alone clearly worse"
    )


def test_one_modality_that_does_as_well_is_gray_and_said():
    figure = modality_panels(modalities_table(known=False), ablations_table(0.01, -0.1), {}, "small")
    rendered(figure)
    above = titled(figure, "Above that of small")
    (point,) = (line for line in above.get_lines() if line.get_marker() == "o")
    assert to_hex(point.get_color()) == to_hex(UNCLEAR)
    faces = [line.get_markerfacecolor() for line in titled(figure, "small: ").get_lines() if line.get_marker() in "osD"]
    assert set(faces) == {"white"}
    assert "share of 0.70 in small's predictions; EEG alone not clearly worse" in " ".join(
        figure.get_suptitle().split()
    )


def test_two_classes_many_models_and_ablations_alone_are_drawn():
    rendered(modality_panels(modalities_table("abcd", ("lpd",)), ablations_table(), linear_metrics(), "small"))
    table = ablations_table().iloc[1:].assign(difference=NAN, difference_low=NAN, difference_high=NAN, against="alone")
    figure = modality_panels(modalities_table().iloc[:0], table, linear_metrics(), "alone")
    rendered(figure)
    assert "no network reads both modalities" in written(figure) and "no other network" in written(figure)
    assert " ".join(figure.get_suptitle().split()).startswith(
        "alone comes nearest to the votes, by a KL divergence of 0.40"
    )
    assert len(predictors(table, {})) == 1
