"""All members of a model as one differentiable function from scaled inputs to its targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy, deepcopy
from functools import partial
from math import ceil
from typing import Any

import torch
from torch.func import functional_call, vmap

from consilience.errors import ConsilienceError, nearest

Tensors = tuple[torch.Tensor, ...]
Reduction = Callable[[Tensors], Tensors]
Network = Callable[..., torch.Tensor]

# Numbers held at once for the members computed together: what stays in a CPU's reach, and a gigabyte of a GPU.
NUMBERS_AT_ONCE = {"cpu": 10_000_000, "cuda": 2**28}
# Numbers in a gradient of all members and targets over a batch of samples: bounds memory, changes no result. As bytes
# just below the 32 MiB from which on the C library asks the system for fresh pages every time.
GRADIENT_NUMBERS = 8_000_000


def target_map(
    task: str, outputs: int, target_scale: float = 1.0, target_center: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return T (targets, outputs) and the offset (targets,), float64, of F = T . outputs + offset.

    Regression: the target in its own unit. Two classes: one log-odds. More: the logits less their mean, because
    softmax leaves logits free up to a common shift.
    """
    if task == "regression":
        return torch.tensor([[float(target_scale)]]).double(), torch.tensor([float(target_center)]).double()
    if outputs < 2:
        raise ConsilienceError(f"{task} needs two outputs or more, a logit for each class; the network has {outputs}")
    if outputs == 2:
        return torch.tensor([[-1.0, 1.0]]).double(), torch.zeros(1).double()
    return torch.eye(outputs).double() - 1 / outputs, torch.zeros(outputs).double()


