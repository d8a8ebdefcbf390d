"""The network of eeg: graphs as torch_geometric batches them, masks that nothing leaks through, left told from right."""

from fractions import Fraction

import numpy as np
import pytest
import torch
import yaml
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GATConv

from consilience.domains import slices
from consilience.domains.eeg.fusion import AttentionPooling, CrossModalFusion
from consilience.domains.eeg.graphs import GraphEncoder, directed, repeated, weighted
from consilience.domains.eeg.model import build
from consilience.domains.eeg.montage import CHAINS, CHANNELS, EDGES, NEIGHBORS, NODES, REGIONS, windows
from consilience.errors import ConsilienceError
from consilience.networks import NetworkContext

SCHEMA = yaml.safe_load((slices()["eeg"] / "schema.yaml").read_text())
KEYS = SCHEMA["properties"]["models"]["additionalProperties"]["properties"]
DOCUMENTED = {name: part["default"] for name, part in KEYS.items()}
SMALL = DOCUMENTED | {"graph_channels": 6, "graph_heads": 2, "recurrent_width": 8, "recurrent_layers": 1, "heads": 4, "hidden": [8]}  # fmt: skip
SHAPES = {"eeg": (3, 19, 5), "spectrogram": (4, 4, 4)}
MIRROR = {"F7": "F8", "T3": "T4", "T5": "T6", "Fp1": "Fp2", "F3": "F4", "C3": "C4", "P3": "P4", "O1": "O2"}


def network(outputs=3, shapes=SHAPES, auxiliary=None, seed=0, **keys):
    torch.manual_seed(seed)
    return build(SMALL | keys, NetworkContext(shapes, outputs, auxiliary or {}, 111)).eval()


def drawn(samples=5, seed=0, shapes=SHAPES):
    torch.manual_seed(seed)
    return [torch.randn(samples, *shapes[name]) for name in ("eeg", "spectrogram")]


def masks(samples=5, shapes=SHAPES):
    return {f"mask_{name}": torch.zeros(samples, *shape, dtype=torch.bool) for name, shape in shapes.items()}


def test_the_neighbors_are_those_of_the_head():
    # Rows from front to back, columns from left to right.
    grid = {
        "Fp1": (0, 1), "Fp2": (0, 3), "F7": (1, 0), "F3": (1, 1), "Fz": (1, 2), "F4": (1, 3), "F8": (1, 4),
        "T3": (2, 0), "C3": (2, 1), "Cz": (2, 2), "C4": (2, 3), "T4": (2, 4),
        "T5": (3, 0), "P3": (3, 1), "Pz": (3, 2), "P4": (3, 3), "T6": (3, 4), "O1": (4, 1), "O2": (4, 3),
    }  # fmt: skip
    assert set(grid) == set(CHANNELS)
    side_by_side = {
        frozenset((first, second))
        for first, (row, column) in grid.items()
        for second, (other_row, other_column) in grid.items()
        if first != second and abs(row - other_row) + abs(column - other_column) == 1
    }
    at_the_ends = {frozenset(pair) for pair in [("Fp1", "F7"), ("Fp2", "F8"), ("T5", "O1"), ("T6", "O2"), ("Fp1", "Fp2"), ("O1", "O2")]}  # fmt: skip
    assert {frozenset(pair) for pair in NEIGHBORS} == side_by_side | at_the_ends
    assert len(NEIGHBORS) == 32
    for region, chain in CHAINS.items():
        assert ["left", "right"]["R" in region] == ("left" if all(int(name[-1]) % 2 for name in chain) else "right")


