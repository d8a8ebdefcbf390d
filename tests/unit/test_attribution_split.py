import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from consilience.attribution.function import EnsembleFunction, target_map
from consilience.attribution.methods import METHODS
from consilience.attribution.split import Split
from consilience.errors import ConsilienceError
from consilience.networks import MultilayerPerceptron
from tests.unit.attribution_examples import batch_of, drawn, function_of

DOUBLE = torch.float64
REFERENCES = ("integrated_gradients", "smoothgrad", "expected_gradients", "deeplift", "deeplift_shap", "occlusion")


class Composed(nn.Module):
    """A network that calls `function(self, *inputs, **auxiliary)` with the layers it is given."""

    def __init__(self, function, stackable, **layers):
        super().__init__()
        self.function, self.stackable = function, stackable
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *inputs, **auxiliary):
        return self.function(self, *inputs, **auxiliary)


class Unseen(torch.autograd.Function):
    """x sigmoid(x), with a backward pass of its own."""

    @staticmethod
    def forward(context, inputs):
        context.save_for_backward(inputs)
        return inputs * torch.sigmoid(inputs)

    @staticmethod
    def backward(context, gradient):
        (inputs,) = context.saved_tensors
        share = torch.sigmoid(inputs)
        return gradient * (share + inputs * share * (1 - share))


def dense():
    return {"a": nn.Linear(6, 8), "b": nn.Linear(8, 8), "c": nn.Linear(8, 1), "s": nn.Linear(6, 1)}


def tied():
    layer = nn.Linear(6, 6)
    return {"a": layer, "b": layer, "c": nn.Linear(6, 1)}


def shared_weight():
    layers = {"a": nn.Linear(6, 6), "b": nn.Linear(6, 6), "c": nn.Linear(6, 1)}
    layers["b"].weight = layers["a"].weight
    return layers


def in_place_alias(n, x):
    hidden = n.a(x)
    return n.c(functional.relu(hidden, inplace=True) + hidden)


def deep_alias(n, x):
    hidden = n.b(n.a(x).relu())
    return n.c(functional.leaky_relu(hidden, 0.3, inplace=True) + hidden)


def masked_where_needed(n, x, gate):
    if (gate > 0).any():
        x = x.masked_fill(gate > 0, 0)
    return n.c(n.a(x).relu())


def as_long_as_the_longest(n, x, gate):
    length = int((3 * gate.abs().max()).clamp(1, 5))
    return n.c(n.a(torch.cat([x[:, :length], x.new_zeros(len(x), 6 - length)], dim=1)).relu())


def checked(n, x, gate):
    assert len(x) == len(gate)
    return n.c(n.a(x).relu() * gate)


def two_skips(n, x):
    hidden = n.a(x)
    return n.c(n.b(hidden.relu()).relu() + hidden) + n.s(x)


def gathered(n, x, gate):
    rows, hidden = x.shape[0], n.a(x).relu()
    return n.c(hidden) * hidden[torch.arange(rows), (gate[:, 0] > 0).long()][:, None]


def by_row_count(n, x):
    rows = x.shape[0]
    return n.c(n.a(x).relu().view(rows, 8))


def attended(n, x):
    hidden = n.a(x).relu()
    return n.c(n.t(hidden, hidden, hidden)[0].mean(dim=1))


def shifted(n, x):
    rows = x.shape[0]
    return n.c(n.a(x).relu() + torch.zeros(rows, 8, dtype=x.dtype))


def unrolled(n, x):
    state = x.new_zeros(len(x), 8)
    for step in range(3):
        state = n.r(x[:, 2 * step : 2 * step + 2], state)
    return n.c(state)


