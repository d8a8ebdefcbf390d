"""Draws the earlier system's figures of attention from what the analysis kept of the reported samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from consilience.domains.eeg.attention_plots import (
    plot_cross_modal_attention,
    plot_head_contributions,
    plot_modality_alignment,
)
from consilience.domains.eeg.attention_weights import MODALITIES, AttentionMaps
from consilience.files import read_h5
from consilience.legacy.make import Output
from consilience.progress import following

NO_ATTENTION = "no explained model reads both modalities"


def _maps(output: Output) -> AttentionMaps | None:
    """Return the weights (samples, heads, queries, keys) of a first member by direction, NaN where one is absent."""
    with read_h5(output.sources[0]) as file:
        fused = [model for model in output.facts.models if model in file]
        if not fused:
            return None
        maps = {name: file[f"{fused[0]}/{name}/samples"][0].astype(np.float64) for name in MODALITIES}
    queries = {name: np.isnan(own).all(axis=(1, 3)) for name, own in maps.items()}
    return AttentionMaps(maps, {MODALITIES[name][0]: absent for name, absent in queries.items()})


def _of_samples(output: Output, plot: Callable) -> str | None:
    maps = _maps(output)
    if maps is None:
        return NO_ATTENTION
    for place in following(range(len(next(iter(maps.values())))), "drawing", "sample"):
        plot(maps, sample_idx=place, save_path=output.path(sample=str(place)))
    return None


def cross_attention(output: Output) -> str | None:
    """Draw both directions of every reported sample."""
    return _of_samples(output, plot_cross_modal_attention)


def alignment(output: Output) -> str | None:
    """Draw how far both directions of every reported sample agree."""
    return _of_samples(output, plot_modality_alignment)


def head_contributions(output: Output) -> str | None:
    """Draw how the heads differ."""
    maps = _maps(output)
    if maps is None:
        return NO_ATTENTION
    plot_head_contributions(maps, next(iter(maps.values())).shape[1], save_path=output.path())
    return None
