"""An explanation starts from results/ and ends in a report; networks, batches and samples that do not fit are refused."""

import numpy as np
import pytest
import torch

from consilience.dataset import Dataset
from consilience.domains.eeg.capture import ExplainabilityCapture, batch_of, load_network
from consilience.domains.eeg.explanation_text import create_explainability_report
from consilience.domains.eeg.model import build
from consilience.errors import ConsilienceError
from consilience.training.ensemble import predict
from tests.unit.eeg_capture_examples import batch, graphs_of, network, write_study

# Refusals


@pytest.mark.parametrize(
    ("make", "heads", "message"),
    [
        (lambda: torch.nn.Linear(2, 2), 8, "^model: a Linear; expected a CrossModalNetwork"),
        (
            lambda: network(modalities=["eeg"]),
            4,
            r"^model: it reads eeg alone, and has no attention between modalities",
        ),
        (network, 8, "^num_heads: 8, but the model's attention has 4 heads; use num_heads=4"),
    ],
)
def test_other_networks_are_refused(make, heads, message):
    with pytest.raises(ConsilienceError, match=message):
        ExplainabilityCapture(make(), heads)


def all_absent():
    given = batch()
    given["mask_eeg"][3] = True
    return {"mask_eeg": given["mask_eeg"]}


def not_finite():
    values = batch()["eeg"]
    values[1, 2, 3, 4] = torch.inf
    return {"eeg": values}


GRAPHS = graphs_of(torch.zeros(5, 4, 19, 5))
CHANGES = [
    ({"eeg": None}, "^batch: neither eeg nor eeg_graphs; it has spectrogram, mask_eeg"),
    ({"eeg": torch.zeros(5, 4, 18, 5)}, r"^eeg: shape \(5, 4, 18, 5\); expected \(samples, windows, 19, 5\)"),
    ({"eeg": torch.zeros(5, 0, 19, 5)}, "^eeg: shape .*; expected .*, none of them 0"),
    (
        {"spectrogram": torch.zeros(5, 6, 4, 5)},
        r"^spectrogram: shape \(5, 6, 4, 5\); expected \(samples, windows, 4, 4\)",
    ),
    (
        {"spectrogram": torch.zeros(4, 6, 4, 4), "mask_spectrogram": None},
        "^batch: 5 samples of eeg and 4 samples of spec",
    ),
    (not_finite(), "^eeg: sample 1, window 2, P3 has a value that is not finite; .* true in mask_eeg"),
    (
        {"mask_eeg": torch.zeros(5, 4, 19, dtype=torch.bool)},
        r"^mask_eeg: torch.bool of shape \(5, 4, 19\); expected bool",
    ),
    ({"mask_eeg": torch.zeros(5, 4, 19, 5)}, "^mask_eeg: torch.float32 of shape"),
    ({"mask_egg": torch.zeros(5)}, "^batch: no modality has a mask_egg; expected mask_eeg or mask_spectrogram"),
    (all_absent(), "^mask_eeg: sample 3 has no window that is there; nothing can attend"),
    ({"targets": torch.tensor([0, 1, 2, 3, 0])}, "^targets: sample 3 has class 3; expected 0 to 2"),
    ({"targets": torch.tensor([0, 1, -1, 0, 0])}, "^targets: sample 2 has class -1; expected 0 to 2"),
    ({"targets": torch.tensor([0, 1])}, r"^targets: torch.int64 of shape \(2,\); expected classes \(5,\)"),
    ({"targets": torch.rand(5)}, r"^targets: \(5,\) fractions; expected finite ones of \(5, 3\), or classes"),
    ({"targets": torch.full((5, 3), torch.nan)}, "^targets: .*; expected finite ones"),
    ({"eeg": None, "eeg_graphs": []}, "^eeg_graphs: no window; expected a list of graphs over windows"),
    (
        {"eeg": None, "eeg_graphs": [*GRAPHS[:2], graphs_of(torch.zeros(4, 1, 19, 5))[0]]},
        r"^eeg_graphs: window 2 has x of shape \(76, 5\); expected 95 rows, 19 nodes for each of 5 samples",
    ),
]


@pytest.mark.parametrize(("changes", "message"), CHANGES)
def test_batches_that_do_not_fit_are_refused(changes, message):
    given = {name: value for name, value in (batch() | changes).items() if value is not None}
    with pytest.raises(ConsilienceError, match=message):
        ExplainabilityCapture(network(), 4).explain_batch(given)


@pytest.mark.parametrize("place", [5, -1])
def test_a_sample_that_is_not_there_is_refused(place):
    with pytest.raises(ConsilienceError, match=f"^sample_idx: {place}; the batch has samples 0 to 4"):
        ExplainabilityCapture(network(), 4).explain_single_sample(batch(), place)


# From results/