SEQUENCE, IMAGE, PLANE = ((4, 3),), ((2, 5),), ((2, 4, 4),)
# By name: the function, its layers, the branches' shapes, the auxiliary tensor's width.
WITH_FRONT = {
    "linear": (lambda n, x: n.c(n.b(n.a(x))), dense),
    "relu": (lambda n, x: n.c(n.b(n.a(x).relu()).relu()), dense),
    "changed in place": (lambda n, x: n.c(functional.relu(n.a(x), inplace=True)), dense),
    "residual": (lambda n, x: n.m(x), lambda: {"m": MultilayerPerceptron(6, [8, 8, 5], 1, 0.1, True, True)}),
    "two skips": (two_skips, dense),
    "two branches": (lambda n, x, y: n.c(n.a(x).relu() + n.a(y).tanh() + n.a(x + y).relu()), dense, ((6,), (6,))),
    "a branch that is not read": (lambda n, x, _: n.c(n.a(x).relu()), dense, ((6,), (2,))),
    "joined branches": (lambda n, x, y: n.c(n.a(torch.cat([x, y], dim=1)).relu()), dense, ((4,), (2,))),
    "two cuts": (lambda n, x: n.c(n.a(x).relu() + n.a(x).tanh() * n.b(n.a(x)).sigmoid()), dense),
    "gated": (lambda n, x: n.c(n.a(x) * n.a(x).sigmoid()), dense),
    "gated linear unit": (
        lambda n, x: n.c(functional.glu(n.a(x))),
        lambda: {"a": nn.Linear(6, 16), "c": nn.Linear(8, 1)},
    ),
    "auxiliary in the head": (lambda n, x, gate: n.c(n.a(x).relu() * gate + gate), dense, ((6,),), 1),
    "embedding of auxiliary": (
        lambda n, x, gate: n.c(n.a(x).relu() + n.e((2 * gate[:, 0].abs()).long().clamp(max=4))),
        lambda: dense() | {"e": nn.Embedding(5, 8)},
        ((6,),),
        1,
    ),
    "early row count": (shifted, dense),
    "like the input": (lambda n, x: n.c(n.a(x).relu()) + torch.ones_like(x).sum(dim=1, keepdim=True), dense),
    "image": (
        lambda n, x: n.c(n.n(n.a(functional.pad(x, (1, 1, 1, 1), value=0.5))).relu().flatten(1)),
        lambda: {"a": nn.Conv2d(2, 3, 3), "n": nn.BatchNorm2d(3), "c": nn.Linear(48, 1)},
        PLANE,
    ),
    "permuted": (
        lambda n, x: n.c(n.a(x.permute(0, 2, 1)[..., None].reshape(len(x), 5, 2)).relu().flatten(1)),
        lambda: {"a": nn.Linear(2, 3), "c": nn.Linear(15, 1)},
        IMAGE,
    ),
    "interpolated": (
        lambda n, x: n.c(n.a(functional.interpolate(x, scale_factor=2, mode="linear")).relu().flatten(1)),
        lambda: {"a": nn.Conv1d(2, 3, 3, padding=1), "c": nn.Linear(30, 1)},
        IMAGE,
    ),
    "group norm": (
        lambda n, x: n.c(n.g(n.a(x)).relu().flatten(1)),
        lambda: {"a": nn.Conv1d(2, 4, 3), "g": nn.GroupNorm(2, 4), "c": nn.Linear(12, 1)},
        IMAGE,
    ),
    "instance norm": (
        lambda n, x: n.c(n.g(n.a(x)).relu().flatten(1)),
        lambda: {"a": nn.Conv1d(2, 4, 3), "g": nn.InstanceNorm1d(4), "c": nn.Linear(12, 1)},
        IMAGE,
    ),
    "layer norm first": (lambda n, x: n.c(n.a(n.g(x)).relu()), lambda: dense() | {"g": nn.LayerNorm(6)}),
    "einsum": (lambda n, x: n.c(torch.einsum("nf,of->no", x, n.a.weight).relu()), dense),
    "weight tying": (lambda n, x: n.c(n.b(n.a(x).relu()).relu()), tied),
    "shared weight": (lambda n, x: n.c(n.b(n.a(x).relu()).relu()), shared_weight),
    "weight norm": (
        lambda n, x: n.c(n.b(n.a(x).relu()).relu()),
        lambda: (
            dense()
            | {
                "a": parametrizations.weight_norm(nn.Linear(6, 8)),
                "b": parametrizations.spectral_norm(nn.Linear(8, 8)),
            }
        ),
    ),
    "attention": (
        attended,
        lambda: {"a": nn.Linear(3, 8), "t": nn.MultiheadAttention(8, 2, batch_first=True), "c": nn.Linear(8, 1)},
        SEQUENCE,
    ),
    "floor of the inputs": (lambda n, x: n.c(n.a(x + torch.div(x, 0.5, rounding_mode="floor")).relu()), dense),
    "cut before a function of its own, looped": (
        lambda n, x: n.c(n.b(n.a(x).relu()) + Unseen.apply(n.a(x).relu())),
        dense,
    ),
    "convolution and then recurrent, looped": (
        lambda n, x: n.c(n.r(n.a(x.mT).relu().mT)[0][:, -1]),
        lambda: {"a": nn.Conv1d(3, 4, 1), "r": nn.LSTM(4, 5, batch_first=True), "c": nn.Linear(5, 1)},
        SEQUENCE,
    ),
}
WHOLE = {
    "recurrent, looped": (
        lambda n, x: n.c(n.r(x)[0][:, -1]),
        lambda: {"r": nn.LSTM(3, 5, batch_first=True), "c": nn.Linear(5, 1)},
        "its first nonlinearity is recurrent (lstm)",
        SEQUENCE,
    ),
    "both ways, looped": (
        lambda n, x: n.c(n.r(x)[0][:, -1]),
        lambda: {"r": nn.GRU(3, 5, batch_first=True, bidirectional=True), "c": nn.Linear(10, 1)},
        "its first nonlinearity is recurrent (gru)",
        SEQUENCE,
    ),
    "recurrent cells": (
        unrolled,
        lambda: {"r": nn.GRUCell(2, 8), "c": nn.Linear(8, 1)},
        "recurrent|size|batch|",
    ),
    "transformer": (
        lambda n, x: n.c(n.t(n.a(x)).mean(dim=1)),
        lambda: {
            "a": nn.Linear(3, 8),
            "t": nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            "c": nn.Linear(8, 1),
        },
        "samples leave the first axis",
        SEQUENCE,
    ),
    "tokens as samples": (
        lambda n, x: n.c(n.a(x.reshape(-1, 3)).relu().reshape(-1, 8)),
        lambda: {"a": nn.Linear(3, 4), "c": nn.Linear(8, 1)},
        "samples leave the first axis",
    ),
    "time first, as long as the probe": (
        lambda n, x: n.c(n.a(x.transpose(0, 1)).relu().transpose(0, 1).flatten(1)),
        lambda: {"a": nn.Linear(4, 4), "c": nn.Linear(12, 1)},
        "",
        ((3, 4),),
    ),
    "auxiliary in the front": (
        lambda n, x, gate: n.c(n.a(x * gate).relu()),
        dense,
        "mul takes an auxiliary tensor before the first nonlinearity",
        ((6,),),
        6,
    ),
    "masked where needed": (masked_where_needed, dense, "depends on values of its batch (__bool__)", ((6,),), 6),
    "as long as the longest": (as_long_as_the_longest, dense, "depends on values of its batch (__int__)", ((6,),), 1),
    "checked": (checked, dense, "assert", ((6,),), 1),
    "gathered by row": (gathered, dense, "index", ((6,),), 1),
    "row count in the head": (by_row_count, dense, "shape"),
    "alias of what changed": (in_place_alias, dense, "add takes a tensor that was changed in place"),
    "deep alias of what changed": (deep_alias, dense, "add takes a tensor that was changed in place"),
    "whole numbers": (
        lambda n, x: n.c(n.a(x + (3 * x).to(torch.int64).to(x.dtype)).relu()),
        dense,
        "it makes whole numbers (torch.int64)",
    ),
    "a function of its own, looped": (lambda n, x: n.c(Unseen.apply(n.a(x))) + n.s(x), dense, ""),
    "unseen map beside the front": (
        lambda n, x: n.c(torch.vmap(torch.tanh)(n.a(x))) + n.s(x),
        dense,
        "what comes before its first nonlinearity is not affine",
    ),
}  # fmt: skip


