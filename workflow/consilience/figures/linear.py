"""The linear model: bars of its largest coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from consilience.figures.lists import signed_bars


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
