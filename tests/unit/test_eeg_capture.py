"""What is captured is what the network computes, sample by sample whatever their company, from tensors or old batches."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from consilience.domains import eeg
from consilience.domains.eeg.attention import AttentionAnalyzer, AttentionStatistics, head_wise_attention_analysis
from consilience.domains.eeg.attention_weights import AttentionMaps
from consilience.domains.eeg.capture import ExplainabilityCapture
from consilience.domains.eeg.explanation_text import create_explainability_report
from consilience.errors import ConsilienceError
from tests.unit.eeg_capture_examples import SHAPES, batch, graphs_of, network

KEYS = ["logits", "predictions", "targets", "attention_dict", "attention_stats", "modality_alignment"]
KEYS += ["per_sample_explanations"]
OF_SAMPLE = ["sample_idx", "predicted_class", "predicted_logit", "predicted_probability", "true_class", "correct"]
OF_SAMPLE += ["attention_stats", "top_attention_pairs", "modality_agreement", "head_entropies"]


def absent_of(given):
    return {name: given[f"mask_{name}"].flatten(2).all(dim=2) for name in SHAPES}


def same(found, expected, path="results"):
    """Explanations agree but for rounding."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), path
        for key in expected:
            same(found[key], expected[key], f"{path}.{key}")
    elif isinstance(expected, AttentionStatistics):
        same(vars(found), vars(expected), path)
    elif isinstance(expected, torch.Tensor):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), path
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            same(one, other, f"{path}.{place}")
    else:
        assert found == (pytest.approx(expected, rel=1e-4, abs=1e-6) if isinstance(expected, float) else expected), path


# What is captured


def test_logits_and_attention_are_the_networks_own():
    module, given, seen = network().eval(), batch(), {}
    for name in ("eeg_to_spec", "spec_to_eeg"):
        layer = getattr(module.fusion, name)
        keep = lambda part, args, kwargs, output, name=name: seen.update({name: (part, args, kwargs, output)})  # noqa: E731
        layer.register_forward_hook(keep, with_kwargs=True)
    results = ExplainabilityCapture(module, num_heads=4).explain_batch(given)
    assert list(results) == KEYS
    assert isinstance(results["attention_dict"], AttentionMaps)
    assert list(results["attention_dict"]) == ["eeg_to_spec", "spec_to_eeg"]
    assert results["attention_dict"]["eeg_to_spec"].shape == (5, 4, 4, 6)
    for name, (layer, args, kwargs, output) in dict(seen).items():
        assert torch.equal(results["attention_dict"][name], output[1])
        with torch.no_grad():
            averaged = layer(*args, key_padding_mask=kwargs["key_padding_mask"])[1]
        torch.testing.assert_close(results["attention_dict"][name].mean(dim=1), averaged)
        assert float(averaged.std()) > 0.02, "the example attends"
    with torch.no_grad():
        inputs = {name: values for name, values in given.items() if name != "targets"}
        torch.testing.assert_close(results["logits"], module(**inputs))
    assert torch.equal(results["predictions"], results["logits"].argmax(dim=1))
    assert torch.equal(results["targets"], given["targets"].argmax(dim=1))
    for name, expected in absent_of(given).items():
        assert torch.equal(results["attention_dict"].absent[name], expected)


def test_numbers_are_those_of_the_attention_and_of_what_is_there():
    given = batch()
    absent, analyzer = absent_of(given), AttentionAnalyzer(4)
    results = ExplainabilityCapture(network(), 4).explain_batch(given)
    maps = results["attention_dict"]
    other = {"eeg_to_spec": "spectrogram", "spec_to_eeg": "eeg"}
    own = {"eeg_to_spec": "eeg", "spec_to_eeg": "spectrogram"}
    for direction, weights in maps.items():
        expected = analyzer.analyze_attention_weights(
            weights, direction, absent[other[direction]], absent[own[direction]]
        )
        assert results["attention_stats"][direction] == expected
        assert results["modality_alignment"][f"{direction}_entropy"] == expected.entropy
    agreement = analyzer.compare_modality_agreement(*maps.values(), absent["eeg"], absent["spectrogram"])
    assert results["modality_alignment"]["modality_agreement"] == agreement
    each = [sample["modality_agreement"] for sample in results["per_sample_explanations"]]
    assert agreement == pytest.approx(np.mean(each))
    heads = head_wise_attention_analysis(maps, 4)["eeg_to_spec"]
    mean = np.mean([head["statistics"].entropy for head in heads.values()])
    assert mean == pytest.approx(results["attention_stats"]["eeg_to_spec"].entropy)


