"""Figures of attention show the weights they are given, on scales that know 1/K, and say where there is nothing to show."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from scipy.stats import entropy

from consilience.domains.eeg.attention import head_wise_attention_analysis
from consilience.domains.eeg.attention_plots import (
    plot_attention_heatmap,
    plot_cross_modal_attention,
    plot_head_contributions,
    plot_modality_alignment,
)
from consilience.errors import ConsilienceError
from consilience.figures.style import NEGATIVE, POSITIVE
from tests.unit.eeg_attention_examples import drawn, masked_maps, slow_agreement
from tests.unit.figure_examples import everything, rendered

pytestmark = pytest.mark.filterwarnings("error")

PLOTS = (plot_cross_modal_attention, plot_head_contributions, plot_modality_alignment)


def maps(samples=3, heads=8, eeg=4, spectrogram=7):
    return {
        "eeg_to_spec": drawn(samples, heads, eeg, spectrogram),
        "spec_to_eeg": drawn(samples, heads, spectrogram, eeg, seed=1),
    }


def single():
    return {"eeg_to_spec": np.ones((2, 8, 3, 1)), "spec_to_eeg": drawn(2, 8, 1, 3)}


def images_of(figure):
    return [axes.images[0] for axes in figure.axes if axes.images and axes.get_xlabel()]


def bars_of(axes):
    return np.array([bar.get_y() + bar.get_height() for bar in axes.patches])


def test_both_directions_are_drawn_with_rows_as_queries():
    given = maps()
    figure = plot_cross_modal_attention(given, sample_idx=1)
    rendered(figure)
    first, second = images_of(figure)
    np.testing.assert_allclose(first.get_array(), given["eeg_to_spec"][1].mean(axis=0))
    np.testing.assert_allclose(second.get_array(), given["spec_to_eeg"][1].mean(axis=0))
    assert [image.axes.get_ylabel() for image in (first, second)] == [
        "EEG window (query)",
        "spectrogram window (query)",
    ]
    assert [image.axes.get_xlabel() for image in (first, second)] == ["spectrogram window (key)", "EEG window (key)"]
    assert figure.get_suptitle() == "Attention between modalities, sample 1, mean over heads"
    own = np.mean([entropy(row, base=4) for row in given["spec_to_eeg"][1].reshape(-1, 4)])
    assert second.axes.get_title(loc="left") == f"Spectrogram attends to EEG: entropy {own:.3f}"
    assert "not what a prediction rests on" in " ".join(" ".join(everything(figure)).split())


def test_colors_reach_as_far_as_the_data_around_the_uniform_weight():
    given = maps()
    figure = plot_cross_modal_attention(given, sample_idx=2, head_idx=5)
    for image, (weights, keys) in zip(
        images_of(figure), ((given["eeg_to_spec"], 7), (given["spec_to_eeg"], 4)), strict=True
    ):
        own = weights[2, 5]
        np.testing.assert_allclose(image.get_array(), own)
        assert image.norm.vcenter == pytest.approx(1 / keys)
        assert image.norm.halfrange == pytest.approx(np.abs(own - 1 / keys).max())
        np.testing.assert_allclose(image.cmap(image.norm(1 / keys))[:3], to_rgb("white"), atol=1e-6)
        bar = image.colorbar.ax
        assert bar.get_ylim() == pytest.approx((own.min(), own.max()))
        assert float(bar.get_lines()[0].get_ydata()[0]) == pytest.approx(1 / keys)
        assert bar.get_ylabel() == f"weight (line: 1/K = {1 / keys:.3g})"
    assert "head 5" in figure.get_suptitle()


def test_colors_reach_below_the_uniform_weight_as_far_as_above():
    weights = np.tile([0.0, 0.5, 0.5], (1, 1, 2, 1))
    (image,) = images_of(plot_attention_heatmap(weights))
    assert image.norm.halfrange == pytest.approx(1 / 3)
    assert image.colorbar.ax.get_ylim() == (0, 0.5)


def test_what_is_absent_is_gray_and_said():
    given = masked_maps(heads=8)
    figure = plot_cross_modal_attention(given, 1)
    rendered(figure)
    first, second = images_of(figure)
    expected = given.absent["eeg"][1][:, None] | given.absent["spectrogram"][1][None]
    np.testing.assert_array_equal(np.ma.getmaskarray(first.get_array()), expected)
    np.testing.assert_array_equal(np.ma.getmaskarray(second.get_array()), expected.T)
    assert first.norm.vcenter == pytest.approx(1 / (~given.absent["spectrogram"][1]).sum())
    assert "Gray: windows that are absent." in " ".join(everything(figure)).replace("\n", " ")
    assert "Gray" not in " ".join(everything(plot_cross_modal_attention(dict(given), 1)))
    own = plot_attention_heatmap(
        given["eeg_to_spec"], sample_idx=1, absent=given.absent["spectrogram"], absent_queries=given.absent["eeg"]
    )
    np.testing.assert_array_equal(np.ma.getmaskarray(images_of(own)[0].get_array()), expected)


def test_one_direction_is_drawn_of_tensors():
    weights = torch.from_numpy(drawn(2, 3, 4, 5))
    figure = plot_attention_heatmap(weights, "A title", sample_idx=1, head_idx=2, figsize=(5, 4))
    rendered(figure)
    np.testing.assert_allclose(images_of(figure)[0].get_array(), weights[1, 2])
    assert figure.get_suptitle() == "A title"
    assert figure.get_size_inches().tolist() == [5, 4]
    mean = plot_attention_heatmap(weights)
    np.testing.assert_allclose(images_of(mean)[0].get_array(), weights[0].mean(dim=0))


def test_heads_are_told_apart_by_what_differs():
    given = maps()
    given["eeg_to_spec"][:, 3] = 1 / 7
    figure = plot_head_contributions(given)
    rendered(figure)
    panels = np.array(figure.axes).reshape(2, 2)
    found = head_wise_attention_analysis(given)
    for column, (direction, weights) in zip(panels.T, given.items(), strict=True):
        keys = weights.shape[-1]
        scores = [head["specialization_score"] for head in found[direction].values()]
        np.testing.assert_allclose(bars_of(column[0]), scores, atol=1e-12)
        np.testing.assert_allclose(bars_of(column[1]), keys * weights.max(axis=3).mean(axis=(0, 2)))
        assert column[0].get_ylim()[0] == 0
        assert column[1].get_ylim()[0] == 1
        dots = np.array([line.get_ydata() for line in column[0].get_lines()])
        expected = 1 - np.apply_along_axis(entropy, 3, weights, base=keys).mean(axis=2)
        np.testing.assert_allclose(dots, expected, atol=1e-12)
        assert column[0].get_ylim()[1] >= expected.max()
    text = " ".join(" ".join(everything(figure)).split())
    assert "Dots: 3 samples" in text
    assert "mean weight is 1/K by construction" in text


def test_heads_that_hardly_differ_are_drawn_as_far_as_they_do():
    weights = drawn(2, 8, 4, 7, scale=0.01)
    figure = plot_head_contributions({"eeg_to_spec": weights, "spec_to_eeg": drawn(2, 8, 7, 4)})
    rendered(figure)
    bars = bars_of(figure.axes[0])
    assert bars.max() < figure.axes[0].get_ylim()[1] < 10 * bars.max() < 1e-3


def test_heads_count_what_is_present():
    given = masked_maps(heads=8)
    figure = plot_head_contributions(given)
    absent = given.absent
    peaks = []
    for sample, query in np.argwhere(~absent["eeg"]):
        keys = ~absent["spectrogram"][sample]
        peaks.append((sample, keys.sum() * given["eeg_to_spec"][sample][:, query][:, keys].max(axis=1)))
    by_sample = [np.mean([peak for place, peak in peaks if place == sample], axis=0) for sample in range(4)]
    np.testing.assert_allclose(bars_of(figure.axes[2]), np.mean(by_sample, axis=0))


def test_alignment_is_drawn_over_the_same_axes():
    given = maps()
    figure = plot_modality_alignment(given, sample_idx=2)
    rendered(figure)
    nothing = np.zeros((1, 4), bool), np.zeros((1, 7), bool)
    first, second = (given[name][2:3] for name in ("eeg_to_spec", "spec_to_eeg"))
    expected = [slow_agreement(first[:, [head]], second[:, [head]], *nothing)[0] for head in range(8)]
    top = figure.axes[0]
    heights = [bar.get_height() for bar in top.patches]
    np.testing.assert_allclose(heights, expected)
    for height, bar in zip(heights, top.patches, strict=True):
        assert bar.get_facecolor()[:3] == to_rgb(POSITIVE if height > 0 else NEGATIVE)
    assert len({height > 0 for height in heights}) == 2
    (mean,) = slow_agreement(first, second, *nothing)
    (line,) = [line for line in top.get_lines() if line.get_linestyle() == "--"]
    assert float(line.get_ydata()[0]) == pytest.approx(mean)
    assert figure.get_suptitle() == f"Agreement of the directions, sample 2: {mean:.2f}".replace("-", "\u2212")
    one, other = images_of(figure)
    np.testing.assert_allclose(one.get_array(), first[0].mean(axis=0))
    np.testing.assert_allclose(other.get_array(), second[0].mean(axis=0).T)
    assert one.axes.get_ylabel().split(" (")[0] == other.axes.get_ylabel().split(" (")[0] == "EEG window"
    assert other.axes.get_xlabel() == "spectrogram window (query)"


@pytest.mark.parametrize("plot", PLOTS)
def test_a_single_token_is_a_sentence(plot):
    figure = plot(single())
    rendered(figure)
    assert any(text.startswith("uninformative: one token") for text in everything(figure))
    if plot is not plot_head_contributions:
        assert len(images_of(figure)) == 1, "the other direction is drawn"
    everywhere = {"eeg_to_spec": np.ones((1, 8, 1, 1)), "spec_to_eeg": np.ones((1, 8, 1, 1))}
    assert images_of(plot(everywhere)) == []


def test_a_single_token_in_one_direction_is_a_sentence():
    assert any("uninformative: one token" in text for text in everything(plot_attention_heatmap(np.ones((1, 2, 3, 1)))))


@pytest.mark.parametrize("plot", PLOTS)
def test_uniform_attention_is_white_and_said(plot):
    random = np.random.default_rng(0)
    weights = {"eeg_to_spec": np.full((2, 8, 4, 7), 1 / 7), "spec_to_eeg": np.full((2, 8, 7, 4), 0.25)}
    weights = {name: own + 1e-9 * random.normal(size=own.shape) for name, own in weights.items()}
    figure = plot(weights)
    rendered(figure)
    for image in images_of(figure):
        np.testing.assert_allclose(image.to_rgba(image.get_array())[..., :3], 1, atol=1e-3)
        assert "uniform: every weight is 1/K" in [text.get_text() for text in image.axes.texts]
    if plot is plot_modality_alignment:
        assert figure.get_suptitle().endswith("not defined")
        assert everything(figure).count("not\ndefined") == 8


@pytest.mark.parametrize("plot", PLOTS)
def test_figures_are_returned_and_written_and_leave_no_state(plot, tmp_path):
    settings = dict(plt.rcParams)
    figure = plot(maps(), figsize=(7, 5), save_path=tmp_path / "new" / "figure.png")
    assert figure.get_size_inches().tolist() == [7, 5]
    assert (tmp_path / "new" / "figure.png").read_bytes().startswith(b"\x89PNG")
    rendered(figure)
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == settings
    plot(maps(), save_path=str(tmp_path / "figure.pdf"))
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(
        ConsilienceError, match=r"^save_path: .*figure\.jpg; expected a name that ends in \.png, \.pdf, \.svg"
    ):
        plot(maps(), save_path=tmp_path / "figure.jpg")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plot_cross_modal_attention(maps(), 3), "^sample_idx: 3; the attention has 0 to 2"),
        (lambda: plot_cross_modal_attention(maps(), 0, -1), "^head_idx: -1; the attention has 0 to 7"),
        (lambda: plot_modality_alignment(maps(), -1), "^sample_idx: -1; the attention has 0 to 2"),
        (lambda: plot_attention_heatmap(drawn(), head_idx=2), "^head_idx: 2; the attention has 0 to 1"),
        (lambda: plot_attention_heatmap(drawn()[0, 0]), r"^attention_weights: weights of shape \(4, 5\); expected"),
        (lambda: plot_head_contributions(maps(heads=4)), "^eeg_to_spec: weights of 4 heads, but num_heads is 8"),
        (lambda: plot_cross_modal_attention({}), "^attention_dict: no eeg_to_spec; it has nothing"),
        (
            lambda: plot_modality_alignment(maps() | {"spec_to_eeg": drawn(3, 8, 6, 4)}),
            "expected queries and keys of one",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(ConsilienceError, match=message):
        draw()