def test_from_results_to_an_explanation(tmp_path):
    dataset, path, ensemble = write_study(tmp_path)
    samples = ["segment-4", "segment-2"]
    module = load_network(path, member=1)
    assert not module.training
    given = batch_of(dataset, samples, path)
    results = ExplainabilityCapture(module, num_heads=4).explain_batch(given)
    inputs = given["eeg"].numpy(), given["spectrogram"].numpy()
    auxiliary = {name: given[name].numpy() for name in ("mask_eeg", "mask_spectrogram")}
    expected = predict(ensemble.network(build), ensemble.states, inputs, auxiliary)[1]
    np.testing.assert_allclose(results["logits"], expected, atol=1e-5)
    with Dataset.open(dataset) as opened:
        scaling, raw = ensemble.scalings["eeg"], opened.inputs("eeg")[[4, 2]]
        there = ~auxiliary["mask_eeg"]
        np.testing.assert_allclose(
            inputs[0][there], ((raw - scaling.center) / scaling.scale)[there], rtol=1e-5, atol=1e-6
        )
        np.testing.assert_array_equal(given["targets"], opened.target[[4, 2]])
        assert results["targets"].tolist() == opened.labels[[4, 2]].tolist()
    assert results["attention_dict"].absent["eeg"].tolist() == [[False] * 4, [True, False, False, False]]


@pytest.mark.parametrize(
    ("member", "message"),
    [(3, r"no member 3; it has 0, 1, 2"), (2, "member 2 was trained on permuted labels; there is nothing to explain")],
)
def test_members_that_cannot_be_explained_are_refused(tmp_path, member, message):
    _, path, _ = write_study(tmp_path)
    with pytest.raises(ConsilienceError, match=f"^{path}: {message}"):
        load_network(path, member)


def test_samples_and_ensembles_that_do_not_fit_are_refused(tmp_path):
    dataset, path, ensemble = write_study(tmp_path)
    with pytest.raises(ConsilienceError, match="no sample 'segment-9'"):
        batch_of(dataset, ["segment-9"], path)
    with pytest.raises(ConsilienceError, match="no sample is named; expected ids"):
        batch_of(dataset, [], path)
    vars(ensemble)["axis"] = "other"
    ensemble.save(path)
    with pytest.raises(ConsilienceError, match="model tiny was trained on other features"):
        batch_of(dataset, ["segment-1"], path)
    vars(ensemble).update(branches={"genes": (4,)}, scalings={"genes": ensemble.scalings["eeg"]})
    ensemble.save(path)
    for ask in (lambda: load_network(path), lambda: batch_of(dataset, ["segment-1"], path)):
        with pytest.raises(ConsilienceError, match="model tiny reads genes; expected eeg, spectrogram"):
            ask()


# The report


def test_the_report_tells_what_was_found(tmp_path):
    results = ExplainabilityCapture(network(), 4).explain_batch(batch())
    file = tmp_path / "new" / "report.txt"
    text = create_explainability_report(results, file, class_names=["seizure", "LPD", "other"])
    assert file.read_text(encoding="utf-8") == text
    assert text.index("BATCH-LEVEL STATISTICS") < text.index("PER-SAMPLE ANALYSIS")
    assert "Attention is not importance" in text
    right = sum(sample["correct"] for sample in results["per_sample_explanations"])
    assert f"Samples: 5, of which {right} predicted as labeled" in text
    assert f"EEG → Spectrogram Attention: {results['attention_stats']['eeg_to_spec']}" in text
    assert f"Modality Agreement: {results['modality_alignment']['modality_agreement']:.4f}" in text
    sample = results["per_sample_explanations"][2]
    part = text[text.index("Sample 2:") : text.index("Sample 3:")]
    name = ["seizure", "LPD", "other"][sample["predicted_class"]]
    assert f"Predicted: {sample['predicted_class']} ({name}), confidence: {sample['predicted_probability']:.4f}" in part
    assert ("✓ CORRECT" if sample["correct"] else "✗ WRONG") in part
    query, key, weight = sample["top_attention_pairs"]["eeg_to_spec"][0]
    # Of 6 windows of the spectrogram, 4 are there.
    assert f"Top EEG→Spec attention: window {query} → window {key}, weight {weight:.4f}, {4 * weight:.2f} times" in part
    assert max(len(line) for line in text[: text.index("BATCH")].splitlines()) <= 80


def test_the_report_uses_the_names_it_is_given():
    given = batch()
    results = ExplainabilityCapture(network(), 4).explain_single_sample(given, 3)
    names = {"eeg": [f"{place} s" for place in range(4)], "spectrogram": [f"minute {place}" for place in range(6)]}
    text = create_explainability_report(results, window_names=names, sample_names=["a", "b", "c", "segment d", "e"])
    assert "Sample 3 (segment d):" in text
    query, key, _ = results["top_attention_pairs"]["spec_to_eeg"][0]
    assert f"window {query} (minute {query}) → window {key} ({key} s)" in text
    with pytest.raises(ConsilienceError, match="^sample_names: 2 names, but there is a number 3"):
        create_explainability_report(results, sample_names=["a", "b"])
    del given["targets"]
    text = create_explainability_report(ExplainabilityCapture(network(), 4).explain_batch(given))
    assert "Ground Truth" not in text
    assert "Samples: 5\n" in text
