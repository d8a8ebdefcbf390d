"""Figures of the mirna slice show what tables and files hold, miss nothing where little is known, and come out alike."""

import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread
from matplotlib.patches import PathPatch

from consilience.attribution.names import signed_methods
from consilience.attribution.store import Attributions, write
from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.mirna import pair_images
from consilience.domains.mirna.cluster_plots import cluster_panels, shifts_of
from consilience.domains.mirna.clusters import cluster_rows, clustered
from consilience.domains.mirna.colors import (
    SIGNED_COLORS,
    UNSIGNED,
    UNSIGNED_COLORS,
    limit,
    outlines,
    scale,
    write_letters,
)
from consilience.domains.mirna.comparisons import outcome_panels, said_of
from consilience.domains.mirna.draw import first_filters, pages, read_maps
from consilience.domains.mirna.export import export
from consilience.domains.mirna.fcgr import frequencies, kmers
from consilience.domains.mirna.groups import OUTCOMES, outcome_rows, outcomes
from consilience.domains.mirna.images import average_attribution, channels, kmer_maps, mask_of
from consilience.domains.mirna.interaction_plots import AROUND, example, interaction_panels, mean_around
from consilience.domains.mirna.pair_images import Board, map_tiles, pair_clusters, write_pairs
from consilience.domains.mirna.plots import agreement_matrix, matrix_of, ordered_methods, position_profiles
from consilience.domains.mirna.positions import NUCLEOTIDE_FALLS
from consilience.domains.mirna.sequences import encode, reverse_complement
from consilience.domains.mirna.sheets import Duplex, in_windows, sheet, top_kmers, write_sheets
from consilience.domains.mirna.shown import Shown, read_shown
from consilience.domains.mirna.tables import COLUMNS
from consilience.figures.style import NEGATIVE, POSITIVE, new_figure
from consilience.files import save_figure, write_h5, write_strings, write_tensors
from tests.unit.figure_examples import everything, rendered

BRANCHES = ("mirna", "site")
MIRNA = "TGAGGTAGTAGGTTGTATAGTT"
MATCH = reverse_complement(MIRNA[1:8])
SIGNED = {"mutagenesis": True, "saliency": False, "grad_cam": False}


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def example_shown(k=3, signed=SIGNED, pairs=6, primary="mutagenesis"):
    """Pairs of one miRNA; every other site holds its match at 11. Attributions lie on the k-mers that are there."""
    random = np.random.default_rng(1)
    sites = ["".join(random.choice(list("ACGT"), 30)) for _ in range(pairs)]
    sites = [site[:10] + MATCH + site[17:] if number % 2 == 0 else site for number, site in enumerate(sites)]
    table = pd.DataFrame({"id": [f"pair-{number:05d}" for number in range(pairs)], "mirna": MIRNA, "site": sites})
    labels = (np.arange(pairs) + 1) % 2
    predicted = np.linspace(0.9, 0.2, pairs)
    table = table.assign(
        label=labels,
        predicted=predicted,
        outcome=outcomes(labels, predicted),
        planted_position=np.where(labels == 1, 11, -1),
    )
    images = {branch: frequencies(encode(list(table[branch])), k) for branch in BRANCHES}
    maps = {
        name: {branch: _attributions(random, own, sign) for branch, own in images.items()}
        for name, sign in signed.items()
    }
    return Shown("small", primary, signed, table, images, maps)


def _attributions(random, images, signed):
    values = random.normal(size=images.shape) * (images > 0)
    return (values if signed else np.abs(values)).astype(np.float32)


def example_maps(shown, complementary=True):
    """Interactions of every pair, 3 windows of 5 along the match complementary in those that have one."""
    random, found = np.random.default_rng(2), {}
    for name, label in zip(shown.table["id"], shown.table["label"], strict=True):
        here = np.zeros((18, 26), bool)
        if label and complementary:
            here[[1, 2, 3], [12, 11, 10]] = True
        found[name] = random.normal(size=here.shape) + 3 * here, here
    return found