def test_the_documented_network_has_the_parameters_that_its_layers_have():
    context = NetworkContext({"eeg": (9, 19, 5), "spectrogram": (119, 4, 4)}, 6, {}, 111)
    found = sum(part.numel() for part in build(DOCUMENTED | {"readout": "mean"}, context).parameters())

    def gat(bands):
        first = bands * 256 + 2 * 256 + 256 + 2 * 256  # weights, attention, bias, layer norm
        second = 256 * 256 + 2 * 256 + 64 + 2 * 64
        return first + second

    layer = [4 * (128 * (inputs + 128) + 2 * 128) * 2 for inputs in (64, 256)]
    encoders = gat(5) + gat(4) + 2 * (2 * 64 + sum(layer))
    fusion = 2 * (4 * 256 * 256 + 4 * 256 + 2 * 256 + 256 * 128 + 128 + 128 + 1)
    classifier = 512 * 256 + 3 * 256 + 256 * 128 + 3 * 128 + 128 * 6 + 6
    assert found == encoders + fusion + classifier
    with_nodes = sum(part.numel() for part in build(DOCUMENTED, context).parameters())
    assert with_nodes - found == 64 * (19 + 4) * 64 + 2 * 64


def test_graphs_stand_as_in_a_batch_of_torch_geometric():
    edges = directed(EDGES["eeg"], NODES["eeg"])
    batch = Batch.from_data_list([Data(x=torch.zeros(19, 1), edge_index=edges) for _ in range(4)])
    assert torch.equal(repeated(edges, 19, 4), batch.edge_index)
    assert edges.shape == (2, 64)
    assert {tuple(pair) for pair in edges.T.tolist()} == {tuple(pair[::-1]) for pair in edges.T.tolist()}


def test_weighted_graphs_keep_their_direction_and_weight():
    weights = torch.zeros(2, 3, 3)
    weights[0, 0, 2], weights[1, 2, 1] = 0.7, 0.9
    edges, attributes = weighted(weights)
    assert edges.tolist() == [[0, 5], [2, 4]]
    assert attributes.flatten().tolist() == pytest.approx([0.7, 0.9])


def by_hand(encoder, values, absent, weights=None):
    """One window after another, by torch_geometric's layers alone."""
    results = []
    for sample in range(len(values)):
        for window in range(values.shape[1]):
            there = ~absent[sample, window]
            if weights is None:
                edges, attributes = encoder.edges, None
            else:
                edges = weights[sample, window].nonzero().T
                attributes = weights[sample, window][tuple(edges)].unsqueeze(1)
            keep = there[edges[0]]
            hidden = values[sample, window]
            for convolution, normalization in zip(encoder.convolutions, encoder.normalizations, strict=True):
                own = convolution(hidden, edges[:, keep], None if attributes is None else attributes[keep])
                hidden = torch.nn.functional.elu(normalization(own))
            if encoder.readout is None:
                results.append(hidden[there].mean(dim=0))
            else:
                results.append(encoder.readout(torch.where(there[:, None], hidden, 0).flatten()))
    return torch.stack(results).reshape(len(values), values.shape[1], -1)


@pytest.mark.parametrize("readout", ["nodes", "mean"])
@pytest.mark.parametrize("coherent", [False, True])
def test_all_windows_at_once_are_one_window_after_another(readout, coherent):
    torch.manual_seed(1)
    edges = directed(EDGES["eeg"], NODES["eeg"])
    encoder = GraphEncoder(5, 19, edges, 4, 3, 2, 0.2, weights=coherent, readout=readout).eval()
    assert all(isinstance(part, GATConv) for part in encoder.convolutions)
    values, absent = torch.randn(3, 2, 19, 5), torch.rand(3, 2, 19) < 0.2
    weights = None
    if coherent:
        weights = torch.rand(3, 2, 19, 19)
        weights = torch.where(weights + weights.transpose(2, 3) > 1.2, weights + weights.transpose(2, 3), 0) / 2
        weights.diagonal(dim1=2, dim2=3).zero_()
    torch.testing.assert_close(
        encoder(values, absent, weights), by_hand(encoder, values, absent, weights), atol=1e-5, rtol=1e-5
    )


