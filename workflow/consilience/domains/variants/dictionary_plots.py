"""What the dictionary is worth: how much it explains beside its controls, its sweep, codes a call, and stability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from consilience.domains.variants.levels import SAME
from consilience.domains.variants.marks import MINUS, handle, label_points, percent, plural
from consilience.figures.style import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    VERMILLION,
    entitle,
    lighten,
    new_figure,
    number,
    say,
    styled,
)
from consilience.splits import ROLES

CONTROLS = {"principal_components": "principal\ncomponents", "random_dictionary": "random\ndictionary"}
WORTH, CONTROL = GREEN, "#A8A8A8"
SHADES = (lighten(WORTH, 0.45), lighten(WORTH, 0.7), WORTH)  # of roles
KINDS = (("with", "^", BLACK), ("without", "v", "white"))  # a consensus sequence


@styled
def dictionary_panels(
    quality: pd.DataFrame, sweep: pd.DataFrame, atoms: pd.DataFrame, facts: Mapping[str, Any]
) -> Figure:
    """Draw the dictionary's worth; `quality`, `sweep` and `atoms` are dictionary.tsv, sweep.tsv and atoms.tsv.

    `facts` are those of encoded.json.
    """
    figure = new_figure(6.8, 5.9)
    panels = figure.subplots(2, 2)
    _explained(panels[0, 0], quality)
    _sweep(panels[0, 1], sweep)
    _codes(panels[1, 0], quality, facts)
    _stability(panels[1, 1], atoms, facts)
    entitle(figure, _message(quality, facts), _caption(facts, sweep))
    _name_sweep(panels[0, 1], sweep)
    return figure


def _explained(axes: Axes, quality: pd.DataFrame) -> None:
    own = quality[quality["encoder"] == "dictionary"].set_index("role")["explained_variance"].reindex(ROLES)
    others = quality[quality["encoder"] != "dictionary"].set_index("encoder")["explained_variance"].reindex(CONTROLS)
    values = np.concatenate([own, others]).astype(float)
    colors = [*SHADES, CONTROL, CONTROL]
    places = np.array([0, 1.15, 2.3, 3.9, 5.5])
    axes.bar(places, np.nan_to_num(values), color=colors, width=0.9)
    for place, value in zip(places, values, strict=True):
        axes.annotate(
            number(value, ".2f").replace("-", MINUS), (place, max(0.0, np.nan_to_num(value))), (0, 2),
            textcoords="offset points", ha="center", va="bottom", fontsize=7,
        )  # fmt: skip
    axes.axhline(0, color=BLACK, linewidth=0.7)
    axes.set_xticks(places, [*ROLES, *CONTROLS.values()])
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(min(0, 1.1 * np.nanmin(values, initial=0)), 1.12)
    axes.set_ylabel("explained variance")
    axes.grid(axis="y")
    axes.set_title("By role; controls on test calls")


def _sweep(axes: Axes, sweep: pd.DataFrame) -> None:
    """Draw a point a dictionary; those of as many atoms are joined."""
    for _, own in sweep.sort_values("k").groupby("atoms"):
        axes.plot(own["k"], own["explained_variance"], color="#CFCFCF", linewidth=1, zorder=1)
    for row in sweep.itertuples():
        color = VERMILLION if row.chosen else BLUE
        face = color if row.sound else "white"
        axes.plot(
            row.k,
            row.explained_variance,
            "D" if row.chosen else "o",
            color=color,
            markerfacecolor=face,
            markersize=6,
            zorder=3,
        )
    axes.set_xscale("log")
    counts = sorted(set(sweep["k"]))
    axes.set_xlim(counts[0] / 1.7, counts[-1] * 2.2)
    axes.xaxis.set_major_locator(FixedLocator(counts))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:.0f}")
    low, high = sweep["explained_variance"].min(), sweep["explained_variance"].max()
    room = max(0.05, 0.35 * (high - low))
    axes.set_ylim(low - room, high + 1.6 * room)
    axes.set_xlabel("codes a call, k (log scale)")
    axes.set_ylabel("on validation calls")
    axes.grid()
    axes.set_title("Which dictionary was taken")
    found = [handle("taken", VERMILLION, "D"), handle("others", BLUE)]
    found += [] if sweep["sound"].all() else [handle("not sound", BLACK, filled=False)]
    axes.legend(handles=found[: 1 + (len(sweep) > 1)] + found[2:], loc="lower right", handletextpad=0.1)


def _name_sweep(axes: Axes, sweep: pd.DataFrame) -> None:
    names = [f"{row.atoms} atoms\n{percent(row.dead_share)} dead" for row in sweep.itertuples()]
    label_points(axes, sweep[["k", "explained_variance"]].to_numpy(float), names)


def _codes(axes: Axes, quality: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    """Draw codes a call by role as bars, and those of calls with and without a consensus as points, where known."""
    own = quality[quality["encoder"] == "dictionary"].set_index("role")["l0"].reindex(ROLES).to_numpy(float)
    axes.bar(range(len(ROLES)), np.nan_to_num(own), color=SHADES, width=0.62)
    axes.axhline(facts["k"], color=GRAY, linewidth=0.9, linestyle="--", zorder=1)
    known = facts.get("codes_by_sequence") or {}
    for kind, mark, face in KINDS:
        counts = [known.get(role, {}).get(kind, np.nan) for role in ROLES]
        axes.plot(range(len(ROLES)), counts, mark, color=BLACK, markerfacecolor=face, markersize=5, zorder=3)
        own = np.concatenate([own, counts])
    for place, value in enumerate(own[: len(ROLES)]):
        axes.annotate(
            number(value, ".1f"), (place, 0), (0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=7
        )
    most = np.nanmax([*own, facts["k"]])
    axes.annotate(
        f"k = {facts['k']}", (1, facts["k"]), (-2, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
        ha="right", fontsize=7, color=GRAY,
    )  # fmt: skip
    axes.set_xticks(range(len(ROLES)), ROLES)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(ROLES) - 0.3)
    axes.set_ylim(0, (1.45 if known else 1.25) * most)
    if known:
        found = [handle(f"{kind} a consensus", BLACK, mark, face == BLACK) for kind, mark, face in KINDS]
        axes.legend(handles=found, loc="upper left", ncols=2, handletextpad=0.1, columnspacing=1, borderpad=0)
    axes.locator_params(axis="y", nbins=5)
    axes.set_ylabel("codes a call that are not 0")
    axes.grid(axis="y")
    axes.set_title("Codes a call, by role")


def _stability(axes: Axes, atoms: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    axes.set_title("Do atoms come again?")
    values = atoms["stability"].dropna().to_numpy(float)
    if not len(values):
        say(axes, "one dictionary:\nthere is none to compare it with")
        return
    same = facts.get("stability", {}).get("cosine_of_one_atom", SAME)
    bins = np.linspace(min(0.0, np.floor(10 * values.min()) / 10), 1, 21)
    counts = np.histogram(values, bins)[0]
    middles = (bins[:-1] + bins[1:]) / 2
    colors = [GREEN if middle >= same else lighten(ORANGE, 0.6) for middle in middles]
    axes.bar(middles, counts, width=0.9 * np.diff(bins), color=colors)
    axes.axvline(same, color=GRAY, linewidth=0.9, linestyle="--")
    share = np.mean(values >= same)
    axes.annotate(
        f"{percent(share)} of atoms\nat {same:g} or more", (0.03, 0.96), xycoords="axes fraction", va="top", fontsize=7
    )
    axes.set_xlim(bins[0], 1)
    axes.set_ylim(0, 1.35 * counts.max())
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=6)
    axes.set_xlabel("cosine with the partner from another start")
    axes.set_ylabel("atoms with support")
    axes.grid(axis="y")


def _message(quality: pd.DataFrame, facts: Mapping[str, Any]) -> str:
    tested = quality[quality["role"] == "test"].set_index("encoder")["explained_variance"]
    own, other = tested.get("dictionary", np.nan), tested.get("principal_components", np.nan)
    if not np.isfinite([own, other]).all():
        return "What the dictionary is worth"
    k, others = facts["k"], plural(facts["k"], "component")
    verb = "explains" if k == 1 else "explain"
    return f"{plural(k, 'code')} {verb} {percent(own)} of the variance; {others} {percent(other)}"


def _caption(facts: Mapping[str, Any], sweep: pd.DataFrame) -> str:
    kind = (
        "an imported dictionary" if facts.get("imported") else "a dictionary fitted on training calls, without labels"
    )
    rule = f" The one taken: {facts['rule']}." if facts.get("rule") and len(sweep) > 1 else ""
    return (
        f"{facts['dictionary']}: {kind}, of {plural(facts['atoms'], 'atom')}. Controls: as many principal components "
        f"as codes, the same for all calls; and as many atoms drawn at random.{rule}\nIt looks bad where the random "
        "dictionary explains as much; where test lies far below training; where test calls have far more or fewer "
        "codes than training calls, or than k; where calls without a consensus have hardly any; and where few atoms "
        "come again from another random start: such atoms have no name that lasts."
    )
