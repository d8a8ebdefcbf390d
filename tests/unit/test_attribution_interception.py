from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.func import vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from consilience.attribution import deeplift, interception, pieces
from consilience.attribution.interception import Interception, UnsupportedError
from tests.unit.attribution_examples import drawn

DOUBLE = torch.float64
ROWS = 5
MATRIX = drawn(1, 4, 4, dtype=DOUBLE)
CONSTANT = drawn(2, 4, dtype=DOUBLE)
NOT_THERE = torch.tensor([True, False, False, True])
KERNELS = {dimensions: drawn(6, 4, 4, *[1] * dimensions, dtype=DOUBLE) for dimensions in (1, 2, 3)}
STATISTICS = (drawn(4, 4, dtype=DOUBLE), drawn(5, 4, dtype=DOUBLE).exp())


# Functions of a tensor (rows, 4), or of (rows, 2, 4) and more axes where the name asks for it.
LINEAR = [
    lambda x: x.flatten(1),
    lambda x: x.reshape(-1, 2, 2),
    lambda x: x.view(-1, 2, 2),
    lambda x: x.view_as(torch.empty(len(x), 2, 2)),
    lambda x: x.reshape_as(torch.empty(len(x), 2, 2)),
    lambda x: x.unflatten(1, (2, 2)),
    lambda x: x.unsqueeze(1),
    lambda x: x[:, None].squeeze(1),
    lambda x: x[:, None].permute(0, 2, 1),
    lambda x: x[:, None].transpose(1, 2),
    lambda x: x[:, None].movedim(2, 1),
    lambda x: x[:, None].swapaxes(1, 2),
    lambda x: x.contiguous(),
    lambda x: x.clone(),
    lambda x: x.to(torch.float32),
    lambda x: x.float(),
    lambda x: x.double(),
    lambda x: x[:, None].expand(-1, 3, -1),
    lambda x: x.expand_as(torch.empty(len(x), 4)),
    lambda x: x.repeat(1, 2),
    lambda x: x.chunk(2, dim=1)[1],
    lambda x: x.split(3, dim=1)[0],
    lambda x: x.unbind(1)[2],
    lambda x: x.select(1, 2),
    lambda x: x.narrow(1, 1, 2),
    lambda x: x[:, [2, 0]],
    lambda x: x.index_select(1, torch.tensor([1, 1, 3])),
    lambda x: x.neg(),
    lambda x: -x,
    lambda x: x.positive(),
    lambda x: x.sum(dim=1),
    lambda x: x.mean(dim=1, keepdim=True),
    lambda x: functional.avg_pool1d(x[:, None], 2),
    lambda x: functional.avg_pool2d(x.reshape(-1, 1, 2, 2), 2),
    lambda x: functional.avg_pool3d(x.reshape(-1, 1, 1, 2, 2), (1, 2, 2)),
    lambda x: functional.adaptive_avg_pool1d(x[:, None], 3),
    lambda x: functional.adaptive_avg_pool2d(x.reshape(-1, 1, 2, 2), 1),
    lambda x: functional.adaptive_avg_pool3d(x.reshape(-1, 1, 1, 2, 2), 1),
    lambda x: x.flip(1),
    lambda x: x.roll(1, 1),
    lambda x: x.repeat_interleave(2, dim=1),
    lambda x: x.cumsum(1),
    lambda x: functional.pad(x, (1, 2), value=3.0),
    lambda x: functional.pad(x[:, None], (1, 2), mode="reflect"),
    lambda x: functional.interpolate(x[:, None], scale_factor=2, mode="linear"),
    lambda x: functional.interpolate(x.reshape(-1, 1, 2, 2), scale_factor=2, mode="bicubic"),
    lambda x: x[:, None].mT,
    lambda x: x[:, None].mH,
    lambda x: functional.linear(x, MATRIX, CONSTANT),
    lambda x: functional.conv1d(x[..., None], KERNELS[1], CONSTANT),
    lambda x: functional.conv2d(x[..., None, None], KERNELS[2], CONSTANT),
    lambda x: functional.conv3d(x[..., None, None, None], KERNELS[3]),
    lambda x: functional.conv_transpose1d(x[..., None], KERNELS[1]),
    lambda x: functional.conv_transpose2d(x[..., None, None], KERNELS[2]),
    lambda x: functional.conv_transpose3d(x[..., None, None, None], KERNELS[3]),
    lambda x: x.div(CONSTANT),
    lambda x: x / 3,
    lambda x: torch.true_divide(x, CONSTANT),
    lambda x: x.masked_fill(NOT_THERE, 7.0),
    lambda x: torch.add(x, CONSTANT, alpha=2),
    lambda x: x + CONSTANT,
    lambda x: 3 + x,
    lambda x: torch.sub(x, CONSTANT),
    lambda x: x - CONSTANT,
    lambda x: CONSTANT - x,
    lambda x: 2 - x,
    lambda x: torch.rsub(x, 2),
    lambda x: torch.subtract(x, x.flip(1)),
    lambda x: torch.cat([x, x.flip(1), CONSTANT.expand(len(x), 4)], dim=1),
    lambda x: torch.concat([x, x], dim=1),
    lambda x: torch.concatenate([x, x], dim=1),
    lambda x: torch.stack([x, x.flip(1)], dim=1),
    lambda x: torch.mul(x, CONSTANT),
    lambda x: x * CONSTANT,
    lambda x: 2 * x,
    lambda x: CONSTANT * x,
    lambda x: torch.multiply(CONSTANT, x),
    lambda x: torch.matmul(x, MATRIX),
    lambda x: x @ MATRIX,
    lambda x: torch.matmul(MATRIX, x[..., None]),
    lambda x: MATRIX @ x[..., None],
    lambda x: x.mm(MATRIX),
    lambda x: torch.bmm(x[:, None], MATRIX.expand(len(x), 4, 4)),
    lambda x: functional.batch_norm(x, *STATISTICS, CONSTANT, CONSTANT),
    lambda x: functional.dropout(x, 0.5, training=False),
    lambda x: functional.dropout(x, 0.5, training=False, inplace=True) + x,
    lambda x: functional.dropout1d(x[:, None], 0.5, training=False),
    lambda x: functional.dropout2d(x.reshape(-1, 1, 2, 2), 0.5, training=False),
    lambda x: functional.dropout3d(x.reshape(-1, 1, 1, 2, 2), 0.5, training=False),
    lambda x: functional.alpha_dropout(x, 0.5, training=False),
    lambda x: functional.feature_alpha_dropout(x[:, None], 0.5, training=False),
    lambda x: torch.where(NOT_THERE, x, CONSTANT),
    lambda x: torch.where(NOT_THERE, x, x.flip(1)),
    nn.Sequential(nn.Linear(4, 3), nn.Identity(), nn.Dropout(0.3), nn.BatchNorm1d(3)).double().eval(),
]


