"""What a network predicts for a batch, and how its modalities attend to each other: from results/ to explanations.

The names and keys are those of the earlier documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from consilience.attribution.explain import check_ensemble
from consilience.dataset import Dataset
from consilience.domains.eeg.attention import (
    AttentionAnalyzer,
    compute_modality_alignment,
    extract_attention_statistics,
)
from consilience.domains.eeg.attention_weights import AttentionMaps, AttentionWeights, checked_maps
from consilience.domains.eeg.batches import Inputs
from consilience.domains.eeg.model import build
from consilience.domains.eeg.montage import BRANCHES
from consilience.errors import ConsilienceError
from consilience.scaling import scaled_inputs
from consilience.training.ensemble import Ensemble, load_member


class ExplainabilityCapture:
    """Explains what a `CrossModalNetwork` predicts by the attention between its modalities.

    `num_heads` are those of the network's attention. Raises ConsilienceError for another number, and for a network
    without attention between modalities.
    """

    def __init__(self, model: nn.Module, num_heads: int = 8) -> None:
        if not hasattr(model, "pooled"):
            raise ConsilienceError(f"model: a {type(model).__name__}; expected a CrossModalNetwork")
        if not hasattr(model, "fusion"):
            raise ConsilienceError(
                f"model: it reads {model.modalities[0]} alone, and has no attention between modalities; "
                f"expected a network with modalities: [{', '.join(BRANCHES)}]"
            )
        if model.fusion.heads != num_heads:
            raise ConsilienceError(
                f"num_heads: {num_heads}, but the model's attention has {model.fusion.heads} heads; "
                f"use num_heads={model.fusion.heads}"
            )
        self.model = model
        self.num_heads = num_heads
        self.analyzer = AttentionAnalyzer(num_heads)

    def explain_batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Explain all samples of a batch, in eval mode and without gradient; the model's mode is left as it was.

        A batch has arrays or tensors, scaled as in training: `eeg` (samples, windows, 19, bands), `spectrogram`
        (samples, windows, 4, bands); where something is absent, `mask_eeg` and `mask_spectrogram`, bool of the same
        shapes; `coherence` (samples, windows, 19, 19) where the network was built for it; and, where they are known,
        `targets`: classes (samples,) or vote fractions (samples, classes). `Inputs.of` tells of the earlier layout.

        Returns tensors on the CPU: `logits` (samples, classes), `predictions` (samples,), `targets` (samples,), the
        class with most votes, the first of equals, or None; `attention_dict`, weights (samples, heads, query, key) by
        direction, which knows what is absent (`AttentionMaps`); and from these `attention_stats` by direction,
        `modality_alignment` and `per_sample_explanations`. Numbers are None where attention is uninformative. Raises
        ConsilienceError for a batch that does not fit, and a sample without any window of a modality.
        """
        return self._explain(Inputs.of(batch, self.model), 0)

    def explain_single_sample(self, batch: Mapping[str, Any], sample_idx: int = 0) -> dict[str, Any]:
        """Explain one sample of a batch, and compute no other.

        Returns the keys of `explain_batch`, for a batch of one, and beside them those of the sample's own explanation,
        which is what the earlier one returned.
        """
        inputs = Inputs.of(batch, self.model)
        if not 0 <= sample_idx < len(inputs):
            raise ConsilienceError(f"sample_idx: {sample_idx}; the batch has samples 0 to {len(inputs) - 1}")
        results = self._explain(inputs.sample(sample_idx), sample_idx)
        return results["per_sample_explanations"][0] | results

    def _explain(self, inputs: Inputs, first: int) -> dict[str, Any]:
        logits, attention = self._forward(inputs)
        maps = checked_maps(attention, self.num_heads)
        targets = None if inputs.targets is None else inputs.targets.cpu()
        samples = [
            self._sample(
                first + place, logits[place], targets, place, {name: own.sample(place) for name, own in maps.items()}
            )
            for place in range(len(logits))
        ]
        return {
            "logits": logits,
            "predictions": logits.argmax(dim=1),
            "targets": targets,
            "attention_dict": attention,
            "attention_stats": extract_attention_statistics(maps, self.num_heads),
            "modality_alignment": compute_modality_alignment(maps, self.num_heads),
            "per_sample_explanations": samples,
        }

    @torch.no_grad()
    def _forward(self, inputs: Inputs) -> tuple[Tensor, AttentionMaps]:
        with _evaluating(self.model):
            pooled, attention = self.model.pooled(
                inputs.eeg, inputs.spectrogram, return_attention=True, **inputs.auxiliary
            )
            logits = self.model.classifier(pooled)
        weights = {direction: values.cpu() for direction, values in attention.items()}
        return logits.cpu(), AttentionMaps(weights, {name: own.cpu() for name, own in inputs.absent.items()})

    def _sample(
        self, sample: int, logits: Tensor, targets: Tensor | None, place: int, maps: dict[str, AttentionWeights]
    ) -> dict[str, Any]:
        predicted = int(logits.argmax())
        true = None if targets is None else int(targets[place])
        entropies = {name: self.analyzer.compute_attention_entropy(own, per_head=True) for name, own in maps.items()}
        return {
            "sample_idx": sample,
            "predicted_class": predicted,
            "predicted_logit": float(logits[predicted]),
            "predicted_probability": float(logits.softmax(dim=0)[predicted]),
            "true_class": true,
            "correct": None if true is None else predicted == true,
            "attention_stats": extract_attention_statistics(maps, self.num_heads),
            "top_attention_pairs": {name: self.analyzer.get_top_attention_pairs(own) for name, own in maps.items()},
            "modality_agreement": self.analyzer.compare_modality_agreement(*maps.values()),
            "head_entropies": {name: list(own.values()) for name, own in entropies.items()},
        }