LOOPED = ("linear", "relu", "changed in place", "image", "weight tying", "auxiliary in the head", "two branches")


def made(name, dtype=DOUBLE, stacked=True, samples=2):
    """Return the modules of a network, and a batch with all it may need."""
    function, layers, *others = WITH_FRONT[name] if name in WITH_FRONT else [*WHOLE[name][:2], *WHOLE[name][3:]]
    shapes, width = [*others, *[((6,),), 0][len(others) :]]
    stacked = stacked and "looped" not in name
    modules, ensemble = function_of(lambda: Composed(function, stacked, **layers()), members=2, dtype=dtype)
    inputs, references, background = (
        tuple(drawn(seed + branch, rows, *shape, dtype=dtype) for branch, shape in enumerate(shapes))
        for seed, rows in ((1, samples), (3, 1), (5, 2))
    )
    auxiliary = {"gate": drawn(7, samples, width, dtype=dtype)} if width else {}
    return modules, batch_of(ensemble, inputs, auxiliary, references, background)


def without_front(batch):
    """Return the batch with its networks left whole."""
    other = copy.copy(batch)
    other.split = batch.split.whole()
    return other


def attributed(name, batch, **settings):
    """Return attributions, or the message of a refusal."""
    try:
        return batch.attribute(METHODS[name], settings)
    except ConsilienceError as error:
        return str(error)


