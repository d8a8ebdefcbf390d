"""What a network does with its inputs, seen call by call.

Every torch function that the network calls passes through here, from a module or not, once or often, under `vmap` or
not. So an activation that is reused or functional is seen like any other, which hooks on modules cannot do.

A tensor is in the *front* while it is an affine function of the inputs, and *deep* once a nonlinearity has been at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

FRONT, DEEP, AUXILIARY = "front", "deep", "auxiliary"
Cut = Callable[[torch.Tensor], torch.Tensor]

QUERIES = frozenset((
    "__get__", "size", "dim", "ndimension", "numel", "nelement", "__len__", "stride", "is_floating_point",
    "is_contiguous", "get_device", "is_complex", "__repr__", "type", "data_ptr",
))  # fmt: skip
# Linear in the first argument, whatever the others are.
LINEAR_IN_FIRST = frozenset((
    "flatten", "reshape", "view", "view_as", "reshape_as", "unflatten", "unsqueeze", "squeeze", "permute",
    "transpose", "movedim", "swapaxes", "contiguous", "clone", "to", "float", "double", "expand", "expand_as",
    "repeat", "chunk", "split", "unbind", "select", "narrow", "__getitem__", "index_select", "neg", "__neg__",
    "positive", "sum", "mean", "avg_pool1d", "avg_pool2d", "avg_pool3d", "flip", "roll", "repeat_interleave",
    "cumsum", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "pad", "interpolate",
    "T", "mT", "H", "mH",
))  # fmt: skip
# Linear in the first argument while no other depends on the inputs.
LINEAR_BY_FIRST = frozenset((
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "div",
    "__truediv__", "true_divide", "masked_fill",
))  # fmt: skip
LINEAR_IN_ALL = frozenset((
    "add", "__add__", "__radd__", "sub", "__sub__", "__rsub__", "rsub", "subtract", "cat", "concat", "concatenate",
    "stack",
))  # fmt: skip
PRODUCTS = frozenset(("mul", "__mul__", "__rmul__", "multiply", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm"))
UNLESS_TRAINING = frozenset((
    "batch_norm", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
))  # fmt: skip
# Numbers of the batch at hand, which may decide what the network does next.
NUMBERS = frozenset(("__bool__", "__int__", "__float__", "__index__", "item", "tolist", "numpy"))
# Their modules make a first state of as many rows as the front has, and torch reads past it without a check.
RECURRENT = frozenset(("lstm", "gru", "rnn_tanh", "rnn_relu"))


class UnsupportedError(Exception):
    """The network does something that cannot be taken apart; the message says what."""


@dataclass(frozen=True)
class Call:
    """A call of a torch function; `dependent` are the places, or keywords, of what depends on the inputs.

    `cut` is the number of the cut that is the first argument, None where that is no cut.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple
    keywords: dict
    dependent: tuple[int | str, ...]
    cut: int | None = None

    def run(self) -> Any:
        """Call the function."""
        return self.function(*self.arguments, **self.keywords)


Nonlinear = Callable[[Call], Any]


