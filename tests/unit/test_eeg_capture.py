"""What is captured is what the network computes, sample by sample whatever their company, from results/ or old batches."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from torch_geometric.data import Batch, Data
from torch_geometric.utils import dense_to_sparse

from consilience.configuration import slice_schema
from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains import eeg
from consilience.domains.eeg.attention import AttentionAnalyzer, AttentionStatistics, head_wise_attention_analysis
from consilience.domains.eeg.attention_weights import AttentionMaps
from consilience.domains.eeg.capture import ExplainabilityCapture, batch_of, load_network
from consilience.domains.eeg.explanation_text import create_explainability_report
from consilience.domains.eeg.model import build
from consilience.errors import ConsilienceError
from consilience.networks import NetworkContext
from consilience.scaling import fit
from consilience.study_checks import completed
from consilience.training.data import context_of, feature_axis
from consilience.training.ensemble import Ensemble, predict, stack_states
from consilience.training.members import Member

TINY = {"graph_channels": 4, "graph_heads": 2, "recurrent_width": 4, "recurrent_layers": 1, "heads": 4, "hidden": [5]}
WINDOWS = {"eeg": 4, "spectrogram": 6}
SHAPES = {"eeg": (19, 5), "spectrogram": (4, 4)}
CLASSES = 3
KEYS = ["logits", "predictions", "targets", "attention_dict", "attention_stats", "modality_alignment"]
KEYS += ["per_sample_explanations"]
OF_SAMPLE = ["sample_idx", "predicted_class", "predicted_logit", "predicted_probability", "true_class", "correct"]
OF_SAMPLE += ["attention_stats", "top_attention_pairs", "modality_agreement", "head_entropies"]


def specification(**changes):
    return completed(TINY | changes, slice_schema("eeg")["properties"]["models"]["additionalProperties"])


def network(windows=WINDOWS, coherence=False, seed=0, **changes):
    torch.manual_seed(seed)
    auxiliary = {"coherence": (windows["eeg"], 19, 19)} if coherence else {}
    shapes = {name: (windows[name], *SHAPES[name]) for name in SHAPES}
    module = build(specification(**changes), NetworkContext(shapes, CLASSES, auxiliary, 111))
    for name, values in module.named_parameters():
        if "in_proj" in name or "weight_ih" in name:
            # So that attention is far from uniform.
            torch.nn.init.normal_(values, std=1.5)
    return module


def batch(samples=5, windows=WINDOWS, seed=0, masks=True):
    """Inputs with some channels and some whole windows absent, and votes."""
    generator = torch.Generator().manual_seed(seed)
    values = {
        name: torch.randn(samples, windows[name], *SHAPES[name], generator=generator) for name in ("eeg", "spectrogram")
    }
    if masks:
        for name, own in dict(values).items():
            mask = torch.zeros_like(own, dtype=torch.bool)
            mask[0, :, 1] = True
            mask[1, 0] = True
            mask[2, -2:] = True
            own[mask] = 0
            values[f"mask_{name}"] = mask
    votes = torch.rand(samples, CLASSES, generator=generator)
    return values | {"targets": votes / votes.sum(dim=1, keepdim=True)}


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


def graphs_of(values, coherence=None):
    """A torch_geometric Batch a window; without coherence, with edges that nothing reads."""
    found = []
    for window in range(values.shape[1]):
        parts = []
        for sample in range(len(values)):
            edges, weights = torch.tensor([[0, 1], [1, 0]]), torch.ones(2, 1)
            if coherence is not None:
                edges, weights = dense_to_sparse(coherence[sample, window])
                weights = weights.unsqueeze(1)
            parts.append(Data(x=values[sample, window], edge_index=edges, edge_attr=weights))
        found.append(Batch.from_data_list(parts))
    return found


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


def write_study(folder, samples=6):
    """A dataset of votes with masks, and an ensemble of two members on real labels and one on permuted ones."""
    random = np.random.default_rng(0)
    shapes = {name: (WINDOWS[name], *SHAPES[name]) for name in SHAPES}
    path = folder / "dataset.h5"
    with write_dataset(
        path, "votes", "pattern", classes=["a", "b", "c"], unit="dB", source="test", source_sha256="0"
    ) as new:
        names = [f"{name}{unit}" for name in SHAPES for unit in range(np.prod(SHAPES[name]))]
        branches = [name for name in SHAPES for _ in range(np.prod(SHAPES[name]))]
        new.features(pd.DataFrame({"name": names, "branch": branches}))
        start = 0
        for name, shape in shapes.items():
            count = int(np.prod(SHAPES[name]))
            units = np.broadcast_to(np.arange(start, start + count).reshape(SHAPES[name]), shape)
            start += count
            new.branch(name, units, samples, "band", masked=True)
            mask = np.zeros((samples, *shape), bool)
            mask[2, 0] = True
            new.append(name, random.normal(3, 2, (samples, *shape)), mask)
        new.target(random.dirichlet(np.ones(3), samples))
        new.samples(pd.DataFrame({"id": [f"segment-{place}" for place in range(samples)]}))
    with Dataset.open(path) as dataset:
        modules = [network(seed=seed) for seed in range(3)]
        ensemble = Ensemble(
            model="tiny", specification=specification(), task="votes", outputs=3, features=len(names),
            axis=feature_axis(dataset), branches=context_of(dataset).branches, auxiliary={},
            members=[Member(0, 0), Member(1, 1), Member(2, 0, permuted=1)],
            states=stack_states([module.state_dict() for module in modules]),
            scalings={name: fit(dataset, name, np.arange(4)) for name in shapes}, target_center=0.0, target_scale=1.0,
        )  # fmt: skip
    ensemble.save(folder / "ensemble.safetensors")
    return path, folder / "ensemble.safetensors", ensemble


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
