"""The linear model: bars of its largest coefficients, and the error along the path of penalties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from consilience.figures.lists import signed_bars
from consilience.figures.style import BLUE, VERMILLION, entitle, number, panel_grid, styled


def coefficient_bars(lists: Mapping[str, pd.DataFrame], targets: Sequence[str], top: int, kind: str) -> Figure:
    """Draw the largest coefficients of either sign; `lists` maps positive and negative to the linear lists."""
    return signed_bars(
        lists,
        targets,
        top,
        heading=f"Largest {kind.replace('_', ' ')} coefficients",
        caption="Bars: change of the prediction for one standard deviation of the feature in the training role.",
        value="coefficient",
        label="coefficient",
    )


@styled
def penalty_path(path: pd.DataFrame, chosen: float, error: str = "cross-validated mean squared error") -> Figure:
    """Draw the error along the penalties (columns penalty, error and, where known, error_se), the chosen one marked."""
    figure, (axes,) = panel_grid(1, 1, 4.2, 2.6)
    path = path.sort_values("penalty", kind="stable")
    axes.plot(path["penalty"], path["error"], "o-", color=BLUE, markersize=3)
    if "error_se" in path:
        low, high = path["error"] - path["error_se"], path["error"] + path["error_se"]
        axes.fill_between(path["penalty"], low, high, color=BLUE, alpha=0.15, linewidth=0)
    axes.axvline(chosen, color=VERMILLION, linewidth=1, linestyle=(0, (4, 3)), label=f"chosen: {number(chosen)}")
    axes.set_xscale("log")
    # The log formatter of matplotlib writes powers as mathematics, which this style leaves off.
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="penalty", ylabel=error)
    axes.grid(axis="y")
    axes.legend()
    entitle(figure, "Choice of the ridge penalty", f"{len(path)} penalties, error over the training role.")
    return figure