class Interception(TorchFunctionMode):
    """Follows tensors through a network.

    `front` and `deep` are the tensors to start from, `auxiliary` those that nobody attributes. Where a tensor of the
    front is needed by a nonlinear function, `cut` gives the (deep) tensor that takes its place. `nonlinear`, where
    given, is called with the `Call` in place of every nonlinear function of a deep tensor. With `outline` nobody asks
    for values of the front, and its linear layers give zeros. Raises UnsupportedError where tensors are changed in
    place, samples leave the first axis, an auxiliary tensor meets the front, the network asks for a value of its batch,
    or a tensor that needs a gradient comes from a function that did not pass here.
    """

    def __init__(
        self,
        front: Sequence[torch.Tensor] = (),
        deep: Sequence[torch.Tensor] = (),
        auxiliary: Mapping[str, torch.Tensor] | None = None,
        cut: Cut | None = None,
        nonlinear: Nonlinear | None = None,
        outline: bool = False,
    ) -> None:
        super().__init__()
        self._cut = cut
        self._nonlinear = nonlinear
        self._outline = outline
        self._starts = list(deep)
        self._states: dict[int, str] = {}
        # Tensors are known by their identity, so they must not be freed meanwhile.
        self._kept: list[torch.Tensor] = []
        self._cuts: dict[int, torch.Tensor] = {}
        # Those that a function changed in place, as far as the network knows.
        self._spent: set[int] = set()
        for state, tensors in ((FRONT, front), (DEEP, deep), (AUXILIARY, (auxiliary or {}).values())):
            for tensor in tensors:
                self._set(tensor, state)

    def __torch_function__(
        self, function: Callable[..., Any], _types: Any, arguments: tuple = (), keywords: dict | None = None
    ) -> Any:
        """Call a torch function, or what takes its place."""
        keywords = keywords or {}
        tensors = list(_tensors((arguments, keywords)))
        states = {self._states.get(id(tensor)) for tensor in tensors} - {None}
        name = _name(function)
        self._check(name, tensors, states)
        if not states:
            return function(*arguments, **keywords)
        if keywords.get("inplace"):
            keywords = {**keywords, "inplace": False}
            self._spent.update(map(id, tensors))
        if function.__name__ in QUERIES:
            result = function(*arguments, **keywords)
            if not isinstance(result, torch.Tensor):
                return result
        if name == "batch_norm" and not keywords.get("training", True):
            function = _batch_norm
        if states == {AUXILIARY}:
            return self._mark(function(*arguments, **keywords), AUXILIARY)
        if FRONT in states:
            if AUXILIARY in states:
                raise UnsupportedError(f"{name} takes an auxiliary tensor before the first nonlinearity")
            if DEEP not in states and self._is_linear(name, arguments, keywords):
                if name == "linear" and self._outline:
                    function = _zeros_of_linear
                return self._mark(function(*arguments, **keywords), FRONT, self._rows(arguments, keywords))
            if name in RECURRENT:
                raise UnsupportedError(f"its first nonlinearity is recurrent ({name})")
            arguments, keywords = _replaced((arguments, keywords), self.cut)
        return self._deep(name, function, arguments, keywords)

    def _check(self, name: str, tensors: list[torch.Tensor], states: set[str]) -> None:
        if any(tensor.grad_fn is not None for tensor in tensors if id(tensor) not in self._states):
            raise UnsupportedError(f"{name} takes a tensor from a function that cannot be followed")
        if not self._spent.isdisjoint(map(id, tensors)):
            raise UnsupportedError(f"{name} takes a tensor that was changed in place")
        if states and name in NUMBERS and self._cut is not None:
            raise UnsupportedError(f"what it does depends on values of its batch ({name})")

    def cut(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return what takes the place of a tensor of the front; of any other, the tensor itself."""
        if self._states.get(id(tensor)) != FRONT:
            self._check("the output", [tensor], {self._states.get(id(tensor))} - {None})
            return tensor
        if id(tensor) not in self._cuts:
            self._cuts[id(tensor)] = self._set(self._cut(tensor), DEEP)
            self._starts.append(self._cuts[id(tensor)])
        return self._cuts[id(tensor)]

    def _deep(self, name: str, function: Callable[..., Any], arguments: tuple, keywords: dict) -> Any:
        if self._nonlinear is None:
            return self._mark(function(*arguments, **keywords), DEEP)
        rows = self._rows(arguments, keywords)
        if self._is_linear(name, arguments, keywords):
            return self._mark(function(*arguments, **keywords), DEEP, rows)
        named = (*enumerate(arguments), *keywords.items())
        dependent = tuple(place for place, part in named if self._depends(part))
        first = arguments[0] if arguments else None
        cut = next((number for number, tensor in enumerate(self._starts) if tensor is first), None)
        return self._mark(self._nonlinear(Call(name, function, arguments, keywords, dependent, cut)), DEEP, rows)

    def _is_linear(self, name: str, arguments: tuple, keywords: dict) -> bool:
        if (
            (name.endswith("_") and not name.endswith("__"))
            or name in ("__setitem__", "__set__")
            or name.startswith("__i")
        ):
            raise UnsupportedError(f"{name} changes a tensor in place")
        if name in LINEAR_IN_ALL:
            return True
        first, *others = [self._depends(part) for part in (*arguments, *keywords.values())]
        if name in LINEAR_IN_FIRST or name in LINEAR_BY_FIRST:
            return first and not any(others) and not keywords.get("rounding_mode")
        if name in UNLESS_TRAINING:
            return first and not any(others) and not keywords.get("training", True)
        if name == "where":
            return not first
        return name in PRODUCTS and [first, *others].count(True) == 1

    def _depends(self, part: Any) -> bool:
        return any(self._states.get(id(tensor)) in (FRONT, DEEP) for tensor in _tensors(part))

    def _rows(self, arguments: tuple, keywords: dict) -> int:
        """Return the number of samples: the length of the first axis of what depends on the inputs."""
        return max(len(tensor) for tensor in _tensors((arguments, keywords)) if self._depends(tensor))

    def _mark(self, result: Any, state: str, rows: int | None = None) -> Any:
        for tensor in _tensors(result):
            if rows is not None and (tensor.ndim == 0 or len(tensor) != rows):
                raise UnsupportedError("samples leave the first axis")
            if rows is not None and not tensor.is_floating_point():
                raise UnsupportedError(f"it makes whole numbers ({tensor.dtype}) of what depends on its inputs")
            self._set(tensor, state)
        return result

    def _set(self, tensor: torch.Tensor, state: str) -> torch.Tensor:
        self._states[id(tensor)] = state
        self._spent.discard(id(tensor))
        self._kept.append(tensor)
        return tensor


def _name(function: Callable[..., Any]) -> str:
    """Return a function's name; of the access to an attribute, the attribute's."""
    return getattr(function.__self__, "__name__", "") if function.__name__ == "__get__" else function.__name__


class Way(TorchFunctionMode):
    """Records the `names` of the torch functions that a network calls: its way through its own code."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(
        self, function: Callable[..., Any], _types: Any, arguments: tuple = (), keywords: dict | None = None
    ) -> Any:
        """Call a torch function."""
        self.names.append(function.__name__)
        return function(*arguments, **(keywords or {}))


