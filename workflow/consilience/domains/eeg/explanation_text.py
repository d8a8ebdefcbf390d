"""Explanations of a batch as a text that can be read without knowing the code."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from consilience.domains.eeg.attention_weights import MODALITIES
from consilience.errors import ConsilienceError
from consilience.files import write_text

WIDTH = 80
TITLES = {"eeg_to_spec": "EEG → Spectrogram", "spec_to_eeg": "Spectrogram → EEG"}
SHORT = {"eeg_to_spec": "EEG→Spec", "spec_to_eeg": "Spec→EEG"}
PREAMBLE = (
    "Attention is not importance: it tells from which windows the network reads values, not what its prediction rests "
    "on; for that, see attributions. Entropy runs from 0 (each query attends to one key) to 1 (to all alike). Sparsity "
    "is the share of weights below a tenth of the uniform weight 1/K. Agreement is the correlation of both directions "
    "over like pairs of windows; it says nothing of the class, and samples paired at random may reach it too. "
    "Confidence is the softmax probability of the predicted class, which need not be calibrated."
)


def create_explainability_report(
    results: Mapping[str, Any],
    output_path: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    window_names: Mapping[str, Sequence[str]] | None = None,
    sample_names: Sequence[str] | None = None,
    about: str = "",
) -> str:
    """Return what `ExplainabilityCapture.explain_batch` or `explain_single_sample` found, as text.

    Classes, windows and samples have numbers from 0, and the names that are given: `window_names` by modality, `eeg`
    and `spectrogram`, `sample_names` by the samples' places in the batch. `about` is said at the top. With
    `output_path` the text is also written, as UTF-8. Raises ConsilienceError where a list has too few names.
    """
    names = _Names(class_names, window_names or {}, sample_names)
    lines = ["=" * WIDTH, "CROSS-MODAL ATTENTION EXPLAINABILITY REPORT", "=" * WIDTH, ""]
    lines += [*textwrap.wrap(about, WIDTH), ""] if about else []
    lines += [*textwrap.wrap(PREAMBLE, WIDTH), "", "BATCH-LEVEL STATISTICS", "-" * 40, *_of_batch(results), ""]
    lines += ["PER-SAMPLE ANALYSIS", "-" * 40]
    for sample in results["per_sample_explanations"]:
        lines += _of_sample(sample, names)
    text = "\n".join(lines) + "\n"
    if output_path is not None:
        write_text(output_path, text)
    return text


class _Names:
    """Numbers from 0 with the names that are known."""

    def __init__(
        self, classes: Sequence[str] | None, windows: Mapping[str, Sequence[str]], samples: Sequence[str] | None
    ) -> None:
        self.classes, self.windows, self.samples = classes, windows, samples

    def label(self, place: int) -> str:
        return _named("class_names", self.classes, place)

    def sample(self, place: int) -> str:
        return _named("sample_names", self.samples, place)

    def window(self, modality: str, place: int) -> str:
        return _named(f"window_names[{modality!r}]", self.windows.get(modality), place)


def _named(what: str, names: Sequence[str] | None, place: int) -> str:
    if names is None:
        return str(place)
    if place >= len(names):
        raise ConsilienceError(f"{what}: {len(names)} names, but there is a number {place}")
    return f"{place} ({names[place]})"


def _of_batch(results: Mapping[str, Any]) -> list[str]:
    samples, alignment = results["per_sample_explanations"], results["modality_alignment"]
    known = [sample["correct"] for sample in samples if sample["correct"] is not None]
    lines = [f"Samples: {len(samples)}" + (f", of which {sum(known)} predicted as labeled" if known else "")]
    lines += [f"{TITLES[direction]} Attention: {results['attention_stats'][direction]}" for direction in MODALITIES]
    lines.append(f"Modality Agreement: {_agreement(alignment['modality_agreement'])}")
    lines += [f"{SHORT[direction]} Entropy: {_number(alignment[f'{direction}_entropy'])}" for direction in MODALITIES]
    return lines


def _of_sample(sample: Mapping[str, Any], names: _Names) -> list[str]:
    predicted = f"{names.label(sample['predicted_class'])}, confidence: {sample['predicted_probability']:.4f}"
    lines = ["", f"Sample {names.sample(sample['sample_idx'])}:", f"  Predicted: {predicted}"]
    if sample["true_class"] is not None:
        verdict = "✓ CORRECT" if sample["correct"] else "✗ WRONG"
        lines.append(f"  Ground Truth: {names.label(sample['true_class'])} {verdict}")
    lines.append(f"  Modality Agreement: {_agreement(sample['modality_agreement'])}")
    for direction, modalities in MODALITIES.items():
        lines.append(f"  {TITLES[direction]} Attention: {sample['attention_stats'][direction]}")
        for query, key, weight in sample["top_attention_pairs"][direction][:1]:
            own, other = (names.window(name, place) for name, place in zip(modalities, (query, key), strict=True))
            # The mean of a sample's weights is the uniform one.
            told = (
                f"weight {weight:.4f}, {weight / sample['attention_stats'][direction].mean:.2f} times the uniform one"
            )
            lines.append(f"  Top {SHORT[direction]} attention: window {own} → window {other}, {told}")
    lines += [f"  {SHORT[name]} entropy by head: {_heads(sample['head_entropies'][name])}" for name in MODALITIES]
    return lines


def _heads(entropies: Sequence[float | None]) -> str:
    return "uninformative" if None in entropies else ", ".join(f"{value:.3f}" for value in entropies)


def _number(value: float | None) -> str:
    return "uninformative" if value is None else f"{value:.4f}"


def _agreement(value: float | None) -> str:
    return "not defined (a single token, or attention that does not vary)" if value is None else f"{value:.4f}"
