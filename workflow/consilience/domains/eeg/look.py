"""Looks at one recording: what speaks for its pattern by channel, band and window, and where both modalities attend.

A folder a sample: the attribution, the text report, and the earlier system's three figures of attention.
"""

from consilience.jobs import job

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from consilience.attribution.api import Explainer
from consilience.dataset import Dataset
from consilience.domains.eeg import (
    ExplainabilityCapture,
    batch_of,
    create_explainability_report,
    plot_cross_modal_attention,
    plot_head_contributions,
    plot_modality_alignment,
)
from consilience.domains.eeg.model import build
from consilience.domains.eeg.montage import BANDS_OF, BRANCHES, NODES
from consilience.domains.eeg.performance import nearest_member
from consilience.domains.eeg.wording import HEADINGS, window_names
from consilience.figures.style import entitle, new_figure, styled
from consilience.files import save_figure, whole_folder
from consilience.training.ensemble import Ensemble, load_member

MOST_TICKS = 12
SETTINGS = ("steps", "draws", "noise", "blur", "internal_batch")


def attributed(
    dataset: str, ensemble: str, split: str, sample: str, pattern: str, method: str, settings: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Return what adds to a pattern, by branch (windows, nodes, bands).

    Means over the members with real labels, in logits less their mean (of two classes, in log-odds).
    """
    explainer = Explainer.load(ensemble, dataset, build, split=split, background=int(settings["background"]))
    with Dataset.open(dataset) as opened:
        rows = opened.rows_of([sample])
        inputs = {name: opened.inputs(name, rows) for name in opened.branches}
        masks = {f"mask_{name}": opened.mask(name, rows) for name in opened.branches}
        auxiliary = opened.auxiliary(rows) | masks
    own = {name: value for name, value in settings.items() if name in SETTINGS}
    found = explainer.attribute(inputs, method, target=pattern, auxiliary=auxiliary, samples=[sample], **own)
    return {name: part[0, 0] for name, part in found.arrays.items()}


@styled
def draw(parts: Mapping[str, np.ndarray], seconds: Mapping[str, Sequence[float]], title: str, method: str) -> Figure:
    """Draw attributions (windows, nodes, bands) by branch: nodes by bands, and nodes by windows.

    `seconds` are the middles of the windows, from the start of the segment.
    """
    figure = new_figure(11, 8.4)
    panels = figure.subplots(
        2, 2, height_ratios=[len(NODES[name]) for name in BRANCHES], width_ratios=(1, 1.6), squeeze=False
    )
    for row, name in zip(panels, BRANCHES, strict=True):
        by_band, by_window = parts[name].sum(axis=0), parts[name].sum(axis=2).T
        _heat(figure, row[0], by_band, NODES[name], list(BANDS_OF[name]), f"{HEADINGS[name]}, summed over windows")
        middles = [f"{second:g}" for second in seconds[name]]
        _heat(figure, row[1], by_window, NODES[name], middles, f"{HEADINGS[name]}, summed over bands")
        row[1].set_xlabel("middle of the window (s from the segment's start)")
    caption = (
        f"What each channel or region adds ({method}, mean over members): red for the pattern, blue against it. Each "
        "panel has its own scale: compare within panels. A pattern that is predicted wrongly is explained all the same."
    )
    entitle(figure, title, caption)
    return figure


def _heat(
    figure: Figure, axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str
) -> None:
    limit = float(np.abs(values).max()) or 1.0
    image = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    step = -(-len(columns) // MOST_TICKS)
    axes.set_xticks(range(0, len(columns), step), columns[::step])
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, labelsize=8)
    axes.set_title(title)
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)


def explain(folder: Path, given: Mapping[str, str], params: Mapping[str, object], sample: str) -> str:
    """Write what one sample's explanation is into a folder, and return a line on it."""
    classes, seconds = _facts(given["dataset"], params)
    batch = batch_of(given["dataset"], [sample], given["ensemble"])
    ensemble = Ensemble.load(given["ensemble"]).on_real_labels()
    numbers = [member.member for member in ensemble.members]
    networks = [load_member(ensemble.network(build), ensemble.states, place) for place in range(len(numbers))]
    members = [ExplainabilityCapture(network, network.fusion.heads).explain_batch(batch) for network in networks]
    probabilities = np.stack([one["logits"].double().softmax(dim=1).numpy() for one in members])
    place = nearest_member(probabilities)
    network, found = networks[place], members[place]
    seen = classes[found["per_sample_explanations"][0]["predicted_class"]]
    mean = probabilities.mean(axis=0)[0]
    pattern = classes[int(mean.argmax())]
    told = said(params["model"], pattern, mean.max(), numbers, numbers[place], seen)
    parts = attributed(
        *(given[name] for name in ("dataset", "ensemble", "split")), sample, pattern, params["primary"],
        params["attribution"],
    )  # fmt: skip
    title = f"{sample}: {told}; {raters(batch['targets'][0].numpy(), classes)}"
    names = {name: window_names(len(own), params["window"], params["stride"]) for name, own in seconds.items()}
    about = f"{told}. Predictions and attention below are those of member {numbers[place]}, the nearest to the mean."
    create_explainability_report(found, folder / "report.txt", classes, names, [sample], about)
    save_figure(folder / "attribution.png", draw(parts, seconds, title, params["primary"]))
    attention = found["attention_dict"]
    plot_cross_modal_attention(attention, save_path=folder / "cross_attention.png")
    plot_head_contributions(attention, network.fusion.heads, save_path=folder / "head_contributions.png")
    plot_modality_alignment(attention, save_path=folder / "alignment.png")
    return title


def said(model: str, pattern: str, probability: float, numbers: Sequence[int], shown: int, seen: str) -> str:
    """Say what all members together see, and which of them is shown where that is not the same."""
    mean = f"mean of {len(numbers)} members" if len(numbers) > 1 else "its one member"
    sees = f"sees {seen}" if seen != pattern else "sees it too"
    member = f"; member {shown}, whose attention is shown, {sees}" if len(numbers) > 1 else ""
    return f"{model} sees {pattern} (probability {probability:.2f}, {mean}{member})"


def raters(votes: np.ndarray, classes: Sequence[str]) -> str:
    """Say what most raters see."""
    most = [name for name, share in zip(classes, votes, strict=True) if share == votes.max()]
    return f"most raters see {most[0]}" if len(most) == 1 else f"raters are tied between {' and '.join(most)}"


def _facts(dataset: str, params: Mapping[str, object]) -> tuple[list[str], dict[str, list[float]]]:
    """Return the classes, and the middles of the windows by branch in seconds."""
    with Dataset.open(dataset) as opened:
        counts = {name: branch.shape[0] for name, branch in opened.branches.items()}
        classes = opened.classes
    middles = {
        name: [params["stride"] * place + params["window"] / 2 for place in range(count)]
        for name, count in counts.items()
    }
    return classes, middles


if "snakemake" in globals():
    with job(snakemake) as log:
        given = {name: snakemake.input[name] for name in ("dataset", "split", "ensemble")}
        with whole_folder(snakemake.output.folder) as folder:
            told = explain(folder, given, dict(snakemake.params), snakemake.wildcards.sample)
        log.info("%s", told)