def mirrored(inputs):
    """The same recording with left and right exchanged."""
    other = MIRROR | {right: left for left, right in MIRROR.items()}
    channels = [CHANNELS.index(other.get(name, name)) for name in CHANNELS]
    regions = [REGIONS.index({"L": "R", "R": "L"}[name[0]] + name[1]) for name in REGIONS]
    return inputs[0][:, :, channels], inputs[1][:, :, regions]


def test_a_mean_over_nodes_cannot_tell_left_from_right_and_nodes_can():
    inputs = drawn()
    with torch.no_grad():
        mean, nodes = network(readout="mean"), network(readout="nodes")
        torch.testing.assert_close(mean(*mirrored(inputs)), mean(*inputs), atol=1e-5, rtol=1e-5)
        assert (nodes(*mirrored(inputs)) - nodes(*inputs)).abs().max() > 0.01


def test_samples_do_not_depend_on_their_company():
    module, inputs, absent = network(), drawn(), masks()
    absent["mask_eeg"][1, :, 4] = True
    absent["mask_spectrogram"][2, 1] = True
    with torch.no_grad():
        together = module(*inputs, **absent)
        alone = [
            module(
                *(part[row : row + 1] for part in inputs),
                **{name: part[row : row + 1] for name, part in absent.items()},
            )
            for row in range(5)
        ]
    torch.testing.assert_close(torch.cat(alone), together, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("readout", ["nodes", "mean"])
def test_what_is_masked_is_not_seen(readout):
    module, inputs, absent = network(readout=readout), drawn(), masks()
    absent["mask_eeg"][:, :, 7] = True
    absent["mask_eeg"][:, 1] = True
    absent["mask_spectrogram"][:, 2] = True
    changed = [part.clone() for part in inputs]
    changed[0][:, :, 7] += 3
    changed[0][:, 1] -= 2
    changed[1][:, 2] += 5
    with torch.no_grad():
        torch.testing.assert_close(module(*changed, **absent), module(*inputs, **absent), atol=1e-6, rtol=1e-5)
        assert (module(*changed) - module(*inputs)).abs().max() > 1e-3
        _, attention = module.pooled(*inputs, return_attention=True, **absent)
    assert (attention["spec_to_eeg"][..., 1] == 0).all()
    assert (attention["eeg_to_spec"][..., 2] == 0).all()


def test_a_band_that_is_masked_is_read_as_the_center_and_the_node_stays():
    module, inputs, absent = network(), drawn(), masks()
    absent["mask_eeg"][:, :, 7, 2] = True
    center = inputs[0].clone()
    center[:, :, 7, 2] = 0
    with torch.no_grad():
        found = module(*inputs, **absent)
        torch.testing.assert_close(found, module(center, inputs[1], **masks()), atol=1e-6, rtol=1e-5)
        whole = masks()
        whole["mask_eeg"][:, :, 7] = True
        assert (found - module(*inputs, **whole)).abs().max() > 1e-4


def test_nothing_masked_is_as_no_mask():
    module, inputs = network(), drawn()
    with torch.no_grad():
        torch.testing.assert_close(module(*inputs, **masks()), module(*inputs), atol=1e-6, rtol=1e-5)


def test_attention_is_that_of_torch_with_the_sequence_added():
    torch.manual_seed(2)
    fusion = CrossModalFusion(8, 2, 0.3).eval()
    eeg, spectrogram = torch.randn(3, 5, 8), torch.randn(3, 7, 8)
    with torch.no_grad():
        fused, attention = fusion(eeg, spectrogram, return_attention=True)
        torch.testing.assert_close(fusion(eeg, spectrogram), fused, atol=1e-6, rtol=1e-5)
        parts = []
        for name, queries, keys in (("eeg_to_spec", eeg, spectrogram), ("spec_to_eeg", spectrogram, eeg)):
            layer = getattr(fusion, name)
            query, key, value = (
                part.reshape(3, -1, 2, 4).transpose(1, 2)
                for part in (
                    torch.nn.functional.linear(source, weight, bias)
                    for source, weight, bias in zip(
                        (queries, keys, keys), layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3), strict=True
                    )
                )
            )
            weights = (query @ key.transpose(2, 3) / 2).softmax(dim=-1)
            torch.testing.assert_close(attention[name], weights, atol=1e-6, rtol=1e-5)
            attended = layer.out_proj((weights @ value).transpose(1, 2).flatten(2))
            tokens = fusion.normalizations[name](queries + attended)
            scores = fusion.pools[name].score(tokens).squeeze(-1).softmax(dim=1)
            parts.append(torch.einsum("st,stw->sw", scores, tokens))
    torch.testing.assert_close(fused, torch.cat(parts, dim=1), atol=1e-5, rtol=1e-5)