def interactions_table(shown, maps, parallel=0.03):
    rows = []
    for name, (values, here) in maps.items():
        outcome = shown.table["outcome"].iloc[shown.row(name)]
        row = {"model": "small", "sample": name, "outcome": outcome, "complementary": int(here.sum())}
        inside = {"at_complementary": values[here].mean(), "p_value": 0.01} if here.any() else {}
        rows.append(row | {"elsewhere": values[~here].mean(), "at_parallel": 0.25} | inside)
    tested = [row for row in rows if row["complementary"]]
    if tested:
        mean = np.mean([row["at_complementary"] for row in tested])
        more = {
            "complementary": len(tested),
            "at_complementary": mean,
            "elsewhere": 0.0,
            "p_value": 0.002,
            "parallel_p_value": parallel,
        }
        rows.append({"model": "small", "sample": "all", "outcome": "", **more})
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS["interactions"]))


def falls_of(shown):
    random = np.random.default_rng(3)
    return {branch: random.normal(size=(len(shown.table), shown.table[branch].str.len().max())) for branch in BRANCHES}


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


# Interactions


def test_interactions_show_maps_windows_and_the_test():
    shown = example_shown()
    maps = example_maps(shown)
    table = interactions_table(shown, maps)
    figure = interaction_panels(maps, table, ["pair-00000"], 5)
    rendered(figure)
    title = " ".join(figure.get_suptitle().split())
    assert title.startswith("Complementary windows (3 pairs) interact more than others (p = 0.002) and more than")
    assert "on parallel strands (p = 0.03)" in title
    hollow = [line for axes in figure.axes for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
    assert [float(np.squeeze(line.get_ydata())) for line in hollow] == [0.25] * 6
    values, count = mean_around(maps)
    assert count == 3
    assert values.shape == (2 * AROUND + 1,) * 2
    np.testing.assert_allclose(
        values[AROUND, AROUND], np.mean([own[here].mean() for own, here in maps.values() if here.any()])
    )
    panels = [axes for axes in figure.axes if axes.images]
    np.testing.assert_allclose(panels[0].images[0].get_array(), values)
    np.testing.assert_allclose(panels[1].images[0].get_array(), maps["pair-00000"][0])
    assert panels[1].images[0].norm.vmin == -panels[1].images[0].norm.vmax
    edges = np.array(panels[1].collections[0].get_segments())
    assert edges[..., 0].min() == 10.5  # windows are counted from 1
    assert edges[..., 1].min() == 1.5
    assert {"pair-00000\np = 0.01", "pair-00001"} <= set(everything(figure))


def test_interactions_without_complementary_windows_are_drawn_and_said():
    shown = example_shown()
    maps = example_maps(shown, complementary=False)
    table = interactions_table(shown, maps)
    assert mean_around(maps) == (None, 0)
    figure = interaction_panels(maps, table, ["pair-00003"], 5)
    rendered(figure)
    assert "nothing is tested" in figure.get_suptitle()
    assert "no pair has\ncomplementary windows" in everything(figure)
    assert example(maps, table, ["pair-00003"]) == "pair-00003"


def test_the_pair_that_is_drawn_has_complementary_windows_and_a_sheet_if_any_has():
    shown = example_shown()
    maps = example_maps(shown)
    table = interactions_table(shown, maps)
    assert example(maps, table, ["pair-00001", "pair-00004"]) == "pair-00004"
    assert example(maps, table, ["pair-00001"]) == "pair-00000"


# Clusters and outcomes


def cluster_tables(shown, clusters=2, chance=0.125):
    rows, stabilities, names = [], [], kmers(shown.k)
    for branch in BRANCHES:
        values = shown.maps["mutagenesis"][branch].reshape(len(shown.table), -1)
        sizes = np.abs(values).mean(axis=0)
        for kind in ("sequence", "image"):
            found = clustered(sizes, names, kind, 12, clusters)
            facts = {"model": "small", "branch": branch}
            rows += [facts | row for row in cluster_rows(sizes, values.mean(axis=0), names, kind, found)]
            more = {"kind": kind, "silhouette": 0.25, "stability": 0.75, "low": 0.5, "high": np.nan, "chance": chance}
            more |= {"chance_high": 0.9}
            stabilities.append(facts | more)
    return pd.DataFrame(rows), pd.DataFrame(stabilities)


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


# Images of k-mers


def drivers_of(k):
    names = [f"{branch}:{name}" for branch in BRANCHES for name in kmers(k).ravel()]
    table = pd.DataFrame({"feature": names, "average_attribution": np.linspace(-1, 1, len(names))})
    table["direction"] = np.where(table["average_attribution"] > 0, "positive", "negative")
    return table, table.iloc[[3, 70, 100]]


def test_kmer_maps_show_means_drivers_and_what_was_planted():
    shown = example_shown()
    drivers, top = drivers_of(3)
    truth = pd.DataFrame({"feature": ["site:ACG", "mirna:GAG"]})
    figure = kmer_maps(shown, drivers, top, truth)
    rendered(figure)
    panels = figure.axes
    for line, branch in enumerate(BRANCHES):
        own, labels = panels[4 * line : 4 * line + 4], shown.table["label"]
        arrays = [axes.images[0].get_array() for axes in own]
        np.testing.assert_allclose(arrays[0], shown.frequencies[branch].mean(axis=0))
        for place, label in ((1, 1), (2, 0)):
            expected = shown.maps["mutagenesis"][branch][labels == label].mean(axis=0)
            np.testing.assert_allclose(arrays[place], expected)
        values = drivers["average_attribution"].to_numpy()[line * 64 : line * 64 + 64].reshape(8, 8)
        np.testing.assert_allclose(arrays[3], values)
        assert own[1].images[0].norm.vmax == own[2].images[0].norm.vmax == -own[1].images[0].norm.vmin
        assert [len(axes.collections) for axes in own] == [0, 1, 1, 1]
        edges = np.array(own[3].collections[0].get_segments())
        (row,), (column,) = np.nonzero(mask_of(list(truth["feature"]), branch, 3))
        assert (edges.mean(axis=(0, 1)) == (column, row)).all()
        marked = [(x, y) for mark in own[3].get_lines() for x, y in zip(*mark.get_data(), strict=True)]
        places = [int(place) % 64 for place in top.index if place // 64 == line]
        assert sorted(marked) == sorted((place % 8, place // 8) for place in places)
    assert [text.get_text() for text in panels[0].texts] == ["A", "C", "G", "T"]
    corners = {text.get_text(): text.get_position() for text in panels[0].texts}
    assert corners["A"][0] < 0.5 < corners["C"][0]
    assert corners["A"][1] > 0.5 > corners["T"][1]
    assert "planted" in everything(figure)


def test_kmer_maps_need_neither_truth_nor_drivers_nor_both_labels_nor_a_sign():
    shown = example_shown(primary="saliency", pairs=1)
    drivers, top = drivers_of(3)
    figure = kmer_maps(shown, drivers, top.iloc[:0], None)
    rendered(figure)
    texts = everything(figure)
    assert texts.count("no such test pair") == 2
    assert "planted" not in texts
    assert "size, no sign" in texts


@pytest.mark.parametrize("signed", [True, False])
def test_averages_are_drawn_and_their_largest_named(signed):
    values = {branch: np.random.default_rng(5).normal(size=(8, 8)) for branch in BRANCHES}
    values = values if signed else {branch: np.abs(own) for branch, own in values.items()}
    figure = average_attribution("smooth_method", values, signed, "small", "80 explained pairs (test)")
    rendered(figure)
    for axes, branch in zip(figure.axes, BRANCHES, strict=True):
        image = axes.images[0]
        np.testing.assert_allclose(image.get_array(), values[branch])
        assert image.norm.vmin == (-image.norm.vmax if signed else 0)
        listed = axes.texts[-1].get_text().splitlines()
        largest = kmers(3).ravel()[np.argsort(-np.abs(values[branch]).ravel())[:8]]
        assert [line.split()[0] for line in listed] == list(largest)
    assert ("no sign" in figure.get_suptitle()) != signed
    assert "80 explained pairs (test)" in figure.get_supxlabel()
    rendered(average_attribution("zero", {branch: np.zeros((8, 8)) for branch in BRANCHES}, signed, "small", "1"))


@pytest.mark.parametrize(("count", "drawn"), [(2, 2), (16, 16), (32, 16)])
def test_channels_are_drawn_up_to_sixteen(count, drawn):
    images = np.random.default_rng(6).normal(size=(count, 3, 3))
    images[0] = 0
    figure = channels(images, "filters", "of a layer")
    rendered(figure)
    (axes,) = figure.axes
    assert len(axes.images) == len(axes.texts) == drawn
    assert all(image.get_cmap().name == "viridis" for image in axes.images)
    np.testing.assert_allclose(axes.images[1].get_array(), images[1])


# Sheets


def test_sequences_are_laid_on_the_planted_match_or_where_most_pairs():
    site = "C" * 10 + MATCH + "C" * 13
    for planted in (11, -1):
        duplex = Duplex.of(MIRNA, site, planted)
        assert duplex.matched
        bonds = duplex.bonds()
        assert {i for i, value in bonds.items() if value == 1} >= set(range(1, 8))
        assert duplex.first - 1 == 16  # nucleotide 2 below the match's last
    apart = Duplex.of(MIRNA, "G" * 30)
    assert not apart.matched
    assert all(value in (0.5, 1) for value in apart.bonds().values())
    short = Duplex.of("ACG", "ACG")
    assert short.bonds() == {i: value for i, value in short.bonds().items() if value}


def test_nucleotides_in_complementary_windows_are_marked():
    windows = np.zeros((18, 26), bool)
    windows[[1, 2], [12, 11]] = True
    found = in_windows(windows, 5)
    assert found["mirna"].tolist() == list(range(1, 7))
    assert found["site"].tolist() == list(range(11, 17))
    assert [len(own) for own in in_windows(None, 5).values()] == [0, 0]


def test_a_sheet_names_pair_k_mers_and_every_method():
    shown = example_shown()
    falls = falls_of(shown)
    figure = sheet(shown, 2, {branch: own[2] for branch, own in falls.items()}, example_maps(shown)["pair-00002"][1], 5)
    rendered(figure)
    texts = everything(figure)
    assert any(text.startswith("pair-00002: pair, probability of a pair 0.62 (true positive)") for text in texts)
    for branch in BRANCHES:
        rows = top_kmers(shown, branch, 2)
        assert "\n".join(name for name, _, _ in rows) in texts
        values = shown.maps["mutagenesis"][branch][2]
        assert abs(rows[0][1]) == np.abs(values).max()
        sequence = shown.table[branch].iloc[2]
        for name, _, places in rows:
            assert places
            assert all(sequence[place - 1 : place + 2] == name for place in places)
    heights = [[bar.get_height() for bar in axes.containers[0]] for axes in figure.axes if axes.containers]
    np.testing.assert_allclose(heights[0], falls["site"][2])
    np.testing.assert_allclose(heights[2], falls["mirna"][2])
    np.testing.assert_allclose(sum(heights[3]), shown.maps["mutagenesis"]["mirna"][2].sum(), rtol=1e-5)
    assert {"frequencies", "mutagenesis", "saliency", "grad cam"} <= set(texts)


@pytest.mark.parametrize("k", [3, 6])
def test_sheets_are_a_page_each_and_the_same_bytes(tmp_path, k):
    shown = example_shown(k)
    maps = {
        "samples": list(shown.table["id"]),
        "chosen": list(shown.table["id"][:3]),
        "falls": falls_of(shown),
        "interactions": {"pair-00000": example_maps(shown)["pair-00000"]},
    }
    for name in ("a.pdf", "b.pdf"):
        write_sheets(tmp_path / name, pages(shown, maps, 5))
    content = (tmp_path / "a.pdf").read_bytes()
    assert content == (tmp_path / "b.pdf").read_bytes()
    assert b"/Count 3" in content
    assert b"CreationDate" not in content
    write_sheets(tmp_path / "none.pdf", [])
    assert b"/Count 1" in (tmp_path / "none.pdf").read_bytes()


# The folder of single pairs


def names_in(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("signed", [SIGNED, {"mutagenesis": True}])
def test_the_folder_holds_the_earlier_systems_set(tmp_path, signed):
    shown = example_shown(signed=signed)
    maps, chosen = example_maps(shown), ["pair-00000", "pair-00003"]
    maps.pop("pair-00003")
    for folder in ("a", "b"):
        count = write_pairs(tmp_path / folder, shown, chosen, maps, 5, 3)
    expected = {"sample_pair-00000_interaction_heatmap.png"}
    for sample in chosen:
        kinds = [*signed, "comparison", "clusters"]
        expected |= {f"sample_{sample}_{branch}_{kind}.png" for branch in BRANCHES for kind in kinds}
        expected |= {f"sample_{sample}_gradcam.png"} if "grad_cam" in signed else set()
    assert names_in(tmp_path / "a") == expected
    assert count == len(expected)
    for name in expected:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_images_hold_the_tiles_pixel_by_pixel(tmp_path):
    shown = example_shown(signed={"mutagenesis": True})
    write_pairs(tmp_path, shown, ["pair-00001"], {}, 5, 3)
    image = imread(tmp_path / "sample_pair-00001_site_mutagenesis.png")
    tiles, most = map_tiles(shown.frequencies["site"][1], shown.maps["mutagenesis"]["site"][1], True)
    board = Board(1, 3)
    for number, tile in enumerate(tiles):
        top, left = board.place(number)
        part = image[top : top + pair_images.TILE, left : left + pair_images.TILE, :3]
        np.testing.assert_allclose(part[36::72, 36::72], np.rint(255 * tile) / 255, atol=1e-6)
        np.testing.assert_array_equal(part[:72, :72], np.broadcast_to(part[0, 0], (72, 72, 3)))
    assert most == np.abs(shown.maps["mutagenesis"]["site"][1]).max()
    assert (image[: pair_images.HEAD, :, :3] < 0.5).any()  # the title


def test_maps_are_red_and_blue_around_zero_or_sizes():
    values = np.array([[2.0, -2.0], [0.0, 1.0]])
    (_, signed, both), most = map_tiles(np.eye(2), values, True)
    assert most == 2
    reds = pair_images.RED_BLUE
    np.testing.assert_allclose(signed[0, 0], reds(1.0)[:3])
    np.testing.assert_allclose(signed[0, 1], reds(0.0)[:3])
    np.testing.assert_allclose(signed[1, 0], reds(0.5)[:3])
    np.testing.assert_allclose(both[1, 0], 1)  # neither k-mer nor attribution
    (_, sizes, _), _ = map_tiles(np.eye(2), np.abs(values), False)
    np.testing.assert_allclose(sizes[0, 0], sizes[0, 1])
    assert map_tiles(np.zeros((2, 2)), np.zeros((2, 2)), True)[1] == 1


def test_a_board_leaves_white_where_there_are_fewer_tiles():
    board = Board(2, 2)
    tiles = [np.full((8, 8, 3), 0.5)] * 3
    image = board.fill("title", tiles, ["a", "b", "c"])
    top, left = board.place(3)
    assert (image[top - 10 : top + 500, left - 40 : left + 620] == 255).all()
    again = board.fill("title", [*tiles, tiles[0]], ["a", "b", "c", "d"])
    assert (again[top + 100, left + 100, :3] == 128).all()


def test_clusters_of_a_pair_are_those_of_its_own_k_mers():
    shown = example_shown()
    figure = pair_clusters(shown, 0, "site", 2)
    rendered(figure)
    texts = everything(figure)
    values = np.abs(shown.maps["mutagenesis"]["site"][0])
    chosen = values >= np.percentile(values[values > 0], 75)
    assert f"{chosen.sum()} k-mers,\n|a| in the upper quarter\nof those that are not 0" in texts
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(np.ptp(image, axis=-1) > 0.05, chosen)
    crosses = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert len(crosses) == 2
    assert {cross.get_color() for cross in crosses} == {"red"}


@pytest.mark.parametrize("kept", [0, 1, 5, 9])
def test_too_few_k_mers_for_clusters_are_said(kept):
    shown = example_shown()
    values = shown.maps["mutagenesis"]["site"][0]
    values[:] = 0
    values.ravel()[:kept] = 1
    figure = pair_clusters(shown, 0, "site", 5)
    rendered(figure)
    assert f"{kept} k-mers only:\ntoo few for 5 clusters" in everything(figure)
    assert not [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]


# Reading


def attribution_file(path, method, shown, dataset_samples, signed):
    features = pd.DataFrame({"name": drivers_of(3)[0]["feature"], "branch": np.repeat(BRANCHES, 64)})
    members = pd.DataFrame({"member": range(3), "seed": range(3), "rows": "all", "permuted": [0, 1, 0]})
    random = np.random.default_rng(7)
    names = ("magnitude", "direction", "average_attribution", "mean_attribution")
    statistics = {name: random.normal(size=(3, 1, 128)).astype(np.float32) for name in names}
    maps = {branch: random.normal(size=(3, 1, 2, 8, 8)).astype(np.float32) for branch in BRANCHES}
    showcase = {"samples": dataset_samples[[3, 1]].tolist(), **maps}
    found = Attributions(
        "small", method, "", features, ["pair"], members, statistics, None, None, None, ["a", "b", "c"], showcase,
        ["test"], "classification", False,
    )  # fmt: skip
    write(path, found)
    return found


@pytest.fixture
def study(tmp_path):
    """A dataset of six pairs and the attribution files of two methods."""
    shown = example_shown()
    samples = shown.table[["id", *BRANCHES, "planted_position"]]
    facts = {"unit": "", "source": "", "source_sha256": ""}
    with write_dataset(tmp_path / "d.h5", "classification", "pair", classes=["no pair", "pair"], **facts) as writer:
        writer.features(pd.DataFrame({"name": drivers_of(3)[0]["feature"], "branch": np.repeat(BRANCHES, 64)}))
        writer.target(shown.table["label"].to_numpy())
        writer.samples(samples)
        for place, branch in enumerate(BRANCHES):
            writer.branch(branch, place * 64 + np.arange(64).reshape(8, 8), 6, "scalar", reduce="mean")
            writer.append(branch, shown.frequencies[branch])
    names = samples["id"].to_numpy()
    paths = {name: tmp_path / f"{name}.h5" for name in ("mutagenesis", "saliency")}
    files = {name: attribution_file(path, name, shown, names, SIGNED[name]) for name, path in paths.items()}
    rows = [(name, target, 0.3 if target == "no pair" else 0.7) for name in names for target in ("no pair", "pair")]
    return tmp_path / "d.h5", paths, files, pd.DataFrame(rows, columns=["sample", "target", "predicted"])


def test_what_is_shown_is_read_in_order_of_the_files(study):
    path, paths, files, predictions = study
    with Dataset.open(path) as dataset:
        shown, means, explained = read_shown(
            dataset, paths, {"mutagenesis": True, "saliency": False}, "mutagenesis", predictions
        )
        frequency = dataset.inputs("site", np.array([3, 1]))
    assert list(shown.table["id"]) == ["pair-00003", "pair-00001"]
    assert list(shown.table["outcome"]) == ["false positive"] * 2
    np.testing.assert_array_equal(shown.frequencies["site"], frequency)
    kept = [0, 2]  # members on real labels
    own = files["mutagenesis"].showcase["site"][kept, 0].mean(axis=0)
    np.testing.assert_allclose(shown.maps["mutagenesis"]["site"], own)
    own = files["saliency"].showcase["site"][kept, 0].mean(axis=0)
    np.testing.assert_allclose(shown.maps["saliency"]["site"], np.abs(own))
    own = files["mutagenesis"].all["mean_attribution"][kept, 0].mean(axis=0)
    np.testing.assert_allclose(means["mutagenesis"]["site"], own[64:].reshape(8, 8))
    own = files["saliency"].all["magnitude"][kept, 0].mean(axis=0)
    np.testing.assert_allclose(means["saliency"]["mirna"], own[:64].reshape(8, 8))
    assert explained == "3 explained pairs (test)"
    assert shown.k == 3
    assert shown.row("pair-00001") == 1
    total = shown.nucleotides("mutagenesis", "site", 1).sum()
    np.testing.assert_allclose(total, shown.maps["mutagenesis"]["site"][1][frequency[1] > 0].sum(), rtol=1e-5)


def test_arrays_are_exported_a_file_a_pair_method_and_branch(study, tmp_path):
    _, paths, files, _ = study
    assert export(tmp_path / "numpy", paths.values()) == 2 * 2 * 2
    assert names_in(tmp_path / "numpy") == {
        f"sample_{sample}_{method}_{branch}.npy"
        for sample in ("pair-00001", "pair-00003")
        for method in paths
        for branch in BRANCHES
    }
    found = np.load(tmp_path / "numpy" / "sample_pair-00001_saliency_mirna.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, files["saliency"].showcase["mirna"][[0, 2], 0, 1].mean(axis=0), rtol=1e-6)


def test_maps_and_filters_are_read(tmp_path):
    random = np.random.default_rng(8)
    values = {branch: random.normal(size=(2, 9)) for branch in BRANCHES}
    with write_h5(tmp_path / "maps.h5") as file:
        write_strings(file, "samples", ["a", "b"])
        write_strings(file, "chosen", ["b", "a"])
        file["interactions/b"], file["complementary/b"] = np.ones((2, 3)), np.zeros((2, 3), bool)
        for branch in BRANCHES:
            file[f"nucleotides/{branch}"] = values[branch]
            for place, name in enumerate("ab"):
                file[f"activations/{branch}/{name}"] = np.full((2, 4, 4), place)
    found = read_maps(tmp_path / "maps.h5")
    assert (found["samples"], found["chosen"], list(found["interactions"])) == (["a", "b"], ["b", "a"], ["b"])
    np.testing.assert_array_equal(found["falls"]["site"], values["site"])
    assert (found["activations"]["mirna"] == 1).all()
    weights = {f"state/{branch}.first.convolution.weight": random.normal(size=(3, 5, 1, 3, 3)) for branch in BRANCHES}
    write_tensors(tmp_path / "e.safetensors", weights, {})
    filters = first_filters(tmp_path / "e.safetensors", np.array([False, True, True]))
    np.testing.assert_array_equal(filters["site"], weights["state/site.first.convolution.weight"][1, :, 0])


def test_signs_are_those_of_the_facts():
    own = {"mutagenesis": {"signed": True}, "grad_cam": {"signed": False}}
    names = ["saliency", "integrated_gradients", "deeplift", "mutagenesis", "grad_cam"]
    assert list(signed_methods(names, own).values()) == [False, True, True, True, False]


def test_figures_are_saved_alike(tmp_path):
    shown = example_shown()
    for name in ("a.png", "b.png"):
        save_figure(tmp_path / name, kmer_maps(shown, *drivers_of(3), None))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_methods_without_a_sign_have_one_color():
    shown = example_shown(primary="saliency")
    falls = {branch: own[0] for branch, own in falls_of(shown).items()}
    figure = sheet(shown, 0, falls)
    rendered(figure)
    bars = [axes.containers[0] for axes in figure.axes if axes.containers]
    colors = [{to_hex(bar.get_facecolor()) for bar in own} for own in bars]
    assert colors[0] == {POSITIVE.lower(), NEGATIVE.lower()}
    assert colors[1] == {UNSIGNED.lower()}
    table, stability = cluster_tables(shown)
    figure = cluster_panels(table, stability, "small", "saliency", 3, 6, signed=False)
    bars = [axes.containers[0] for axes in figure.axes if axes.containers]
    assert {to_hex(bar.get_facecolor()) for own in bars for bar in own} == {UNSIGNED.lower()}
    assert "(no sign)" in figure.get_supxlabel()
