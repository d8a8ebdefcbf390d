"""A page an atom: how it is biased, what calls have it on, and those that excite it most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from consilience.domains.variants.calls import SIZE_BINS
from consilience.domains.variants.card_panels import (
    activations_panel,
    groups_panel,
    shares_panel,
    size_name,
)
from consilience.domains.variants.landscape_plots import ESTIMATES, WITHIN, draw_estimate
from consilience.domains.variants.marks import (
    HALO,
    LEANS,
    NO_STRATUM,
    STRATA,
    atom_name,
    color_of,
    doublings,
    interval,
    odds_ticks,
    percent,
    probability,
    symmetric,
)
from consilience.figures.pages import write_pages
from consilience.figures.style import BLACK, GRAY, entitle, lighten, new_figure, number, say, styled

WIDTH, HEIGHT = 7.2, 10.2  # inches
COLUMNS = {
    "rank": 0.0,
    "call": 0.05,
    "place": 0.31,
    "type": 0.53,
    "size": 0.67,
    "class": 0.70,
    "role": 0.765,
    "activation": 1.0,
}
BARS = 0.94, 0.08  # where the bars of activations end, and the longest
RIGHT = ("size", "activation")
NOTHING = "No atom is on in enough training calls to have a card."


@dataclass(frozen=True)
class Card:
    """What is told of an atom: its rows of the tables `bias` and `atoms`, and those of `cards` and `specialization`.

    `true` and `false` (calls,) are its codes in the training calls of either class that have it on.
    """

    bias: Mapping[str, object]
    atom: Mapping[str, object]
    examples: pd.DataFrame
    types: pd.DataFrame
    true: np.ndarray
    false: np.ndarray

    @property
    def color(self) -> object:
        """The color of its direction."""
        return color_of(str(self.bias["direction"]))


def cards_of(tables: Mapping[str, pd.DataFrame], codes: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> Iterator[Card]:
    """Yield the card of every atom of the table `cards`, in its order.

    `tables` are bias, atoms, cards and specialization; `codes` the codes of true and of false training calls by atom.
    """
    bias, atoms = (tables[name].set_index("atom", drop=False) for name in ("bias", "atoms"))
    for atom, examples in tables["cards"].groupby("atom", sort=False):
        types = tables["specialization"][tables["specialization"]["atom"] == atom]
        true, false = codes[atom]
        yield Card(bias.loc[atom].to_dict(), atoms.loc[atom].to_dict(), examples, types, true, false)


def write_cards(path: str | Path, cards: Iterable[Card]) -> None:
    """Write a page a card; without any, one that says so."""
    write_pages(path, (page(card) for card in cards), WIDTH, HEIGHT / 2, NOTHING)


@styled
def page(card: Card) -> Figure:
    """Draw one card."""
    figure = new_figure(WIDTH, HEIGHT)
    lines = max(3, len(card.examples))
    grid = figure.add_gridspec(4, 2, height_ratios=(1.45, 1.6, 1.6, 0.5 + 0.19 * lines))
    _odds(figure.add_subplot(grid[0, 0]), card)
    _facts(figure.add_subplot(grid[0, 1]), card)
    activations_panel(figure.add_subplot(grid[1, 0]), card.true, card.false)
    types = card.types.sort_values(["base_rate", "type"], ascending=[False, True])
    shares_panel(figure.add_subplot(grid[1, 1]), list(types["type"]), types["share"], types["base_rate"], card.color)
    figure.axes[-1].set_title("Types of the calls that have it on")
    shares, background = ([card.atom[f"{kind}_{name}"] for name in SIZE_BINS] for kind in ("size", "background"))
    names = [size_name(name) for name in SIZE_BINS]
    shares_panel(figure.add_subplot(grid[2, 0]), names, shares, background, card.color)
    figure.axes[-1].set_title("Sizes, base pairs (none: no size told)")
    groups_panel(figure.add_subplot(grid[2, 1]), card.atom, card.color)
    _examples(figure.add_subplot(grid[3, :]), card, lines)
    entitle(figure, _title(card), _caption())
    return figure


def _title(card: Card) -> str:
    row = card.bias
    name = atom_name(row["atom"]).capitalize()
    if row["near_end"] == 0:
        return f"{name}: no bias that is certain"
    return f"{name} {LEANS[str(row['direction'])]}, {_evidence(row)}"


def _evidence(row: Mapping[str, object]) -> str:
    """Say what test calls, and strata, leave of a bias."""
    if not row["significant"]:
        return "but is not significant"
    if row["reversed"]:
        return "but the other way within strata"
    within = row["confirmed_within"]
    if row["confirmed"]:
        return f"confirmed on test calls, {'also' if within else 'but not'} within strata"
    return f"not confirmed on test calls{', but within strata' if within else ''}"


def _odds(axes: Axes, card: Card) -> None:
    """Draw the three odds ratios with their intervals, each written below its line."""
    row, values = card.bias, {}
    for name, (_, _, _, columns) in ESTIMATES.items():
        values[name] = np.array([row[column] for column in columns], float)
    reach = symmetric(np.clip(doublings(np.concatenate(list(values.values()))), -7, 7), 1, 1.1)
    for line, (name, (_, mark, full, _)) in enumerate(ESTIMATES.items()):
        face = card.color if full else "white"
        draw_estimate(axes, line, values[name], (-reach, reach), card.color, mark, face, 5)
        said = interval(*values[name]) if np.isfinite(values[name][0]) else "undefined"
        said = NO_STRATUM if name == WITHIN and not row["strata"] else said
        axes.annotate(
            f"{name}: {said}",
            (0, line),
            (0, 7),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=7,
            path_effects=HALO,
        )
    axes.axvline(0, color=GRAY, linewidth=0.8, zorder=1)
    axes.set(xlim=(-reach, reach), ylim=(2.5, -0.75), yticks=[])
    axes.spines["left"].set_visible(False)
    odds_ticks(axes, "x", "odds ratio of a true call (log scale)")
    axes.set_title("Bias, with 95 % intervals")


def _facts(axes: Axes, card: Card) -> None:
    row, atom = card.bias, card.atom
    told = {
        "training calls that have it on": f"{row['support']:,} ({percent(row['support_share'])})",
        "true calls among them": f"{percent(atom['precision'])} (all: {percent(atom['base_rate'])})",
        f"q ({'Fisher' if row['test'] == 'fisher' else 'χ²'})": probability(row["fdr_corrected"]),
        "q within strata": probability(row["cmh_q"]) if row["strata"] else NO_STRATUM,
        "same ratio in all strata, p": probability(row["homogeneity_p"]) if row["strata"] > 1 else "fewer than two",
        "q, test calls | within strata": f"{probability(row['test_q'])} | {probability(row['test_cmh_q'])}",
        "AUROC of the activation": number(row["auroc"], ".2f"),
        "AUROC where it is on": number(row["auroc_active"], ".2f"),
        "activation, median | 90 % | most": " | ".join(
            number(atom[f"activation_{name}"], ".2g") for name in ("median", "p90", "maximum")
        ),
        "cosine with its partner": number(atom["stability"], ".2f")
        if pd.notna(atom["stability"])
        else "one dictionary",
    }
    axes.set_axis_off()
    axes.set_title("In numbers")
    for line, (name, value) in enumerate(told.items()):
        height = 0.97 - line * 0.105
        axes.text(0, height, name, transform=axes.transAxes, va="top", fontsize=7, color="#4D4D4D")
        axes.text(1, height, value, transform=axes.transAxes, va="top", ha="right", fontsize=7, fontweight="bold")


def _examples(axes: Axes, card: Card, lines: int) -> None:
    """Write the calls that excite the atom most, with bars of the activation."""
    axes.set(xlim=(0, 1), ylim=(lines + 0.1, -1), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title("Calls that excite it most, of all roles")
    if card.examples.empty:
        say(axes, "no call")
        return
    for name, place in COLUMNS.items():
        axes.text(place, -0.45, name, ha=_side(name), va="center", fontsize=7, color=GRAY)
    most = card.examples["activation"].max()
    for line, row in enumerate(card.examples.to_dict("records")):
        color = color_of("positive" if row["class"] == "TP" else "negative")
        width = BARS[1] * row["activation"] / most
        axes.add_patch(Rectangle((BARS[0] - width, line + 0.2), width, 0.6, color=lighten(color, 0.5), linewidth=0))
        size = "none" if pd.isna(row["size"]) else f"{int(row['size']):,}"
        told = {
            "rank": str(row["rank"]),
            "call": _short(str(row["sample"]), 24),
            "place": _short(f"{row['contig']}:{row['position']:,}", 24),
            "type": _short(row["type"], 12),
            "size": size,
            "class": row["class"],
            "role": row["role"],
            "activation": f"{row['activation']:.3g}",
        }
        for name, text in told.items():
            bold = {"color": color, "fontweight": "bold"} if name == "class" else {"color": BLACK}
            axes.text(COLUMNS[name], line + 0.5, text, ha=_side(name), va="center", fontsize=6.8, **bold)


def _side(name: str) -> str:
    return "right" if name in RIGHT else "left"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length // 2 - 1]}…{text[-(length // 2) :]}"


def _caption() -> str:
    return (
        "Statistics are of the training role, except those of test calls. Ticks: the share among all calls. Breakends "
        "have no size. Over-represented: of all chromosomes and datasets the one that stands out most (hypergeometric "
        f"test, q over all atoms and groups). Strata: {STRATA}.\nIt looks bad where the diamond stands on 1 (the bias "
        "is of strata), where one chromosome or dataset holds most calls, and where the calls that excite it most are "
        "of the other class."
    )
