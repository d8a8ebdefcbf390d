"""Important k-mers in groups: by sequence, aligned below what they spell, and by their places in the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from consilience.domains.mirna.clusters import SHIFT_RANGE, SHIFTS, mismatches
from consilience.domains.mirna.colors import BRANCH_TITLES, ON_CORNERS, frame, sign_colors, words, write_letters
from consilience.domains.mirna.prepare import BRANCHES
from consilience.figures.style import (
    BLACK,
    GRAY,
    METHOD_COLORS,
    entitle,
    new_figure,
    number,
    styled,
)

LINES = 12  # k-mers of a cluster that are written
MOST = 6  # clusters that are written
BAR = 3.0  # letters' widths
PALE = "#ECECEC"


def shifts_of(kmers: Sequence[str]) -> list[int]:
    """Return how far each k-mer is shifted to fit the first best, of equal fits the smallest."""
    costs = mismatches(kmers[:1], kmers)[:, 0]
    return [min(zip(own, map(abs, SHIFT_RANGE), SHIFT_RANGE, strict=True))[2] for own in costs.T]


@styled
def cluster_panels(
    clusters: pd.DataFrame, stability: pd.DataFrame, shown: str, primary: str, k: int, samples: int, signed: bool = True
) -> Figure:
    """Draw both kinds of clusters of both branches; the tables are clusters.tsv and cluster_stability.tsv.

    `signed` says whether the primary method has a sign.
    """
    own = clusters[clusters["model"] == shown]
    figure = new_figure(11.2, 8.0)
    panels = figure.subplots(2, 2, width_ratios=(2.35, 1))
    for line, branch in zip(panels, BRANCHES, strict=True):
        for axes, kind, draw in zip(line, ("sequence", "image"), (_aligned, _placed), strict=True):
            rows = own[(own["branch"] == branch) & (own["kind"] == kind)]
            if rows.empty:
                axes.set_axis_off()
                axes.text(0.5, 0.5, "no k-mer has any attribution", ha="center", transform=axes.transAxes)
            else:
                draw(axes, rows, k, signed)
            axes.set_title(_title(stability, shown, branch, kind, len(rows)))
    colors = " (orange speaks for a pair, blue against it)" if signed else " (no sign)"
    caption = (
        f"{shown}, {words(primary)}, mean sizes over {samples} test pairs. By sequence: the k-mers with most, by "
        f"average linkage of their mismatches under shifts of up to {SHIFTS}; a column is a cluster under its motif, "
        f"the most important first; bars: mean attribution{colors}. By image: the "
        f"upper quarter of pixels, by k-means on their places; crosses: centers. {ON_CORNERS} Silhouette: 1 for "
        "clusters far apart, 0 for none. Stability: adjusted Rand index on resamples of families, 1 for the same "
        "clusters; brackets: 95 %; chance: that of unrelated choices with as many k-mers in common, up to its 97.5th "
        "percentile; not clearly more: where the bracket begins below chance."
    )
    entitle(figure, f"Important k-mers in clusters: by sequence, and by place in the image ({shown})", caption)
    return figure


def _title(stability: pd.DataFrame, shown: str, branch: str, kind: str, kmers: int) -> str:
    name = f"{BRANCH_TITLES[branch]}, by {kind}: {kmers} k-mers"
    own = stability[(stability["model"] == shown) & (stability["branch"] == branch) & (stability["kind"] == kind)]
    if own.empty:
        return name
    row = own.iloc[0]
    value, low, high = (number(row[column], ".2f") for column in ("stability", "low", "high"))
    interval = "" if low == "undefined" else f" [{low}, {high}]"
    separator, within = ("\n", "\n") if kind == "image" else ("; ", ", ")
    told = f"{name}{separator}silhouette {number(row['silhouette'], '.2f')}{within}stability {value}{interval}"
    clear = "" if row["low"] > row["chance"] else f"{within}not clearly more than unrelated ones"
    chance = f"\nchance {number(row['chance'], '.2f')}, up to {number(row['chance_high'], '.2f')}"
    return f"{told}{chance}{clear}"


def _aligned(axes: Axes, rows: pd.DataFrame, k: int, signed: bool) -> None:
    """Write the k-mers of every cluster below each other, shifted as they fit, with a bar of their attribution."""
    numbers = list(dict.fromkeys(rows["cluster"]))[:MOST]
    width = k + 2 * SHIFTS + BAR + 1.5
    most = float(rows["attribution"].abs().max()) or 1.0
    letters, motifs = [], []
    for column, cluster in enumerate(numbers):
        own = rows[rows["cluster"] == cluster]
        left = column * width + SHIFTS
        spelled = str(own["motif"].iloc[0])
        motifs.append((spelled, left + (k - len(spelled)) / 2, -1.35))
        listed = own.head(LINES)
        # All of a cluster's k-mers say how they fit, also those that are not listed.
        shifts = shifts_of(list(own["kmer"]))[:LINES]
        for line, (kmer, shift) in enumerate(zip(listed["kmer"], shifts, strict=True)):
            letters.append((kmer, left + shift, line))
        _bars(axes, listed["attribution"].to_numpy(float) / most, left + k + SHIFTS - 0.2, signed)
        more = f"+ {len(own) - LINES} more" if len(own) > LINES else ""
        axes.text(left + (k - 1) / 2, min(len(own), LINES) - 0.4, more, ha="center", va="top", fontsize=6.5, color=GRAY)
        axes.add_patch(Rectangle((left - SHIFTS - 0.4, -2.05), width - 0.7, 1.35, facecolor=PALE, linewidth=0))
    axes.set(xlim=(-0.6, max(len(numbers), 3) * width), ylim=(LINES + 0.6, -2.3), xticks=[], yticks=[])
    write_letters(axes, letters, 1.0, 1.0)
    write_letters(axes, motifs, 1.0, 1.25)
    axes.spines[:].set_visible(False)
    if rows["cluster"].nunique() > MOST:
        text = f"{rows['cluster'].nunique() - MOST} further clusters in clusters.tsv"
        axes.text(1, 0, text, ha="right", va="bottom", fontsize=6.5, color=GRAY, transform=axes.transAxes)


def _bars(axes: Axes, shares: np.ndarray, left: float, signed: bool) -> None:
    """Draw bars from 0 in the middle of what is left for them; `shares` are of the largest, -1 to 1."""
    middle = left + BAR / 2
    axes.barh(
        np.arange(len(shares)),
        shares * BAR / 2,
        left=middle,
        height=0.62,
        color=sign_colors(shares, signed),
    )
    axes.plot([middle, middle], [-0.5, len(shares) - 0.5], color=GRAY, linewidth=0.5)


def _placed(axes: Axes, rows: pd.DataFrame, k: int, _: bool) -> None:
    """Color the pixels of every cluster, and mark its center."""
    clusters = list(dict.fromkeys(rows["cluster"]))
    colors = {cluster: METHOD_COLORS[place % len(METHOD_COLORS)] for place, cluster in enumerate(clusters)}
    image = np.ones((2**k, 2**k, 3))
    image[rows["row"], rows["column"]] = [to_rgb(colors[cluster]) for cluster in rows["cluster"]]
    axes.imshow(image, interpolation="nearest")
    for cluster in clusters:
        own = rows[rows["cluster"] == cluster]
        center = own["column"].mean(), own["row"].mean()
        axes.plot(*center, "x", color="white", markersize=8, markeredgewidth=3.4)
        axes.plot(*center, "x", color=BLACK, markersize=7, markeredgewidth=1.6)
    frame(axes)
