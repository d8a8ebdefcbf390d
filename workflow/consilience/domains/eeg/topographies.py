"""Where on the scalp attributions lie: a table by class, channel or region, and band, and its maps."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patches import Circle
from threadpoolctl import threadpool_limits

from consilience.attribution.store import MEAN, Attributions
from consilience.consensus.lists import ModelAttribution, ensemble
from consilience.domains.eeg.attention_plots import COLORS
from consilience.domains.eeg.marks import words
from consilience.domains.eeg.montage import BANDS_OF, BRANCHES, CHANNELS, NODES, feature_name
from consilience.domains.eeg.scalp import OUTSIDE, draw_map, draw_regions, ink, positions, write
from consilience.domains.eeg.wording import NAMES
from consilience.figures.style import BLACK, entitle, new_figure, styled

COLUMNS = (
    "model", "method", "target", "feature", "branch", "node", "band", "value", "average_attribution", "planted",
)  # fmt: skip
MAP, BLOCK, HEIGHT = 1.5, 0.8, 1.36  # inches


def topography_table(found: Attributions, signed: bool, truth: pd.DataFrame | None) -> pd.DataFrame:
    """Return a row a class and feature: the mean over the members, and over samples of the class.

    `value` is the mean attribution with its own sign (`mean_attribution`), or, of a method without one,
    `average_attribution`, which ranks the model's lists: its sign is that of the mean gradient. `planted` (0 or 1) says
    which features truth.tsv has for the class, and is empty without it.
    """
    averages = ensemble(ModelAttribution.of(found)).average_attribution
    values = found.of_classes(MEAN) if signed and MEAN in found.own_class else averages
    planted = set() if truth is None else set(zip(truth["target"], truth["feature"], strict=True))
    places = {name: place for place, name in enumerate(found.features["name"])}
    rows = []
    for row, target in enumerate(found.targets):
        for branch in BRANCHES:
            for node in NODES[branch]:
                for band in BANDS_OF[branch]:
                    name = feature_name(node, band)
                    own = values[row, places[name]], averages[row, places[name]]
                    known = None if truth is None else int((target, name) in planted)
                    rows.append((found.model, found.method, target, name, branch, node, band, *own, known))
    return pd.DataFrame(rows, columns=list(COLUMNS))


@styled
def topographies(table: pd.DataFrame, explained: str) -> Figure:
    """Draw maps of the scalp and blocks of regions, a line a class and a column a band, all on one scale.

    `table` is that of `topography_table`; `explained` says in words of which samples. Planted features are ringed.
    """
    targets = list(dict.fromkeys(table["target"]))
    # A network of one modality gives the other nothing.
    read = [name for name in BRANCHES if table.loc[table["branch"] == name, "value"].any()] or list(BRANCHES)
    columns = [(branch, band) for branch in read for band in BANDS_OF[branch]]
    widths = [MAP if branch == "eeg" else BLOCK for branch, _ in columns]
    figure = new_figure(sum(widths) + 1.3, HEIGHT * len(targets) + 1.5)
    grid = figure.add_gridspec(len(targets), len(columns), width_ratios=widths)
    limit = float(table["value"].abs().max()) or 1.0
    # MNE solves a system of two equations a triangle, and threads only wait for each other there.
    with threadpool_limits(limits=1, user_api="blas"):
        for line, target in enumerate(targets):
            _line(figure, grid, line, table[table["target"] == target], columns, limit)
    colors = ScalarMappable(Normalize(-limit, limit), COLORS)
    shrink = min(1, 2 / len(targets))
    figure.colorbar(colors, ax=figure.axes, fraction=0.012, pad=0.01, shrink=shrink, label="attribution (logit)")
    entitle(figure, _message(table), _caption(table, explained))
    return figure


def _line(
    figure: Figure, grid: GridSpec, line: int, own: pd.DataFrame, columns: list[tuple[str, str]], limit: float
) -> None:
    """Draw a class from its rows."""
    for place, (branch, band) in enumerate(columns):
        axes = figure.add_subplot(grid[line, place])
        rows = own[(own["branch"] == branch) & (own["band"] == band)].set_index("node")
        planted = set(rows.index[rows["planted"] == 1])
        if branch == "eeg":
            draw_map(axes, rows.loc[list(CHANNELS), "value"], limit)
            _channels(axes, rows["value"], planted, limit)
        else:
            cells = draw_regions(axes, rows["value"], limit)
            for name in planted:
                cells[name].set(edgecolor=BLACK, linewidth=1.6, zorder=3)
        if line == 0:
            low, high = BANDS_OF[branch][band]
            title = f"{NAMES[branch]}\n{band}\n{low:g}–{high:g} Hz"
            axes.set_title(title, loc="center", fontweight="normal", fontsize=8)
        if place == 0:
            name = words(own["target"].iloc[0])
            axes.text(-OUTSIDE, 0, name, fontsize=9, fontweight="bold", ha="right", va="center")


def _channels(axes: Axes, values: pd.Series, planted: set[str], limit: float) -> None:
    """Name the channels where they lie, and ring those that are planted."""
    for name, (x, y) in positions().items():
        bold = "bold" if name in planted else "normal"
        color = ink(values[name], limit)
        write(axes, x, y, name, fontsize=4.6, color=color, fontweight=bold, zorder=6)
        if name in planted:
            axes.add_patch(Circle((x, y), 0.15, fill=False, edgecolor=BLACK, linewidth=1.0, zorder=5))


def found_again(table: pd.DataFrame) -> tuple[int, int]:
    """Return how many planted features are among as many of their class with the largest values, and of how many."""
    hits = planted = 0
    for _, own in table.groupby("target", sort=False):
        count = int((own["planted"] == 1).sum())
        hits += int((own.nlargest(count, "value")["planted"] == 1).sum())
        planted += count
    return hits, planted


def _message(table: pd.DataFrame) -> str:
    model = table["model"].iloc[0]
    hits, planted = found_again(table)
    if planted:
        return f"{model} finds {hits} of {planted} planted channels and regions among the strongest for their class"
    return f"What speaks for each class (orange) and against it (blue), by band: {model}"


def _caption(table: pd.DataFrame, explained: str) -> str:
    """Say what is drawn, of what samples and on which scale."""
    caption = (
        f"{words(table['method'].iloc[0])}, means over each class's own among {explained} and over the members, in "
        "units of the logit; one scale for all. Heads are seen from above: nose up, left on the left; between channels "
        "colors are interpolated. Blocks: chains of the spectrogram, left and right, lateral (LL, RL) above "
        "parasagittal (LP, RP)."
    )
    if (table["planted"] == 1).any():
        caption += (
            " Ringed: planted for the class. Found: among as many features of largest attribution as are planted for "
            "the class."
        )
    return caption
