"""Panels of an atom's card: activations by class, and shares of types, sizes, chromosomes and datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from consilience.domains.variants.levels import FALSE_SHARE
from consilience.domains.variants.marks import COLORS, OF_CALLS, percent, probability, ratio
from consilience.figures.style import BLACK, GRAY, lighten, say, shorten

BINS = 16
GROUPS = {"chromosome": "chromosome {}", "dataset": "{}"}


def size_name(name: str) -> str:
    """Return the name of a size bin in as few letters as tell it."""
    short = name.replace("1,000-9,999", "1k–10k").replace(">= 10,000", "≥ 10k")
    return short.replace("-", "–")


def activations_panel(axes: Axes, true: np.ndarray, false: np.ndarray) -> None:
    """Draw how the codes of true and of false calls that have the atom on are spread, each as shares of its class."""
    axes.set_title("How strongly it is on")
    both = np.concatenate([true, false])
    if not len(both):
        say(axes, "on in no training call")
        return
    bins = np.linspace(0, both.max() * (1 + 1e-6), BINS + 1)
    for direction, values, filled in (("positive", true, True), ("negative", false, False)):
        if not len(values):
            continue
        counts = np.histogram(values, bins)[0] / len(values)
        label = f"{len(values):,} {OF_CALLS[direction][: None if len(values) > 1 else -1]}"
        settings = (
            {"fill": True, "color": lighten(COLORS[direction], 0.5)}
            if filled
            else {"color": COLORS[direction], "linewidth": 1.6}
        )
        axes.stairs(counts, bins, label=label, **settings)
    for direction, values in (("true", true), ("false", false)):
        if not len(values):
            axes.annotate(
                f"on in no {direction} call", (0.98, 0.6), xycoords="axes fraction", ha="right", fontsize=7, color=GRAY
            )
    axes.set_xlim(0, bins[-1])
    axes.set_ylim(0, 1.4 * axes.dataLim.y1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.locator_params(axis="y", nbins=4)
    axes.set_xlabel("activation, training calls that have it on")
    axes.set_ylabel("share of the class")
    axes.legend(loc="upper right", borderpad=0)


def shares_panel(
    axes: Axes, names: Sequence[str], shares: Sequence[float], background: Sequence[float], color: object
) -> None:
    """Draw shares among the atom's calls as bars, those among all calls as ticks, and both as numbers."""
    shares, background = np.asarray(shares, float), np.asarray(background, float)
    places = np.arange(len(names))
    axes.barh(places, shares, color=lighten(color, 0.55), height=0.7)
    axes.plot(background, places, "|", color=BLACK, markersize=10, markeredgewidth=1.5, linestyle="")
    for place, share, base in zip(places, shares, background, strict=True):
        axes.annotate(
            f"{percent(share)} (all: {percent(base)})", (max(share, base), place), (5, 0), textcoords="offset points",
            va="center", fontsize=6.5,
        )  # fmt: skip
    axes.set_yticks(places, list(names))
    axes.set_ylim(max(len(names), 2) - 0.4, -0.6)
    reach = 1.75 * max(shares.max(initial=0), background.max(initial=0), 0.01)
    axes.set_xlim(0, reach)
    axes.set_xticks([tick for tick in MaxNLocator(4).tick_values(0, reach) if tick <= min(reach, 1)])
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("share of calls (tick: of all)")


def groups_panel(axes: Axes, atom: Mapping[str, object], color: object) -> None:
    """Draw the most over-represented chromosome and dataset, with what is known of either."""
    axes.set_title("Over-represented most")
    known = [name for name in GROUPS if pd.notna(atom[name])]
    if not known:
        say(axes, "all calls are of one chromosome\nand of one dataset")
        return
    names = [shorten(GROUPS[name].format(atom[name]), 16) for name in known]
    shares, base = ([atom[f"{name}_{kind}"] for name in known] for kind in ("share", "base_rate"))
    shares_panel(axes, names, shares, base, color)
    for place, name in enumerate(known):
        q = float(atom[f"{name}_q"])
        clear = q < FALSE_SHARE
        lift = ratio(float(atom[f"{name}_lift"]))
        axes.annotate(
            f"lift {lift}, q {probability(q)}{'' if clear else ': may be chance'}",
            (0, place + 0.36), (2, -2), textcoords="offset points", va="top", fontsize=6.5,
            color=BLACK if clear else GRAY,
        )  # fmt: skip
    axes.set_ylim(len(GROUPS) - 0.1, -0.6)
    if "dataset" not in known:
        axes.annotate("one dataset", (0.98, 0.05), xycoords="axes fraction", ha="right", fontsize=7, color=GRAY)
    if "chromosome" not in known:
        axes.annotate("one chromosome", (0.98, 0.05), xycoords="axes fraction", ha="right", fontsize=7, color=GRAY)