def _batch_norm(
    inputs: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    **_: Any,
) -> torch.Tensor:
    """Return batch norm in eval mode as one product and sum; torch's own moves all data about under `vmap`."""
    scale = (variance + eps).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - mean * scale
    shape = (1, -1, *[1] * (inputs.ndim - 2))
    return torch.addcmul(shift.reshape(shape), inputs, scale.reshape(shape))


def _zeros_of_linear(inputs: torch.Tensor, weight: torch.Tensor, _bias: torch.Tensor | None = None) -> torch.Tensor:
    return inputs.new_zeros((*inputs.shape[:-1], *weight.shape[:-1]))


def _tensors(part: Any) -> Iterator[torch.Tensor]:
    if isinstance(part, torch.Tensor):
        yield part
    elif isinstance(part, list | tuple):
        for item in part:
            yield from _tensors(item)
    elif isinstance(part, dict):
        yield from _tensors(list(part.values()))


def _replaced(part: Any, change: Cut) -> Any:
    if isinstance(part, torch.Tensor):
        return change(part)
    if isinstance(part, list | tuple) and not isinstance(part, torch.Size):
        return type(part)(_replaced(item, change) for item in part)
    if isinstance(part, dict):
        return {key: _replaced(item, change) for key, item in part.items()}
    return part