def test_pooling_weighs_only_tokens_that_are_there():
    torch.manual_seed(3)
    pool, tokens = AttentionPooling(4), torch.randn(2, 3, 4)
    absent = torch.tensor([[False, True, False], [True, True, False]])
    with torch.no_grad():
        torch.testing.assert_close(pool(tokens, absent)[0], pool(tokens[:1, [0, 2]])[0])
        torch.testing.assert_close(pool(tokens, absent)[1], tokens[1, 2])


@pytest.mark.parametrize(("modality", "other"), [("eeg", 1), ("spectrogram", 0)])
def test_an_ablation_does_not_see_the_other_modality(modality, other):
    module, inputs = network(modalities=[modality]), drawn()
    changed = list(inputs)
    changed[other] = torch.randn_like(inputs[other])
    with torch.no_grad():
        assert torch.equal(module(*changed, **masks()), module(*inputs, **masks()))
    assert module.first_layers == [f"encoders.{modality}.graph.convolutions.0.lin"]
    assert not hasattr(module, "fusion")


def test_coherence_decides_who_is_joined():
    module = network(auxiliary={"coherence": (3, 19, 19)})
    inputs, none = drawn(), torch.zeros(5, 3, 19, 19)
    joined = none.clone()
    joined[..., 4, 5] = joined[..., 5, 4] = 0.8
    stronger = joined * 1.2
    with torch.no_grad():
        results = [module(*inputs, coherence=part) for part in (none, joined, stronger)]
    assert (results[0] - results[1]).abs().max() > 1e-5
    assert (results[1] - results[2]).abs().max() > 1e-6


def test_first_layers_are_layers_with_weights():
    module = network()
    for name in module.first_layers:
        assert module.get_submodule(name).weight.shape[1] in (4, 5)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ConsilienceError, match=r"heads is 3, which does not divide 16, twice recurrent_width; expected one of 1, 2, 4, 8, 16"):  # fmt: skip
        network(heads=3)


def test_gradients_reach_every_element_of_both():
    module, inputs = network(), [part.requires_grad_() for part in drawn()]
    module(*inputs, **masks()).sum().backward()
    assert all(bool((part.grad != 0).all()) for part in inputs)


def test_the_montage_is_no_part_of_the_weights():
    assert not any("edges" in name for name in network().state_dict())
    assert np.array_equal(network().encoders["spectrogram"].graph.edges.shape, (2, 8))


@pytest.mark.parametrize(
    ("seconds", "window", "stride"),
    [
        (50, 10, 5),
        (600, 10, 5),
        (50, 10, 0.1),
        (600, 10, 0.1),
        (50, 10, 0.2),
        (20, 4, 0.4),
        (10, 10, 5),
        (9.9, 10, 5),
        (12, 4, 3),
    ],
)
def test_windows_are_counted_as_by_exact_fractions(seconds, window, stride):
    exact = [Fraction(str(part)) for part in (seconds, window, stride)]
    starts = [place for place in range(10000) if place * exact[2] + exact[1] <= exact[0]]
    assert windows(seconds, window, stride) == len(starts)