class EnsembleFunction:
    """The members of a model as one function; members of a `stackable` module are computed together by `torch.func`.

    `module` is in eval mode and called as `module(*inputs, **auxiliary) -> (samples, outputs)`; `states` are its
    parameters and buffers, each (members, ...); `target_map` is T (targets, outputs) and `offset` (targets,). Inputs
    are scaled, one tensor (samples, *shape) a branch; auxiliary tensors have samples on their first axis. Samples must
    not influence each other, which eval mode grants.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        states: dict[str, torch.Tensor],
        target_map: torch.Tensor,
        offset: torch.Tensor,
    ) -> None:
        training = [name or "the whole network" for name, part in module.named_modules() if part.training]
        if training:
            raise ConsilienceError(
                f"attribution needs a network in eval mode; in train mode: {', '.join(training[:3])}"
            )
        _check_normalization(module)
        _check_states(module, states)
        self.module = module
        self.states = {name: tensor.detach() for name, tensor in states.items()}
        self.members = len(next(iter(states.values())))
        device = next(iter(states.values())).device
        self.target_map = target_map.to(device, torch.float64)
        self.offset = offset.to(device, torch.float64)
        self.stackable = bool(getattr(module, "stackable", False))
        # A part that is used under two names is given its tensors once: torch would put them back wrongly.
        parts = dict(module.named_modules())
        self._names = [name for name in self.states if name.rpartition(".")[0] in parts]
        self._attending = any(isinstance(part, torch.nn.MultiheadAttention) for part in module.modules())
        self._recurrent = any(isinstance(part, torch.nn.RNNBase) for part in module.modules())
        self._numbers = 0

    @property
    def targets(self) -> int:
        """The number of targets."""
        return len(self.target_map)

    def part(self, members: slice) -> EnsembleFunction:
        """Return the function of some of the members."""
        other = copy(self)
        other.states = {name: tensor[members] for name, tensor in self.states.items()}
        other.members = len(next(iter(other.states.values())))
        return other

    def member_module(self, member: int) -> torch.nn.Module:
        """Return a copy of the network with one member's weights, in eval mode."""
        module = deepcopy(self.module)
        module.load_state_dict({name: tensor[member] for name, tensor in self.states.items()})
        return module

    def parts(self, inputs: Tensors, auxiliary: Mapping[str, torch.Tensor], rows: int = 0) -> Iterator[slice]:
        """Yield the members to compute together: one without stacking, else as many as memory is meant to hold.

        `rows` is how many rows a network is given at once, those of `inputs` where 0.
        """
        samples = len(inputs[0])
        if any(len(tensor) != samples for tensor in (*inputs, *auxiliary.values())):
            counts = [len(tensor) for tensor in (*inputs, *auxiliary.values())]
            raise ConsilienceError(f"inputs and auxiliary tensors must hold the same samples; they hold {counts}")
        size = 1
        if self.stackable:
            limit = NUMBERS_AT_ONCE.get(inputs[0].device.type, NUMBERS_AT_ONCE["cpu"])
            size = max(1, limit // max(1, (rows or samples) * self.numbers(inputs, auxiliary)))
            # As even as can be: 6 and 6 rather than 11 and 1.
            size = ceil(self.members / ceil(self.members / size))
        for start in range(0, self.members, size):
            yield slice(start, min(start + size, self.members))

    def apply(self, through: Callable[..., Any], stacked: Tensors) -> Any:
        """Call `through(network, *own)` for every member, and return the tensors it gives with members in front.

        `network(*inputs, **auxiliary)` gives a member's raw outputs; `own` is the member's share of `stacked`, tensors
        (members, ...).
        """
        # cuDNN's recurrent layers have no backward pass in eval mode.
        with (
            full_precision(stacked[0], cudnn=not self._recurrent),
            _differentiable_attention() if self._attending else nullcontext(),
        ):
            if self.stackable:
                return vmap(lambda state, *own: through(partial(self._call, state), *own))(self.states, *stacked)
            results = []
            for member in range(self.members):
                state = {name: tensor[member] for name, tensor in self.states.items()}
                results.append(through(partial(self._call, state), *(tensor[member] for tensor in stacked)))
            if isinstance(results[0], torch.Tensor):
                return torch.stack(results)
            return tuple(torch.stack(tensors) for tensors in zip(*results, strict=True))

    @torch.no_grad()
    def values(self, inputs: Tensors, auxiliary: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Return F, float64 (members, samples, targets)."""
        auxiliary = auxiliary or {}
        values = [
            self.part(members)._outputs(self._expand(inputs, members), auxiliary, members.start)
            for members in self.parts(inputs, auxiliary)
        ]
        return self.targets_of(torch.cat(values))

    def gradients(
        self, inputs: Tensors, auxiliary: Mapping[str, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, Tensors]:
        """Return F, float64 (members, samples, targets), and dF/dinputs, a tensor (members, targets, samples, *shape).

        One forward pass serves all targets.
        """
        auxiliary = auxiliary or {}
        values, results = [], ()
        for members in self.parts(inputs, auxiliary):
            leaves = tuple(tensor.requires_grad_() for tensor in self._expand(inputs, members))
            with torch.enable_grad():
                outputs = self.part(members)._outputs(leaves, auxiliary, members.start)
            if not outputs.requires_grad:
                raise ConsilienceError("the network's output does not depend on its inputs in a differentiable way")
            values.append(self.targets_of(outputs.detach()))
            for target in range(self.targets):
                kept = self.pull(outputs, leaves, target)
                if self.targets == 1 and len(outputs) == self.members:
                    return values[0], tuple(tensor.unsqueeze(1) for tensor in kept)
                results = results or tuple(self._empty(tensor) for tensor in kept)
                for result, tensor in zip(results, kept, strict=True):
                    result[members, target] = tensor
        return torch.cat(values), results

    def targets_of(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return F, float64 (..., targets), of raw outputs (..., outputs)."""
        return outputs.double() @ self.target_map.T + self.offset

    def pull(self, outputs: torch.Tensor, leaves: Tensors, target: int) -> Tensors:
        """Return the gradients of the sum over samples of one target, which are those of every sample."""
        cotangent = self.target_map[target].to(outputs.dtype).expand_as(outputs)
        with full_precision(outputs):
            return torch.autograd.grad(
                outputs,
                leaves,
                cotangent,
                retain_graph=target < self.targets - 1,
                allow_unused=True,
                materialize_grads=True,
            )

    def _empty(self, kept: torch.Tensor) -> torch.Tensor:
        return kept.new_empty((self.members, self.targets, *kept.shape[1:]))

    @staticmethod
    def _expand(inputs: Tensors, members: slice) -> Tensors:
        return tuple(tensor.expand(members.stop - members.start, *tensor.shape).detach() for tensor in inputs)

    def _outputs(self, inputs: Tensors, auxiliary: Mapping[str, torch.Tensor], first: int) -> torch.Tensor:
        """Return the raw outputs (members, samples, outputs); inputs carry the members' axis."""
        outputs = self.apply(lambda network, *own: network(*own, **auxiliary), inputs)
        _check_outputs(outputs.detach(), first, inputs[0].shape[1], self.target_map.shape[1])
        return outputs

    def _call(self, state: dict[str, torch.Tensor], *inputs: torch.Tensor, **auxiliary: torch.Tensor) -> torch.Tensor:
        own = {name: state[name] for name in self._names}
        return functional_call(self.module, own, inputs, auxiliary, tie_weights=False)

    def numbers(self, inputs: Tensors, auxiliary: Mapping[str, torch.Tensor]) -> int:
        """Return the numbers that one sample takes in one member: its inputs and the outputs of all layers."""
        self._numbers = self._numbers or self._count_numbers(inputs, auxiliary)
        return self._numbers

    @torch.no_grad()
    def _count_numbers(self, inputs: Tensors, auxiliary: Mapping[str, torch.Tensor]) -> int:
        counts = [tensor[0].numel() for tensor in inputs]
        with _watched(self.module, lambda output: counts.append(output.numel())):
            state = {name: tensor[0] for name, tensor in self.states.items()}
            one = {name: tensor[:1] for name, tensor in auxiliary.items()}
            self._call(state, *(tensor[:1] for tensor in inputs), **one)
        return sum(counts)


def full_precision(like: torch.Tensor, cudnn: bool = True) -> AbstractContextManager[None]:
    """Keep cuDNN from TF32, which has three digits, where `like` lies on a GPU; without `cudnn`, from all it does.

    A backward pass does not remember how its forward pass was made, and needs this too.
    """
    return torch.backends.cudnn.flags(enabled=cudnn, allow_tf32=False) if like.is_cuda else nullcontext()


@contextmanager
def _differentiable_attention() -> Iterator[None]:
    """Keep torch from attention's fast path, which has no derivative; under vmap it does not see that one is needed."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@contextmanager
def _watched(module: torch.nn.Module, see: Callable[[torch.Tensor], None]) -> Iterator[None]:
    """Call `see` with the output of every layer that gives a tensor, until the block ends."""

    def hook(_module: torch.nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            see(output)

    handles = [part.register_forward_hook(hook) for part in module.modules() if not list(part.children())]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _check_normalization(module: torch.nn.Module) -> None:
    for name, part in module.named_modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm) and part.running_mean is None:
            raise ConsilienceError(
                f"attribution needs samples that do not influence each other; {name} has no running statistics "
                "(track_running_stats=False) and normalizes by the batch at hand"
            )


def _check_states(module: torch.nn.Module, states: dict[str, torch.Tensor]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    for name in sorted(expected.keys() - states.keys()):
        raise ConsilienceError(f"the ensemble lacks the tensor {name}{nearest(name, states)}")
    for name in sorted(states.keys() - expected.keys()):
        raise ConsilienceError(f"the network has no tensor {name}{nearest(name, expected)}")
    if not expected:
        raise ConsilienceError("the network has no parameters")
    members = {name: tuple(tensor.shape)[:1] for name, tensor in states.items()}
    for name, shape in expected.items():
        if tuple(states[name].shape)[1:] != shape or members[name] != members[next(iter(expected))]:
            raise ConsilienceError(
                f"the ensemble's tensor {name} has shape {tuple(states[name].shape)}; expected (members, *{shape})"
            )


def _check_outputs(outputs: torch.Tensor, first: int, samples: int, expected: int) -> None:
    """Refuse outputs of another shape, values that are not finite, and probabilities in place of logits."""
    if tuple(outputs.shape[1:]) != (samples, expected):
        raise ConsilienceError(
            f"the network gives outputs of shape {tuple(outputs.shape[1:])}; expected (samples, outputs) = "
            f"({samples}, {expected})"
        )
    finite = outputs.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        member = first + int((~finite).nonzero()[0])
        raise ConsilienceError(f"member {member} gives outputs that are not finite; did its training diverge?")
    if expected > 1 and samples:
        inside = bool(((outputs >= 0) & (outputs <= 1)).all())
        if inside and bool(((outputs.sum(dim=-1) - 1).abs() < 1e-4).all()):
            raise ConsilienceError(
                "the network's outputs are probabilities (each row lies in 0..1 and sums to one); "
                "attribution explains logits: leave out the final softmax"
            )