def test_every_sample_has_its_own_explanation():
    given = batch()
    absent, analyzer = absent_of(given), AttentionAnalyzer(4)
    results = ExplainabilityCapture(network(), 4).explain_batch(given)
    probabilities = softmax(results["logits"].double().numpy(), axis=1)
    forward = results["attention_dict"]["eeg_to_spec"]
    for place, sample in enumerate(results["per_sample_explanations"]):
        assert list(sample) == OF_SAMPLE
        predicted, true = int(results["predictions"][place]), int(results["targets"][place])
        assert (sample["sample_idx"], sample["predicted_class"], sample["true_class"]) == (place, predicted, true)
        assert sample["correct"] is (predicted == true)
        assert sample["predicted_logit"] == float(results["logits"][place].max())
        assert sample["predicted_probability"] == pytest.approx(probabilities[place].max())
        rows = slice(place, place + 1)
        masks = {"absent": absent["spectrogram"][rows], "absent_queries": absent["eeg"][rows]}
        assert sample["attention_stats"]["eeg_to_spec"] == analyzer.analyze_attention_weights(forward[rows], **masks)
        pairs = analyzer.get_top_attention_pairs(forward[rows], 5, **masks)
        assert sample["top_attention_pairs"]["eeg_to_spec"] == pairs
        assert len(sample["top_attention_pairs"]["spec_to_eeg"]) == 5
        entropies = analyzer.compute_attention_entropy(forward[rows], per_head=True, **masks)
        assert sample["head_entropies"]["eeg_to_spec"] == list(entropies.values())
        assert len(sample["head_entropies"]["spec_to_eeg"]) == 4


def test_an_explanation_does_not_depend_on_its_company():
    capture, given = ExplainabilityCapture(network(), 4), batch()
    together = capture.explain_batch(given)["per_sample_explanations"]
    reverse = {name: values.flip(0) for name, values in given.items()}
    reversed_ = capture.explain_batch(reverse)["per_sample_explanations"][::-1]
    for place, expected in enumerate(together):
        alone = {name: values[place : place + 1] for name, values in given.items()}
        (found,) = capture.explain_batch(alone)["per_sample_explanations"]
        same(found | {"sample_idx": place}, expected)
        same(reversed_[place] | {"sample_idx": place}, expected)


def test_one_sample_is_explained_without_computing_the_others():
    module, given, seen = network(), batch(), []
    capture = ExplainabilityCapture(module, 4)
    expected = capture.explain_batch(given)
    module.fusion.register_forward_hook(lambda part, args, output: seen.append(len(args[0])))
    found = capture.explain_single_sample(given, 3)
    assert seen == [1]
    assert set(found) == {*KEYS, *OF_SAMPLE}
    same(found["per_sample_explanations"], expected["per_sample_explanations"][3:4])
    same({name: found[name] for name in OF_SAMPLE}, expected["per_sample_explanations"][3])
    same(found["logits"], expected["logits"][3:4])
    assert found["attention_stats"] == found["per_sample_explanations"][0]["attention_stats"]
    assert found["attention_dict"]["spec_to_eeg"].shape == (1, 4, 6, 4)
    assert capture.explain_single_sample(given)["sample_idx"] == 0


def test_the_mode_of_every_part_is_left_as_it_was():
    module = network()
    module.train()
    module.encoders["eeg"].eval()
    before = {name: part.training for name, part in module.named_modules()}
    capture = ExplainabilityCapture(module, 4)
    first, again = (capture.explain_batch(batch())["logits"] for _ in range(2))
    assert torch.equal(first, again), "dropout was on"
    assert not first.requires_grad
    module.classifier.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        capture.explain_batch(batch())
    assert {name: part.training for name, part in module.named_modules()} == before
    assert len(set(before.values())) == 2


def test_targets_may_be_classes_votes_or_unknown():
    capture, given = ExplainabilityCapture(network(), 4), batch()
    classes = given["targets"].argmax(dim=1)
    for changed in ({"targets": classes}, {"targets": classes.numpy()}, {"targets": None, "target": classes}):
        changed = {name: value for name, value in (given | changed).items() if value is not None}
        assert torch.equal(capture.explain_batch(changed)["targets"], classes)
    del given["targets"]
    results = capture.explain_batch(given)
    assert results["targets"] is None
    assert results["per_sample_explanations"][0]["true_class"] is None
    assert results["per_sample_explanations"][0]["correct"] is None