def assert_same(own, expected, tolerance):
    if isinstance(own, str) or isinstance(expected, str):
        assert own == expected
        return
    for part, other in zip(own, expected, strict=True):
        assert float((part - other).abs().max()) <= tolerance * max(1.0, float(other.abs().max()))


def by_module(modules, batch, nodes, weights):
    """Return integrated gradients (members, samples, *shape) a branch, one point after the other."""
    results = []
    for module in modules:
        sums = [torch.zeros_like(tensor) for tensor in batch.inputs]
        for node, weight in zip(nodes, weights, strict=True):
            pairs = zip(batch.inputs, batch.references, strict=True)
            points = [(r + float(node) * (z - r)).requires_grad_() for z, r in pairs]
            value = 2 * module(*points, **batch.auxiliary).sum()
            gradients = torch.autograd.grad(value, points, allow_unused=True, materialize_grads=True)
            for total, gradient in zip(sums, gradients, strict=True):
                total += float(weight) * gradient
        results.append([s * (z - r) for s, z, r in zip(sums, batch.inputs, batch.references, strict=True)])
    return tuple(torch.stack(parts) for parts in zip(*results, strict=True))


def gauss(steps):
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("name", WITH_FRONT)
def test_head_and_front_are_the_whole(name, dtype):
    _, batch = made(name, dtype)
    assert batch.split.has_front
    assert not batch.split.remark
    function, split = batch.function, batch.split
    values, gradients = function.gradients(batch.inputs, batch.auxiliary)
    projection = split.project(batch.inputs, batch.auxiliary, graph=True)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    assert_same([split.values(projection.cuts, batch.auxiliary)], [values], tolerance)
    assert_same(projection.pull(split.gradients(projection.cuts, batch.auxiliary)), gradients, tolerance)


# A floor's attributions are those of its jumps, which no gradient sees: the two ways may differ where it bends.
@pytest.mark.parametrize(
    ("name", "stacked"), [*((name, True) for name in WITH_FRONT), *((name, False) for name in LOOPED)]
)
def test_the_fast_path_gives_what_the_whole_gives(name, stacked):
    _, batch = made(name, stacked=stacked)
    assert batch.split.has_front
    whole = without_front(batch)
    for method in REFERENCES:
        assert_same(attributed(method, batch, draws=2, steps=8), attributed(method, whole, draws=2, steps=8), 1e-10)


@pytest.mark.parametrize("name", ["relu", "residual", "image", "two branches", "auxiliary in the head"])
def test_the_fast_path_in_single_precision(name):
    _, batch = made(name, torch.float32)
    whole = without_front(batch)
    for method in REFERENCES:
        assert_same(attributed(method, batch, draws=2), attributed(method, whole, draws=2), 1e-5)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("name", WHOLE)
def test_what_cannot_be_taken_apart_says_why(name, stacked):
    _, batch = made(name, stacked=stacked)
    message = WHOLE[name][2]
    if name == "unseen map beside the front" and not stacked:
        message = "linear takes a tensor from a function that cannot be followed"
    assert not batch.split.has_front
    assert batch.split.remark
    assert any(part in batch.split.remark for part in message.split("|"))


@pytest.mark.parametrize("name", [*WITH_FRONT, *WHOLE])
def test_integrated_gradients_are_those_of_a_plain_loop(name):
    modules, batch = made(name)
    own = attributed("integrated_gradients", batch, exact=False, steps=12)
    expected = by_module(modules, batch, *gauss(12))
    assert_same([part[:, 0] for part in own], expected, 1e-10)