def load_network(ensemble_path: str | Path, member: int = 0) -> nn.Module:
    """Load one member of a model of this slice, by its number in members.tsv, in eval mode.

    Raises ConsilienceError for a file that is no such ensemble, a member that is not there, and one that was trained on
    permuted labels.
    """
    ensemble = _ensemble(ensemble_path)
    places = {own.member: place for place, own in enumerate(ensemble.members)}
    if member not in places:
        raise ConsilienceError(f"{ensemble_path}: no member {member}; it has {', '.join(map(str, places))}")
    if ensemble.members[places[member]].permuted:
        raise ConsilienceError(
            f"{ensemble_path}: member {member} was trained on permuted labels; there is nothing to explain"
        )
    return load_member(ensemble.network(build), ensemble.states, places[member])


def batch_of(dataset_path: str | Path, samples: Sequence[str], ensemble_path: str | Path) -> dict[str, Any]:
    """Return samples of a dataset, by their ids, as the batch `ExplainabilityCapture` takes, scaled as in training.

    With their masks, `coherence` where the dataset has it, and `targets`. Raises ConsilienceError for an id that is not
    there, and an ensemble of another dataset.
    """
    ensemble = _ensemble(ensemble_path)
    if not len(samples):
        raise ConsilienceError(f"{dataset_path}: no sample is named; expected ids")
    with Dataset.open(dataset_path) as dataset:
        check_ensemble(dataset, ensemble)
        rows = dataset.rows_of(samples)
        inputs, auxiliary = scaled_inputs(dataset, ensemble.scalings, rows)
        arrays = dict(zip(dataset.branches, inputs, strict=True)) | auxiliary | {"targets": dataset.target[rows]}
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


def _ensemble(path: str | Path) -> Ensemble:
    ensemble = Ensemble.load(path)
    if tuple(ensemble.branches) != BRANCHES:
        raise ConsilienceError(
            f"{path}: model {ensemble.model} reads {', '.join(ensemble.branches)}; expected {', '.join(BRANCHES)}"
        )
    return ensemble


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Set all parts of a module to eval mode, and each back to its own mode afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
