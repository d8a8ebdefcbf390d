"""Figures of the mirna slice's tables show what these hold, and say where little is known."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch

from consilience.domains.mirna.cluster_plots import cluster_panels, shifts_of
from consilience.domains.mirna.colors import (
    SIGNED_COLORS,
    UNSIGNED_COLORS,
    limit,
    outlines,
    scale,
    write_letters,
)
from consilience.domains.mirna.comparisons import outcome_panels, said_of
from consilience.domains.mirna.groups import OUTCOMES, outcome_rows
from consilience.domains.mirna.plots import agreement_matrix, matrix_of, ordered_methods, position_profiles
from consilience.domains.mirna.positions import NUCLEOTIDE_FALLS
from consilience.figures.style import new_figure
from tests.unit.figure_examples import everything, rendered
from tests.unit.mirna_figure_examples import BRANCHES, cluster_tables, example_shown

pytestmark = pytest.mark.filterwarnings("error")

# Colors, letters, outlines


def test_scales_are_symmetric_where_there_is_a_sign_and_start_at_zero_elsewhere():
    values = np.array([[0.0, -4.0], [1.0, 2.0]])
    signed, sizes = scale(values, True), scale(np.abs(values), False)
    assert signed["vmin"] == -signed["vmax"] == -limit(values)
    assert signed["cmap"] is SIGNED_COLORS
    assert (sizes["vmin"], sizes["cmap"]) == (0, UNSIGNED_COLORS)
    few = np.zeros((20, 20))
    few[0, 0] = -3
    assert limit(few) == 3
    assert limit(np.zeros((4, 4))) == 1
    assert limit(np.full((2, 2), np.nan)) == 1


def test_letters_stand_in_their_cells_upright():
    for ends in ((0, 10), (10, 0)):
        axes = new_figure(2, 2).subplots()
        axes.set(xlim=(0, 10), ylim=ends)
        write_letters(axes, [("GAT", 2.0, 5.0)], 1.0, 1.0)
        boxes = [patch.get_path().get_extents() for patch in axes.patches]
        assert len(boxes) == 3
        assert sorted(round((box.x0 + box.x1) / 2, 6) for box in boxes) == [2.0, 3.0, 4.0]
        assert all(abs((box.y0 + box.y1) / 2 - 5) < 1e-6 for box in boxes)
        # A T is wide on top, wherever the axes have that.
        (letter,) = (patch for patch in axes.patches if abs(patch.get_path().get_extents().x0 - 3.6) < 0.3)
        vertices = letter.get_path().vertices
        top = vertices[:, 1].max() if ends[0] == 0 else vertices[:, 1].min()
        assert np.ptp(vertices[vertices[:, 1] == top, 0]) > 0.5


def test_outlines_surround_what_is_true():
    mask = np.zeros((4, 5), bool)
    mask[1, 1:3] = mask[3, 4] = True
    found = {frozenset(map(tuple, edge.tolist())) for edge in outlines(mask)}
    assert len(found) == len(outlines(mask)) == 6 + 4
    assert frozenset({(0.5, 0.5), (1.5, 0.5)}) in found
    assert frozenset({(4.5, 2.5), (4.5, 3.5)}) in found
    assert not len(outlines(np.zeros((2, 2), bool)))


# Tables


def positions_and_enrichment(models=("small", "wide"), methods=("mutagenesis", NUCLEOTIDE_FALLS)):
    random, profiles, ratios = np.random.default_rng(4), [], []
    for model in models:
        for method in methods:
            for branch, places, region in (
                ("mirna", range(1, 23), "nucleotides 2-8"),
                ("site", range(-9, 18), "planted match"),
            ):
                for label in ("pair", "no pair"):
                    facts = {"model": model, "method": method, "branch": branch, "label": label}
                    for place in places:
                        value = random.normal()
                        more = {"position": place, "value": value, "low": value - 1, "high": value + 1, "samples": 7}
                        profiles.append(facts | more)
                    more = {"share": 0.5, "expected": 0.25, "ratio": 2.0, "low": 1.5, "high": 2.5, "samples": 7}
                    ratios.append(facts | {"region": region, "p_value": 0.01 if branch == "site" else 0.5} | more)
    return pd.DataFrame(profiles), pd.DataFrame(ratios)


def test_profiles_and_ratios_are_those_of_the_tables():
    profiles, ratios = positions_and_enrichment()
    figure = position_profiles(profiles, ratios, "small", "mutagenesis")
    rendered(figure)
    assert len(figure.axes) == 6
    own = profiles[(profiles["model"] == "small") & (profiles["method"] == "mutagenesis")]
    for axes, branch in zip(figure.axes[2:4], BRANCHES, strict=True):
        for label in ("pair", "no pair"):
            (line,) = (line for line in axes.get_lines() if str(line.get_label()).startswith(f"{label} (n = 7)"))
            rows = own[(own["branch"] == branch) & (own["label"] == label)]
            np.testing.assert_allclose(line.get_data(), [rows["position"], rows["value"]])
    seed, match = (axes.patches[0].get_extents().transformed(axes.transData.inverted()) for axes in figure.axes[:2])
    assert (round(seed.x0, 6), round(seed.x1, 6)) == (1.5, 8.5)
    assert (round(match.x0, 6), round(match.x1, 6)) == (0.5, 7.5)
    names = [label.get_text() for label in figure.axes[1].get_xticklabels()]
    assert names[:7] == list("8765432")
    assert {"\u22125", "+5", "+10"} <= set(names)
    short = ratios.replace("planted match", "6-mer seed match")
    axes = position_profiles(profiles, short, "small", "mutagenesis").axes[1]
    match = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (round(match.x0, 6), round(match.x1, 6)) == (1.5, 7.5)  # opposite nucleotides 7 to 2
    assert [label.get_text() for label in axes.get_xticklabels()][:7] == list("8765432")
    for axes, filled in ((figure.axes[4], False), (figure.axes[5], True)):
        dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
        assert len(dots) == 2 * 2
        assert all(dot.get_xdata() == 2.0 for dot in dots)
        assert all((dot.get_markerfacecolor() != "white") == filled for dot in dots)
        assert any(line.get_linestyle() == "--" and set(line.get_xdata()) == {1} for line in axes.get_lines())


def test_profiles_say_where_no_site_has_a_match():
    profiles, ratios = positions_and_enrichment(models=("small",))
    kept = [frame[frame["branch"] == "mirna"].assign(low=np.nan, high=np.nan) for frame in (profiles, ratios)]
    figure = position_profiles(*kept, "small", "mutagenesis")
    rendered(figure)
    assert everything(figure).count("no pair with a match") == 2
    rendered(position_profiles(*(frame.iloc[:0] for frame in kept), "small", "mutagenesis"))


def agreement_table(names=("saliency", "mutagenesis", "deeplift"), models=("small", "wide")):
    values = {("saliency", "mutagenesis"): 0.1, ("saliency", "deeplift"): -0.2, ("mutagenesis", "deeplift"): 0.5}
    rows = [
        (
            model,
            *pair,
            metric,
            "saliency" not in pair,
            value + 0.1 * place + (metric == "pearson"),
            0.0,
            0.6,
            0.05 * place,
            12,
        )
        for place, model in enumerate(models)
        for metric in ("pearson", "spearman")
        for pair, value in values.items()
        if set(pair) <= set(names)
    ]
    return pd.DataFrame(
        rows, columns=["model", "method", "other", "metric", "signed", "value", "low", "high", "chance", "samples"]
    )


def test_mutagenesis_comes_first_and_sizes_are_slanted():
    table = agreement_table()
    rows = table[table["metric"] == "spearman"]
    assert ordered_methods(rows) == ["mutagenesis", "deeplift", "saliency"]
    values, signed = matrix_of(rows, ordered_methods(rows))
    np.testing.assert_allclose(values, [[np.nan, 0.55, 0.15], [0.55, np.nan, -0.15], [0.15, -0.15, np.nan]])
    assert signed[0, 1]
    assert not signed[0, 2]
    figure = agreement_matrix(table)
    rendered(figure)
    cells = {tuple(text.get_position()): text for text in figure.axes[0].texts}
    assert cells[1, 0].get_text() == "0.55"
    assert cells[2, 1].get_text() == "\u22120.15"
    assert (cells[1, 0].get_fontstyle(), cells[2, 0].get_fontstyle()) == ("normal", "italic")
    dots = [line.get_xdata() for line in figure.axes[1].get_lines() if line.get_marker() == "o"]
    assert sorted(float(np.squeeze(value)) for value in dots) == pytest.approx([0.1, 0.2, 0.5, 0.6])
    ticks = [float(np.squeeze(line.get_xdata())) for line in figure.axes[1].get_lines() if line.get_marker() == "|"]
    assert sorted(ticks) == pytest.approx([0, 0, 0.05, 0.05])
    assert "12 test pairs and 2 models" in " ".join(figure.get_supxlabel().split())


def test_without_mutagenesis_another_is_first_and_one_method_is_said():
    table = agreement_table(("saliency", "deeplift"))
    assert ordered_methods(table[table["metric"] == "spearman"]) == ["saliency", "deeplift"]
    rendered(agreement_matrix(table))
    figure = agreement_matrix(table.iloc[:0])
    assert "One method" in figure.get_supxlabel()


# Clusters and outcomes


def test_clusters_are_written_below_their_motifs_and_colored_in_the_image():
    shown = example_shown()
    table, stability = cluster_tables(shown)
    figure = cluster_panels(table, stability, "small", "mutagenesis", 3, 6)
    rendered(figure)
    assert len(figure.axes) == 4
    for line, branch in enumerate(BRANCHES):
        own = table[table["branch"] == branch]
        letters = sum(
            (len(patch.get_path().codes) > 0) for patch in figure.axes[2 * line].patches if isinstance(patch, PathPatch)
        )
        assert letters >= 2  # a patch a letter of the alphabet
        image = figure.axes[2 * line + 1].images[0].get_array()
        placed = own[own["kind"] == "image"]
        colored = (np.asarray(image) < 1).any(axis=-1)
        assert {tuple(place) for place in np.argwhere(colored)} == set(
            zip(placed["row"], placed["column"], strict=True)
        )
        title = " ".join(figure.axes[2 * line].get_title(loc="left").split())
        assert title.endswith("silhouette 0.25, stability 0.75 [0.50, undefined] chance 0.12, up to 0.90")


@pytest.mark.parametrize("chance", [0.5, np.nan])
def test_clusters_no_firmer_than_unrelated_ones_are_said(chance):
    figure = cluster_panels(*cluster_tables(example_shown(), chance=chance), "small", "mutagenesis", 3, 6)
    rendered(figure)
    titles = [" ".join(axes.get_title(loc="left").split()) for axes in figure.axes]
    assert all(title.endswith("not clearly more than unrelated ones") for title in titles)


def test_many_clusters_and_many_k_mers_are_said():
    table, stability = cluster_tables(example_shown())
    single = table.assign(cluster=table.groupby(["branch", "kind"]).cumcount() + 1)
    figure = cluster_panels(single, stability, "small", "mutagenesis", 3, 6)
    rendered(figure)
    count = (single["kind"] == "sequence").sum() // 2
    assert f"{count - 6} further clusters in clusters.tsv" in everything(figure)
    repeated = pd.concat([table[table["kind"] == "sequence"].assign(cluster=1)] * 3)
    figure = cluster_panels(repeated, stability, "small", "mutagenesis", 3, 6)
    rendered(figure)
    assert any(text.startswith("+ ") and text.endswith(" more") for text in everything(figure))


def test_k_mers_are_shifted_as_they_fit():
    assert shifts_of(["ACGTA", "CGTAC", "TACGT", "ACGTA"]) == [0, 1, -1, 0]


def test_clusters_of_nothing_are_said():
    table, stability = cluster_tables(example_shown())
    figure = cluster_panels(table.iloc[:0], stability.iloc[:0], "small", "mutagenesis", 3, 6)
    rendered(figure)
    assert everything(figure).count("no k-mer has any attribution") == 4


def outcome_tables(shown, q_values=(0.01, 0.5)):
    branches = np.repeat(BRANCHES, 4**shown.k)
    rows = []
    for method, images in shown.maps.items():
        flat = np.concatenate([images[branch].reshape(len(shown.table), -1) for branch in BRANCHES], axis=1)
        rows += [{"model": "small"} | row for row in outcome_rows(flat, method, branches, shown.table["outcome"])]
    columns = ["model", "method", "comparison", "feature", "difference", "t", "p_value", "q_value", "families"]
    compared = [
        ("small", "mutagenesis", "positive less negative", f"site:ACG{number}", 0.5 - number, 1.0, 0.01 * number, q, 6)
        for number, q in enumerate(q_values)
    ]
    compared[-1] = (*compared[-1][:-1], 9)
    return pd.DataFrame(rows), pd.DataFrame(compared, columns=columns)


def test_outcomes_show_pairs_means_shares_and_differences():
    shown = example_shown()
    table, comparison = outcome_tables(shown)
    figure = outcome_panels(table, comparison, shown)
    rendered(figure)
    summed, shares, differences, untested = figure.axes
    here = [name for name in OUTCOMES if name in set(shown.table["outcome"])]
    means = {(len(line.get_xdata()), *line.get_ydata()) for line in summed.get_lines() if line.get_linewidth() == 2.2}
    primary = table[table["method"] == "mutagenesis"]
    assert means == {(2, value, value) for value in primary["mean_attribution"]}
    points = np.concatenate([line.get_ydata() for line in summed.get_lines() if line.get_marker() == "o"])
    sums = [shown.maps["mutagenesis"][branch].sum(axis=(1, 2)) for branch in BRANCHES]
    np.testing.assert_allclose(np.sort(points), np.sort(np.concatenate(sums)), rtol=1e-5)
    drawn = np.concatenate([line.get_xdata() for line in shares.get_lines() if line.get_marker() == "o"])
    np.testing.assert_allclose(np.sort(drawn), np.sort(table.loc[table["branch"] == "mirna", "share"]))
    assert [bar.get_width() for bar in differences.patches] == [0.5, -0.5]
    assert len({to_hex(bar.get_facecolor()) for bar in differences.patches}) == 2
    assert {"q = 0.01", "q = 0.5"} <= set(everything(figure))
    assert "not tested" in untested.texts[0].get_text()
    assert "6 to 9 families" in differences.get_xlabel()
    assert all(any(text.startswith(name.replace(" ", "\n")) for text in everything(figure)) for name in here)
    assert said_of(comparison) == "1 k-mer significant."
    assert said_of(outcome_tables(shown, (0.9, 0.9))[1]) == "No k-mer is significant."
    assert "Nothing is tested" in said_of(comparison.iloc[:0])