# Where an activation passes unseen, exactness is not assumed: what is seen alone would be linear, or bend elsewhere.
@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("first", [lambda n, x: n.a(x), lambda n, x: n.a(x).relu()])
@pytest.mark.parametrize("skip", [0, 1])
def test_no_path_is_taken_for_piecewise_linear_that_is_not_seen_whole(first, skip, stacked):
    def function(n, x):
        hidden = first(n, x)
        return n.c(torch.vmap(torch.tanh)(n.b(hidden)) + skip * hidden)

    modules, ensemble = function_of(lambda: Composed(function, stacked, **dense()), members=2, dtype=DOUBLE)
    batch = batch_of(ensemble, (drawn(1, 4, 6, dtype=DOUBLE),), background=(drawn(5, 3, 6, dtype=DOUBLE),))
    own = attributed("integrated_gradients", batch, steps=30)
    assert_same([part[:, 0] for part in own], by_module(modules, batch, *gauss(30)), 1e-10)
    for method in ("deeplift", "deeplift_shap"):
        assert "takes a tensor from a function that cannot be followed" in attributed(method, batch)


def test_deeplift_refuses_a_backward_pass_of_its_own():
    _, batch = made("a function of its own, looped")
    assert "it calls sigmoid where gradients are off" in attributed("deeplift", batch)


@pytest.mark.parametrize("name", ["alias of what changed", "deep alias of what changed"])
def test_deeplift_refuses_what_changed_under_another_name(name):
    _, batch = made(name)
    assert "add takes a tensor that was changed in place" in attributed("deeplift", batch)


def test_a_fast_path_that_is_wrong_is_found_where_gradients_are_small(monkeypatch):
    project = Split.project

    def wrong(self, inputs, auxiliary, graph=False):
        projection = project(self, inputs, auxiliary, graph)
        projection.cuts = tuple(1.01 * cut for cut in projection.cuts)
        return projection

    monkeypatch.setattr(Split, "project", wrong)
    function = function_of(lambda: Composed(lambda n, x: 1e-7 * n.c(n.a(x).tanh()), True, **dense()), dtype=DOUBLE)[1]
    split = Split(function, (drawn(0, 4, 6, dtype=DOUBLE),), {})
    assert not split.has_front
    assert split.remark == "its parts give other values than the whole"


def test_inputs_outside_the_network_s_domain_are_still_refused():
    make = lambda: Composed(lambda n, x: n.c(n.a(x.log()).relu()), True, **dense())  # noqa: E731
    _, function = function_of(make, dtype=DOUBLE)
    positive = drawn(0, 3, 6, dtype=DOUBLE).abs() + 0.1
    assert "not finite" in Split(function, (positive,), {}).remark
    with pytest.raises(ConsilienceError, match="outputs that are not finite"):
        Split(function, (-positive,), {})


def test_a_network_that_reads_nothing_is_refused():
    make = lambda: Composed(lambda n, x: torch.ones(len(x), 1), True, **dense())  # noqa: E731
    with pytest.raises(ConsilienceError, match="does not depend on its inputs"):
        Split(function_of(make)[1], (drawn(0, 3, 6),), {})


def test_normalization_by_the_batch_is_refused():
    layers = dense() | {"n": nn.BatchNorm1d(8, track_running_stats=False)}
    module = Composed(lambda n, x: n.c(n.n(n.a(x)).relu()), True, **layers).eval()
    states = {name: tensor[None] for name, tensor in module.state_dict().items()}
    with pytest.raises(ConsilienceError, match=r"n has no running statistics \(track_running_stats=False\)"):
        EnsembleFunction(module, states, *target_map("regression", 1))


def test_a_view_that_merges_the_samples_axis_works_for_a_single_reference():
    def function(n, x):
        return n.c(n.a(x.view(x.size(0) * 2, 3)).relu().view(x.size(0), 8))

    layers = {"a": nn.Linear(3, 4), "c": nn.Linear(8, 1)}
    modules, ensemble = function_of(lambda: Composed(function, False, **layers), members=2, dtype=DOUBLE)
    batch = batch_of(ensemble, (drawn(0, 4, 6, dtype=DOUBLE),))
    own = attributed("integrated_gradients", batch, exact=False, steps=12)
    assert_same([part[:, 0] for part in own], by_module(modules, batch, *gauss(12)), 1e-10)
    assert batch.rise().shape == (2, 1, 4)