def test_arrays_are_taken_as_tensors_are():
    capture, given = ExplainabilityCapture(network(), 4), batch()
    arrays = {name: values.numpy() for name, values in given.items()}
    assert torch.equal(capture.explain_batch(arrays)["logits"], capture.explain_batch(given)["logits"])


def test_a_single_token_is_uninformative():
    windows = {"eeg": 1, "spectrogram": 1}
    results = ExplainabilityCapture(network(windows), 4).explain_batch(batch(2, windows, masks=False))
    assert not results["attention_stats"]["eeg_to_spec"].informative
    assert set(results["modality_alignment"].values()) == {None}
    (sample, _) = results["per_sample_explanations"]
    assert sample["modality_agreement"] is None
    assert sample["head_entropies"] == {"eeg_to_spec": [None] * 4, "spec_to_eeg": [None] * 4}
    assert sample["top_attention_pairs"] == {"eeg_to_spec": [], "spec_to_eeg": []}
    text = create_explainability_report(results)
    assert text.count("uninformative: attention over a single token") == 6
    assert "Modality Agreement: not defined" in text
    assert "nan" not in text.lower().replace("explanation", "")


def test_lines_of_the_earlier_guide_run():
    results = eeg.ExplainabilityCapture(network(heads=8), num_heads=8).explain_batch(batch())
    stats = eeg.AttentionAnalyzer(num_heads=8).analyze_attention_weights(results["attention_dict"]["eeg_to_spec"])
    assert f"{stats.mean:.4f} {stats.entropy:.4f} {stats.sparsity:.2f}%"
    explanations = results["per_sample_explanations"]
    entropies = [np.mean(list(sample["head_entropies"].values())) for sample in explanations]
    assert all(0 < value < 1 for value in entropies)
    assert (results["predictions"] == results["targets"]).float().mean() == np.mean(
        [one["correct"] for one in explanations]
    )
    for head, own in eeg.head_wise_attention_analysis(results["attention_dict"], num_heads=8)["spec_to_eeg"].items():
        assert f"Head {head}: {own['statistics']}, {own['specialization_score']:.4f}, {own['top_pairs']}"
    query, key, weight = explanations[0]["top_attention_pairs"]["eeg_to_spec"][0]
    assert results["attention_dict"]["eeg_to_spec"][0, :, query, key].mean() == pytest.approx(weight)
    figure = eeg.plot_cross_modal_attention(results["attention_dict"], sample_idx=0)
    assert "sample 0" in figure.get_suptitle()


# The earlier layout


def test_batches_of_graphs_are_taken():
    given, capture = batch(3, masks=False), ExplainabilityCapture(network(), 4)
    earlier = {"eeg_graphs": graphs_of(given["eeg"]), "spec_graphs": graphs_of(given["spectrogram"])}
    earlier |= {"target": given["targets"].argmax(dim=1), "patient_id": ["a", "b", "c"]}
    same(capture.explain_batch(earlier), capture.explain_batch(given))
    same(capture.explain_single_sample(earlier, 1), capture.explain_single_sample(given, 1))


def test_coherence_is_taken_from_the_edges_of_graphs():
    given = batch(3, masks=False)
    values = torch.rand(3, 4, 19, 19, generator=torch.Generator().manual_seed(1)).triu(1)
    values[values < 0.6] = 0
    values[1, 2] = 0
    coherence = values + values.transpose(2, 3)
    capture = ExplainabilityCapture(network(coherence=True), 4)
    expected = capture.explain_batch(given | {"coherence": coherence})
    earlier = {"eeg_graphs": graphs_of(given["eeg"], coherence), "spec_graphs": graphs_of(given["spectrogram"])}
    same(capture.explain_batch(earlier | {"targets": given["targets"]}), expected)
    other = capture.explain_batch(given | {"coherence": torch.zeros_like(coherence)})
    assert not torch.allclose(other["logits"], expected["logits"])
    with pytest.raises(ConsilienceError, match="^batch: no coherence, which the model was built for"):
        capture.explain_batch(given)
    with pytest.raises(ConsilienceError, match=r"^coherence: shape \(3, 4, 19\); expected \(3, 4, 19, 19\)"):
        capture.explain_batch(given | {"coherence": coherence[..., 0]})
