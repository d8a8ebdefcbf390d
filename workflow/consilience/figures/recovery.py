"""How well planted features were found again, by method and model."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from consilience.figures.pages import blank_page
from consilience.figures.style import GRAY, METHOD_COLORS, entitle, legend_width, lighten, panel_grid, shorten, styled

MARKERS = {"consensus": "D", "model": "o", "linear": "s", "marginal": "^"}
UNATTRIBUTED = ("linear", "marginal")
EFFECT_NAMES = {"all": "all effects", "linear": "linear", "threshold": "thresholded", "interaction": "interactions"}


@styled
def recovery_dots(recovery: pd.DataFrame) -> Figure:
    """Draw average precision by effect, and sign accuracy, a row a consensus, model or linear model, a color a method.

    `recovery` is the table of recovery; over several targets the mean is drawn. Small dots are members, and dashed
    lines the level of chance: the prevalence, and one half for signs. A table without rows is said to be one.
    """
    if recovery.empty:
        return blank_page(5, 2, "No feature stands for what was planted.")
    effects = [effect for effect in EFFECT_NAMES if (recovery["effect"] == effect).any()]
    # One kind of effect is all there are.
    effects = effects[1:] if len(effects) == 2 else effects
    values = recovery.groupby(["scope", "name", "method", "effect"], sort=False).mean(numeric_only=True).reset_index()
    rows = list(dict.fromkeys(values.loc[values["scope"] != "member", "name"]))
    attributed = dict.fromkeys(values.loc[~values["scope"].isin(UNATTRIBUTED), "method"])
    colors = dict(zip(attributed, cycle(METHOD_COLORS)))
    colors |= {method: GRAY for method in values["method"].unique() if method not in colors}
    height = max(0.34, 0.07 * len(attributed)) * len(rows) + 0.9
    count = len(effects) + 1
    figure, panels = panel_grid(count, count, 1.9 + legend_width(colors) / count, height, sharey=True)
    for effect, axes in zip(effects, panels[:-1], strict=True):
        part = values[values["effect"] == effect]
        _dots(axes, part, rows, colors, "average_precision", part["chance"].mean())
        planted = recovery.loc[recovery["effect"] == effect].drop_duplicates("target")["planted"].sum()
        axes.set_title(f"{EFFECT_NAMES[effect]} ({planted})")
        axes.set_xlabel("average precision")
    _dots(panels[-1], values[values["effect"] == "all"], rows, colors, "sign_accuracy", 0.5)
    panels[-1].set_title("signs")
    panels[-1].set_xlabel("sign accuracy")
    panels[0].set_yticks(range(len(rows)), [shorten(name) for name in rows])
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    handles = [
        Line2D([], [], linestyle="", marker="o", color=color, label=name.replace("_", " "))
        for name, color in colors.items()
    ]
    figure.legend(handles=handles, loc="outside right upper")
    entitle(figure, "Planted features found again", _caption(recovery))
    return figure


def _caption(recovery: pd.DataFrame) -> str:
    first = recovery[recovery["effect"] == "all"].drop_duplicates("target")
    missing = int(first["missing"].sum())
    lost = f", {missing} of them filtered out before the models and counted as not found" if missing else ""
    over = f" Mean over {len(first)} targets." if len(first) > 1 else ""
    return (
        f"{int(first['planted'].sum())} features planted among {int(first['features'].iloc[0])}{lost}. "
        f"In brackets: planted. Small dots: members. Dashed: chance.{over}"
    )


def _dots(
    axes: Axes, values: pd.DataFrame, rows: list[str], colors: dict[str, str], metric: str, chance: float
) -> None:
    """Draw one metric; the methods of a row are spread over its height."""
    methods = [name for name in colors if (values.loc[values["scope"] == "model", "method"] == name).any()]
    for row in values.itertuples():
        name = row.name.rpartition("/")[0] if row.scope == "member" else row.name
        place = methods.index(row.method) - (len(methods) - 1) / 2 if row.method in methods else 0.0
        height = rows.index(name) + 0.62 * place / max(1, len(methods))
        small = row.scope == "member"
        axes.plot(
            getattr(row, metric),
            height,
            marker="o" if small else MARKERS[row.scope],
            color=lighten(colors[row.method]) if small else colors[row.method],
            markersize=2.2 if small else 5.5,
            markeredgewidth=0,
            zorder=2 if small else 3,
            clip_on=False,
        )
    axes.axvline(chance, color=GRAY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.set_xlim(-0.03, 1.03)
    axes.set_xticks(np.linspace(0, 1, 5), ["0", "", "0.5", "", "1"])
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