class Names(TorchFunctionMode):
    """Gathers the names of the functions that are called."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        self.seen.add(interception._name(function))
        return function(*arguments, **(keywords or {}))


def names_called(functions):
    with Names() as names:
        for function in functions:
            function(drawn(0, ROWS, 4, dtype=DOUBLE))
    return names.seen


def cuts_of(function, inputs, stacked=False):
    """Return what a function of the front is cut at, and its result."""

    def run(tensor):
        cuts = []

        def cut(part):
            cuts.append(part)
            return part.clone()

        with Interception(front=[tensor], cut=cut):
            result = function(tensor)
        run.cuts = len(cuts)
        return result

    result = vmap(run)(inputs.expand(2, *inputs.shape))[1] if stacked else run(inputs)
    return run.cuts, result


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("function", LINEAR)
def test_a_linear_function_is_affine_and_stays_in_the_front(function, stacked):
    inputs = drawn(7, ROWS, 4, dtype=DOUBLE)
    cuts, result = cuts_of(function, inputs, stacked)
    assert cuts == 0
    assert torch.allclose(result, function(inputs), atol=1e-12, rtol=0)
    other, share = drawn(8, ROWS, 4, dtype=DOUBLE), 0.3
    between = function(share * inputs + (1 - share) * other)
    rounding = 1e-5 if between.dtype == torch.float32 else 1e-12
    assert torch.allclose(between, share * result + (1 - share) * function(other), atol=rounding, rtol=0)


def test_every_function_that_is_taken_for_linear_is_among_those_that_are_shown_to_be():
    taken = (
        (interception.LINEAR_IN_FIRST | interception.LINEAR_BY_FIRST | interception.LINEAR_IN_ALL)
        | interception.PRODUCTS
        | interception.UNLESS_TRAINING
        | {"where"}
    )
    # Operators reach torch by the name of their function, and T and H turn samples out of the first axis.
    operators = {f"__{name}__" for name in ("truediv", "add", "radd", "sub", "mul", "rmul", "matmul", "rmatmul", "neg")}
    assert taken - names_called(LINEAR) <= operators | {"T", "H"}


NONLINEAR = [
    lambda x: x * x,
    lambda x: x @ x.mT,
    lambda x: torch.bmm(x[:, None], x[..., None]),
    lambda x: 1 / x,
    lambda x: torch.div(CONSTANT, x),
    lambda x: x / x.sum(dim=1, keepdim=True),
    lambda x: torch.div(x, 0.5, rounding_mode="floor"),
    lambda x: torch.relu(x),
    lambda x: functional.relu(x, inplace=True),
    lambda x: x.softmax(dim=1),
    lambda x: x.pow(2),
    lambda x: x.max(dim=1).values,
    lambda x: functional.max_pool1d(x, 2),
    lambda x: torch.where(x > 0, CONSTANT, CONSTANT + 1),
    lambda x: CONSTANT.expand(len(x), 4).where(x > 0, x),
    lambda x: functional.batch_norm(x, None, None, training=True),
    lambda x: functional.layer_norm(x, (4,)),
    lambda x: functional.dropout(x, 0.0),
    lambda x: functional.linear(CONSTANT, x),
    lambda x: torch.einsum("nf,nf->n", x, x),
    lambda x: CONSTANT[x.argmax(dim=1)],
    lambda x: x.detach(),
    lambda x: nn.functional.glu(x),
]


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("function", NONLINEAR)
def test_a_nonlinear_function_is_where_the_front_ends(function, stacked):
    inputs = drawn(7, 4, 4, dtype=DOUBLE)
    cuts, result = cuts_of(function, inputs, stacked)
    assert cuts >= 1
    assert torch.allclose(result, function(inputs.clone()), atol=1e-12, rtol=0)


def calls_of(function, inputs):
    """Return the calls of nonlinear functions of a deep tensor."""
    calls = []

    def record(call):
        calls.append(call)
        return call.run()

    with Interception(deep=[inputs], nonlinear=record):
        function(inputs)
    return calls


BENDING = [
    lambda x: torch.relu(x),
    lambda x: functional.relu(x),
    nn.ReLU(),
    nn.ReLU6(),
    functional.relu6,
    nn.LeakyReLU(0.2),
    nn.PReLU(init=0.3).double(),
    torch.abs,
    torch.absolute,
    abs,
    nn.Hardtanh(),
    nn.Hardtanh(-0.5, 2.0),
    lambda x: functional.hardtanh(x, max_val=0.25),
]


@pytest.mark.parametrize("function", BENDING)
def test_a_piecewise_linear_function_bends_where_it_is_said_to(function):
    (call,) = calls_of(function, drawn(0, ROWS, 1, dtype=DOUBLE))
    places = pieces.bends(call)
    edges = [-9.0, *places, 9.0]
    slopes = []
    for left, right in pairwise(edges):
        inside = torch.linspace(left, right, 50, dtype=DOUBLE)[:, None]
        steps = function(inside).diff(dim=0) / inside.diff(dim=0)
        assert torch.allclose(steps, steps[:1], atol=1e-12)
        slopes.append(float(steps[0].detach()))
    assert all(before != pytest.approx(after) for before, after in pairwise(slopes))


@pytest.mark.parametrize(
    "function", [torch.tanh, nn.ELU(), torch.square, lambda x: x * x, lambda x: torch.clamp(x, min=x.flip(1))]
)
def test_a_function_that_is_not_piecewise_linear_has_no_bends(function):
    calls = calls_of(function, drawn(0, ROWS, 4, dtype=DOUBLE))
    assert pieces.bends(calls[-1]) is None


ELEMENTWISE = [
    nn.ReLU(), nn.ReLU6(), functional.relu6, nn.LeakyReLU(), nn.PReLU().double(), nn.ELU(), nn.CELU(), nn.SELU(),
    nn.GELU(), nn.SiLU(), nn.Mish(), nn.Softplus(), nn.Softsign(), nn.Tanh(), nn.Tanhshrink(), nn.Sigmoid(),
    nn.LogSigmoid(), nn.Hardtanh(), nn.Hardsigmoid(), nn.Hardswish(), nn.Threshold(0.1, 0.3), torch.exp, torch.expm1,
    torch.log, torch.log1p, torch.sqrt, torch.square, torch.abs, torch.absolute, torch.sin, torch.cos, torch.erf,
    torch.reciprocal, torch.rsqrt, lambda x: torch.threshold(x, 0.1, 0.3), lambda x: x.clamp(0.2, 0.9),
    lambda x: torch.pow(x, 3), lambda x: x**1.5, lambda x: 2 / x, nn.SiLU(inplace=True), nn.ELU(inplace=True),
    nn.LeakyReLU(inplace=True), nn.Threshold(0.1, 0.3, inplace=True),
]  # fmt: skip


@pytest.mark.parametrize("function", ELEMENTWISE)
def test_the_rescale_rule_is_the_secant_of_each_element(function):
    samples, references = (drawn(seed, 3, 4, dtype=DOUBLE).abs() + 0.01 for seed in (1, 2))
    rows = torch.cat([samples, references])
    # Nothing but the element itself decides: the order of elements does not.
    assert torch.equal(function(rows.flip(1).clone()).flip(1), function(rows.clone()))
    leaf = rows.clone().requires_grad_()
    with Interception(deep=[leaf], nonlinear=lambda call: deeplift.rescale(3, call)):
        result = function(leaf)
    assert torch.equal(result, function(rows.clone()))
    (multipliers,) = torch.autograd.grad(result[:3].sum(), leaf)
    rises = function(samples.clone()) - function(references.clone())
    assert torch.allclose(multipliers[:3], rises / (samples - references), atol=1e-12)
    assert not multipliers[3:].any()


def test_every_elementwise_function_is_among_those_that_are_shown_to_be():
    alike = {"__pow__", "__rtruediv__", "__rdiv__"}
    assert deeplift.ELEMENTWISE - names_called(ELEMENTWISE) <= alike


def changed_in_place(x):
    x.add_(1)


def written_into(x):
    torch.zeros(len(x), 4)[:, :] = x


def used_after_change(x):
    hidden = x + 1
    return functional.relu(hidden, inplace=True) + hidden


@pytest.mark.parametrize("where", ["front", "deep"])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (changed_in_place, "add_ changes a tensor in place"),
        (written_into, "__setitem__ changes a tensor in place"),
        (used_after_change, "add takes a tensor that was changed in place"),
        (lambda x: x.T, "samples leave the first axis"),
        (lambda x: x.flatten(), "samples leave the first axis"),
        (lambda x: x.reshape(-1, 2), "samples leave the first axis"),
        (lambda x: x.sum(), "samples leave the first axis"),
        (lambda x: torch.cat([x, x]), "samples leave the first axis"),
        (lambda x: x[0], "samples leave the first axis"),
        (lambda x: x.to(torch.int64), "makes whole numbers"),
    ],
)
def test_what_cannot_be_followed_is_refused(function, message, where):
    inputs = drawn(0, ROWS, 4)
    parts = {"front": [inputs]} if where == "front" else {"deep": [inputs], "nonlinear": lambda call: call.run()}
    with pytest.raises(UnsupportedError, match=message), Interception(cut=torch.clone, **parts):
        function(inputs)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: bool((x > 0).any()), "__bool__"),
        (lambda x: x.abs().max().item(), "item"),
        (lambda x: int(x[0, 0]), "__int__|samples leave"),
        (lambda x: x.relu().tolist(), "tolist"),
    ],
)
def test_a_network_whose_course_depends_on_its_batch_is_refused(function, name):
    front, auxiliary = drawn(0, ROWS, 4), drawn(1, ROWS, 4)
    for tensor in (front, auxiliary):
        with (
            pytest.raises(UnsupportedError, match=name),
            Interception([front], auxiliary={"gate": auxiliary}, cut=torch.clone),
        ):
            function(tensor)


def test_an_auxiliary_tensor_may_meet_what_is_deep_but_not_the_front():
    front, gate = drawn(0, ROWS, 4), drawn(1, ROWS, 1)
    with Interception([front], auxiliary={"gate": gate}, cut=torch.clone):
        assert torch.equal(torch.relu(front) * gate.exp(), front.relu() * gate.exp())
        with pytest.raises(UnsupportedError, match="mul takes an auxiliary tensor before the first nonlinearity"):
            front * gate.exp()


def test_a_function_that_passes_elsewhere_is_noticed_by_its_gradient():
    leaf = drawn(0, ROWS, 4).requires_grad_()
    unseen = torch.jit.script(square)
    with (
        pytest.raises(UnsupportedError, match="add takes a tensor from a function that cannot be followed"),
        Interception(deep=[leaf], nonlinear=lambda call: call.run()),
    ):
        unseen(leaf) + leaf


def square(tensor: torch.Tensor) -> torch.Tensor:
    return tensor * tensor


def test_what_depends_on_inputs_by_keyword_is_known():
    first, second = drawn(0, ROWS, 4), drawn(1, ROWS, 4)
    calls = []
    with Interception(deep=[first, second], nonlinear=lambda call: calls.append(call) or call.run()):
        torch.clamp(first, min=second)
        torch.mul(first, other=second)
        torch.pow(2.0, first)
    assert [call.dependent for call in calls] == [(0, "min"), (0, "other"), (1,)]


def test_questions_about_a_tensor_cut_nothing():
    def ask(x):
        assert (x.shape[0], x.size(0), len(x), x.dim(), x.numel()) == (ROWS, ROWS, ROWS, 2, 4 * ROWS)
        assert x.dtype == DOUBLE
        assert x.is_floating_point()
        return x

    assert cuts_of(ask, drawn(0, ROWS, 4, dtype=DOUBLE))[0] == 0


def test_one_tensor_of_the_front_is_cut_once():
    def twice(x):
        hidden = x + 1
        return torch.relu(hidden) + torch.tanh(hidden)

    assert cuts_of(twice, drawn(0, ROWS, 4))[0] == 1
