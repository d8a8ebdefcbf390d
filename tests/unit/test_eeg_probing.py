"""What EEG networks say when parts of them or of their input are taken away, against networks called one by one."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from consilience.dataset import Dataset
from consilience.domains.eeg import model as network_module
from consilience.domains.eeg import probing
from consilience.domains.eeg.asked import ALL
from consilience.domains.eeg.model import build
from consilience.domains.eeg.montage import CHANNELS, EDGES, NODES
from consilience.errors import ConsilienceError
from consilience.training.ensemble import build_network
from consilience.training.members import member_seed
from tests.unit.eeg_networks import BRANCHES, WINDOWS, Study, centered, write_study

SAMPLES = ["s13", "s20", "s12", "s17", "s15"]  # among them all with something absent
DIRECTIONS = {"eeg_to_spec": ("eeg", "spectrogram"), "spec_to_eeg": ("spectrogram", "eeg")}


@pytest.fixture(scope="module", params=["adjacency", "coherence"])
def study(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("eeg") / "dataset.h5"
    with Dataset.open(write_study(path, coherence=request.param == "coherence")) as dataset:
        yield Study.of(dataset)


@pytest.fixture(scope="module")
def networks(study, tmp_path_factory):
    return study.networks(tmp_path_factory.mktemp("ensemble") / "e.safetensors")


@torch.no_grad()
def outputs(module, inputs, auxiliary):
    return module(*inputs, **auxiliary)[0].double().numpy()


def tokens_of(module, inputs, auxiliary):
    """Tokens (windows, width) and absent windows of one sample by branch, as the fusion is given them."""
    given = {}

    def see(_module, arguments):
        given["arguments"] = arguments

    handle = module.fusion.register_forward_pre_hook(see)
    outputs(module, inputs, auxiliary)
    handle.remove()
    eeg, spectrogram, eeg_absent, spectrogram_absent = given["arguments"]
    return {"eeg": (eeg[0], eeg_absent[0]), "spectrogram": (spectrogram[0], spectrogram_absent[0])}


def plain_attention(module, direction, tokens, weigh=None):
    """Weights of every head and what each adds to its queries, written out; `weigh` may replace the weights."""
    attention, (queries, keys) = getattr(module.fusion, direction), DIRECTIONS[direction]
    size = attention.head_dim
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    width = attention.embed_dim
    maps, parts = [], []
    for head in range(attention.num_heads):
        rows = slice(head * size, (head + 1) * size)
        q, k, v = (
            tokens[name][0] @ weight[start : start + width][rows].T + bias[start : start + width][rows]
            for start, name in ((0, queries), (width, keys), (2 * width, keys))
        )
        scores = (q @ k.T / size**0.5).masked_fill(tokens[keys][1], -torch.inf)
        weights = scores.softmax(dim=1) if weigh is None else weigh(head, scores.softmax(dim=1))
        maps.append(weights)
        parts.append(weights @ v @ attention.out_proj.weight[:, rows].T)
    return torch.stack(maps), torch.stack(parts)


@torch.no_grad()
def plain_outputs(module, inputs, auxiliary, changes):
    """Raw outputs with heads changed: `changes` holds by direction a function of head and its part, or of weights."""
    tokens, pooled = tokens_of(module, inputs, auxiliary), []
    for direction, (queries, _) in DIRECTIONS.items():
        kind, heads = changes.get(direction, ("", ()))
        there = (~tokens[DIRECTIONS[direction][1]][1]).float()

        def weigh(head, weights, kind=kind, heads=heads, there=there):
            return (there / there.sum()).expand_as(weights) if kind == "uniform" and head in heads else weights

        _, parts = plain_attention(module, direction, tokens, weigh)
        kept = [part for head, part in enumerate(parts) if not (kind == "removed" and head in heads)]
        attended = sum(kept, torch.zeros_like(parts[0])) + getattr(module.fusion, direction).out_proj.bias
        states = module.fusion.normalizations[direction](tokens[queries][0] + attended)
        scores = module.fusion.pools[direction].score(states)[:, 0].masked_fill(tokens[queries][1], -torch.inf)
        pooled.append((scores.softmax(dim=0)[:, None] * states).sum(dim=0))
    return module.classifier(torch.cat(pooled)[None])[0].double().numpy()


def test_predictions_are_those_of_every_network_and_sample_alone(study, networks):
    found = networks.predictions(SAMPLES)
    assert found.logits.shape == found.probabilities.shape == (2, len(SAMPLES), 3)
    for member, module in enumerate(study.modules[:2]):
        for place, sample in enumerate(SAMPLES):
            raw = outputs(module, *study.inputs(sample))
            np.testing.assert_allclose(found.logits[member, place], centered(raw), atol=1e-5)
            np.testing.assert_allclose(
                found.probabilities[member, place], functional.softmax(torch.tensor(raw), 0), atol=1e-5
            )
    assert np.ptp(found.logits, axis=1).min() > 0.01


def test_members_on_permuted_labels_are_not_asked(study, networks):
    assert [member.permuted for member in study.ensemble.members] == [0, 0, 1]
    assert len(networks.members) == 2
    assert networks.numbers == [0, 1]


def test_of_two_classes_there_is_one_log_odds(tmp_path):
    with Dataset.open(write_study(tmp_path / "dataset.h5", classes=2)) as dataset:
        study = Study.of(dataset)
        networks = study.networks(tmp_path / "e.safetensors")
        found = networks.predictions(SAMPLES)
        assert found.logits.shape == (2, len(SAMPLES), 1)
        for place, sample in enumerate(SAMPLES):
            raw = outputs(study.modules[1], *study.inputs(sample))
            np.testing.assert_allclose(found.logits[1, place], centered(raw), atol=1e-5)
        probability = 1 / (1 + np.exp(-found.logits[..., 0]))
        np.testing.assert_allclose(found.probabilities[..., 1], probability, atol=1e-6)
        assert networks.coalitions(SAMPLES)[frozenset()].shape == (2, len(SAMPLES), 1)


def test_attention_is_that_of_every_head_and_knows_what_is_absent(study, networks):
    found = networks.attention(SAMPLES)
    # The last module was trained on permuted labels, and is not asked.
    for module, maps in zip(study.modules[:2], found, strict=True):
        for place, sample in enumerate(SAMPLES):
            tokens = tokens_of(module, *study.inputs(sample))
            for direction, (queries, keys) in DIRECTIONS.items():
                with torch.no_grad():
                    weights, _ = plain_attention(module, direction, tokens)
                own = maps[direction]
                assert own.values.shape == (len(SAMPLES), 2, WINDOWS[queries], WINDOWS[keys])
                np.testing.assert_allclose(own.values[place], weights, atol=1e-5)
                np.testing.assert_array_equal(own.queries[place], ~tokens[queries][1])
                np.testing.assert_array_equal(own.keys[place], ~tokens[keys][1])
    forward = found[0]["eeg_to_spec"]
    assert (~forward.queries).sum() == (~forward.keys).sum() == 1


def test_untrained_networks_are_those_that_training_starts_from(study, networks):
    for member, module in zip(networks.ensemble.members, networks.untrained, strict=True):
        seed = member_seed(0, "tiny", member, "initialization")
        expected = build_network(build, study.ensemble.specification, study.ensemble.context, seed).state_dict()
        for name, values in module.state_dict().items():
            torch.testing.assert_close(values, expected[name])
        assert not module.training
    trained, untrained = networks.attention(SAMPLES), networks.attention(SAMPLES, untrained=True)
    assert np.abs(trained[0]["eeg_to_spec"].values - untrained[0]["eeg_to_spec"].values).max() > 0.05


def test_knockouts_are_those_of_attention_written_out(study, networks):
    found = networks.knockouts(SAMPLES)
    changes = {
        (direction, head, kind): {direction: (kind, range(2) if head == ALL else [head])}
        for direction in DIRECTIONS
        for head in (0, 1, ALL)
        for kind in ("removed", "uniform")
    }
    changes |= {("both", ALL, kind): dict.fromkeys(DIRECTIONS, (kind, range(2))) for kind in ("removed", "uniform")}
    assert set(found) == set(changes)
    whole = networks.predictions(SAMPLES).logits
    for change, written in changes.items():
        for member, module in enumerate(study.modules[:2]):
            for place, sample in list(enumerate(SAMPLES))[2:]:
                raw = plain_outputs(module, *study.inputs(sample), written)
                np.testing.assert_allclose(found[change].logits[member, place], centered(raw), atol=2e-5)
        assert np.abs(found[change].logits - whole).max() > 1e-3
    again = networks.predictions(SAMPLES).logits
    np.testing.assert_array_equal(again, whole)


def references(study, sample, own):
    """The inputs of a sample with the modalities that are not among its `own` at the mean of the training role."""
    inputs, auxiliary = study.inputs(sample)
    training = np.flatnonzero(study.split["role"] == "train")
    for place, branch in enumerate(BRANCHES):
        if branch not in own:
            scaling = study.ensemble.scalings[branch]
            values = (study.dataset.inputs(branch, training) - scaling.center) / scaling.scale
            mean = torch.from_numpy(values.mean(axis=0)).float()[None]
            inputs[place] = torch.where(auxiliary[f"mask_{branch}"], inputs[place], mean)
    return inputs, auxiliary


def test_coalitions_have_the_others_at_the_reference_and_what_is_masked_as_it_is(study, networks):
    found = networks.coalitions(SAMPLES)
    assert set(found) == {frozenset(own) for own in ((), ("eeg",), ("spectrogram",), BRANCHES)}
    for own, values in found.items():
        for place, sample in enumerate(SAMPLES):
            raw = outputs(study.modules[1], *references(study, sample, own))
            np.testing.assert_allclose(values[1, place], centered(raw), atol=1e-5)


def test_coalitions_use_the_reference_of_the_study(study, networks, tmp_path):
    other = study.networks(tmp_path / "e.safetensors", reference="zero").coalitions(SAMPLES)
    found = networks.coalitions(SAMPLES)
    np.testing.assert_array_equal(other[frozenset(BRANCHES)], found[frozenset(BRANCHES)])
    assert np.abs(other[frozenset()] - found[frozenset()]).max() > 1e-4


@pytest.mark.parametrize("untrained", [False, True])
def test_windows_are_lost_one_by_one_in_one_modality(study, networks, untrained):
    found = networks.windows(SAMPLES, untrained)
    module = networks.untrained[1] if untrained else study.modules[1]
    assert {name: own.shape for name, own in found.items()} == {
        name: (WINDOWS[name], 2, len(SAMPLES), 3) for name in BRANCHES
    }
    for place, sample in enumerate(SAMPLES):
        whole, auxiliary = references(study, sample, BRANCHES)
        away, _ = references(study, sample, ())
        for column, branch in enumerate(BRANCHES):
            for window in range(WINDOWS[branch]):
                inputs = [part.clone() for part in whole]
                inputs[column][:, window] = away[column][:, window]
                fall = centered(outputs(module, whole, auxiliary)) - centered(outputs(module, inputs, auxiliary))
                np.testing.assert_allclose(found[branch][window, 1, place], fall, atol=2e-5)
    # What is absent is not lost.
    assert np.abs(found["eeg"][2, :, SAMPLES.index("s15")]).max() < 1e-6
    assert np.abs(found["spectrogram"][0, :, SAMPLES.index("s17")]).max() < 1e-6
    assert all(np.abs(own).max() > 1e-4 for own in found.values())


def joined_by_hand(study, sample, branch, first, second):
    _, auxiliary = study.inputs(sample)
    one, other = (NODES[branch].index(name) for name in (first, second))
    there = ~auxiliary[f"mask_{branch}"].all(dim=-1)[0]
    both = there[:, one] & there[:, other]
    if branch == "eeg" and "coherence" in auxiliary:
        both &= auxiliary["coherence"][0, :, one, other] > 0
    return bool(both.any())


def without_by_hand(study, sample, branch, first, second, monkeypatch):
    """Raw outputs of a network that is built without a pair, with the trained weights."""
    inputs, auxiliary = study.inputs(sample)
    module = study.modules[0]
    if branch == "eeg" and "coherence" in auxiliary:
        one, other = CHANNELS.index(first), CHANNELS.index(second)
        auxiliary["coherence"][0, :, [one, other], [other, one]] = 0
        return outputs(module, inputs, auxiliary)
    left = tuple(pair for pair in EDGES[branch] if pair != (first, second))
    with monkeypatch.context() as patch:
        patch.setattr(network_module, "EDGES", EDGES | {branch: left})
        other = build(study.ensemble.specification, study.ensemble.context).eval()
    other.load_state_dict(module.state_dict())
    return outputs(other, inputs, auxiliary)


def test_edges_are_those_of_networks_built_without_them(study, networks, monkeypatch):
    found = networks.edges(SAMPLES)
    whole = networks.predictions(SAMPLES).logits
    weighted = "coherence" in study.ensemble.auxiliary
    if not weighted:
        assert found.pairs == [(branch, *pair) for branch in BRANCHES for pair in EDGES[branch]]
    assert len(set(found.pairs)) == len(found.pairs) > 30
    assert found.logits.shape == (len(found.pairs), 2, len(SAMPLES), 3)
    for place, pair in enumerate(found.pairs):
        joined = [joined_by_hand(study, sample, *pair) for sample in SAMPLES]
        np.testing.assert_array_equal(np.isfinite(found.logits[place]).all(axis=(0, 2)), joined)
        assert any(joined)
        if place % 6 == 0 or pair[0] == "spectrogram":
            row = joined.index(True)
            raw = without_by_hand(study, SAMPLES[row], *pair, monkeypatch)
            np.testing.assert_allclose(found.logits[place, 0, row], centered(raw), atol=1e-5)
    assert np.nanmax(np.abs(found.logits - whole)) > 0.01
    torch.testing.assert_close(
        networks.members[0].encoders["eeg"].graph.edges, study.modules[0].encoders["eeg"].graph.edges
    )


def test_an_edge_of_a_channel_that_is_absent_is_not_there(study, networks):
    found = networks.edges(["s13"])
    assert not [pair for pair in found.pairs if "F3" in pair]


def everything(networks, samples):
    maps = networks.attention(samples)
    return [
        networks.predictions(samples).probabilities,
        *(own.values[None] for one in maps for own in one.values()),
        *networks.coalitions(samples).values(),
        *(own[window] for own in networks.windows(samples).values() for window in range(len(own))),
        *(said.logits for said in networks.knockouts(samples).values()),
    ]


def test_batches_are_as_large_as_the_study_and_memory_allow(study, networks, tmp_path, monkeypatch):
    def sizes(asked):
        return [len(batch.inputs[0]) for batch in asked._batches(SAMPLES)]

    assert sizes(networks) == [5]
    one = study.networks(tmp_path / "e.safetensors", internal_batch=3)
    assert sizes(one) == [3, 2]
    other = study.networks(tmp_path / "e.safetensors")
    monkeypatch.setattr(probing, "MESSAGES_AT_ONCE", 2 * other._messages("eeg") + 1)
    assert sizes(other) == [2, 2, 1]


def test_the_size_of_batches_changes_nothing(study, networks, tmp_path):
    other, samples = study.networks(tmp_path / "e.safetensors", internal_batch=2), SAMPLES[:3]
    for one, two in zip(everything(networks, samples), everything(other, samples), strict=True):
        np.testing.assert_allclose(two, one, atol=1e-5)
    first, second = networks.edges(samples), other.edges(samples)
    assert first.pairs == second.pairs
    np.testing.assert_allclose(second.logits, first.logits, atol=1e-5)


def test_messages_are_counted_in_the_widest_layer(study, networks):
    edges = 19 * 19 if "coherence" in study.ensemble.auxiliary else 19 + 64
    assert networks._messages("eeg") == 5 * edges * 6
    assert networks._messages("spectrogram") == 7 * (4 + 8) * 6


def test_the_order_and_company_of_samples_change_nothing(networks):
    samples = SAMPLES[2:]
    found, turned = everything(networks, samples), everything(networks, samples[::-1])
    alone = everything(networks, samples[1:2])
    for one, other, single in zip(found, turned, alone, strict=True):
        np.testing.assert_allclose(other[:, ::-1], one, atol=1e-5)
        np.testing.assert_allclose(single[:, 0], one[:, 1], atol=1e-5)
    edges, others = networks.edges(samples), networks.edges(samples[::-1])
    np.testing.assert_allclose(others.logits[:, :, ::-1], edges.logits, atol=1e-5)


@pytest.mark.parametrize("modality", BRANCHES)
def test_a_network_of_one_modality_has_its_own_edges_alone(tmp_path, modality):
    with Dataset.open(write_study(tmp_path / "dataset.h5")) as dataset:
        study = Study.of(dataset, modalities=[modality])
        networks = study.networks(tmp_path / "e.safetensors")
        assert not networks.fused
        assert networks.modalities == [modality]
        edges = networks.edges(SAMPLES)
        assert edges.pairs == [(modality, *pair) for pair in EDGES[modality]]
        raw = outputs(study.modules[0], *study.inputs("s12"))
        np.testing.assert_allclose(networks.predictions(SAMPLES).logits[0, 2], centered(raw), atol=1e-5)
        assert set(networks.coalitions(SAMPLES)) == {frozenset(), frozenset([modality])}
        assert set(networks.windows(SAMPLES)) == {modality}


def test_an_unknown_sample_is_refused_with_the_nearest(networks):
    with pytest.raises(ConsilienceError, match="no sample 's99'"):
        networks.predictions(["s12", "s99"])
