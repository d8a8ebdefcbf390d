"""Electroencephalography: recordings of a scalp montage and their spectrograms to patterns that raters voted for.

What explains attention is imported from here, each name when it is asked for, so that the package stays light.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "AttentionAnalyzer": "attention",
    "AttentionMaps": "attention_weights",
    "AttentionStatistics": "attention",
    "CrossModalFusion": "fusion",
    "CrossModalNetwork": "model",
    "ExplainabilityCapture": "capture",
    "batch_of": "capture",
    "compute_modality_alignment": "attention",
    "create_explainability_report": "explanation_text",
    "extract_attention_statistics": "attention",
    "head_wise_attention_analysis": "attention",
    "load_network": "capture",
    "plot_attention_heatmap": "attention_plots",
    "plot_cross_modal_attention": "attention_plots",
    "plot_head_contributions": "attention_plots",
    "plot_modality_alignment": "attention_plots",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # By name, because an import statement would make every job of the slice depend on all of these modules.
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
