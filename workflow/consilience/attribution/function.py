"""All members of a model as one differentiable function from scaled inputs to its targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.func import functional_call, vmap

from consilience.errors import ConsilienceError, nearest

Tensors = tuple[torch.Tensor, ...]
Reduction = Callable[[Tensors], Tensors]

# Numbers held at once for the members computed together: what stays in a CPU's reach, and a gigabyte of a GPU.
NUMBERS_AT_ONCE = {"cpu": 2**22, "cuda": 2**28}


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
        _check_states(module, states)
        self.module = module
        self.states = {name: tensor.detach() for name, tensor in states.items()}
        self.members = len(next(iter(states.values())))
        device = next(iter(states.values())).device
        self.target_map = target_map.to(device, torch.float64)
        self.offset = offset.to(device, torch.float64)
        self.stackable = bool(getattr(module, "stackable", False))
        self._recurrent = any(isinstance(part, torch.nn.RNNBase) for part in module.modules())
        self._numbers = 0

    @property
    def targets(self) -> int:
        """The number of targets."""
        return len(self.target_map)

    @torch.no_grad()
    def values(self, inputs: Tensors, auxiliary: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Return F, float64 (members, samples, targets)."""
        chunks = self._chunks(inputs, auxiliary or {})
        outputs = [self._outputs(chunk, self._expand(inputs, chunk), auxiliary or {}) for chunk in chunks]
        return self._values(torch.cat(outputs))

    def gradients(
        self, inputs: Tensors, auxiliary: dict[str, torch.Tensor] | None = None, reduce: Reduction | None = None
    ) -> tuple[torch.Tensor, Tensors]:
        """Return F, float64 (members, samples, targets), and dF/dinputs, a tensor (members, targets, samples, *shape).

        One forward pass serves all targets. `reduce`, where given, maps the gradients of some members and one target
        (a tensor (members, samples, *shape) a branch) to what is kept of them, (members, n, *shape), so that a path's
        gradients need not be held.
        """
        auxiliary = auxiliary or {}
        values, results = [], ()
        for chunk in self._chunks(inputs, auxiliary):
            leaves = tuple(tensor.requires_grad_() for tensor in self._expand(inputs, chunk))
            with torch.enable_grad():
                outputs = self._outputs(chunk, leaves, auxiliary)
            if not outputs.requires_grad:
                raise ConsilienceError("the network's output does not depend on its inputs in a differentiable way")
            values.append(self._values(outputs.detach()))
            for target in range(self.targets):
                kept = self._pull(outputs, leaves, target)
                kept = reduce(kept) if reduce else kept
                results = results or tuple(self._empty(tensor) for tensor in kept)
                for result, tensor in zip(results, kept, strict=True):
                    result[chunk, target] = tensor
        return torch.cat(values), results

    def _pull(self, outputs: torch.Tensor, leaves: Tensors, target: int) -> Tensors:
        """Return the gradients of the sum over samples of one target, which are those of every sample."""
        cotangent = self.target_map[target].to(outputs.dtype).expand_as(outputs)
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
    def _expand(inputs: Tensors, chunk: slice) -> Tensors:
        return tuple(tensor.expand(chunk.stop - chunk.start, *tensor.shape).detach() for tensor in inputs)

    def _outputs(self, chunk: slice, inputs: Tensors, auxiliary: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the raw outputs (members, samples, outputs) of the members in `chunk`; inputs carry their axis."""
        states = {name: tensor[chunk] for name, tensor in self.states.items()}
        # cuDNN's recurrent layers have no backward pass in eval mode.
        plain = self._recurrent and inputs[0].is_cuda
        with torch.backends.cudnn.flags(enabled=False) if plain else nullcontext():
            if self.stackable:
                outputs = vmap(self._call, in_dims=(0, 0, None))(states, inputs, auxiliary)
            else:
                state = {name: tensor[0] for name, tensor in states.items()}
                outputs = self._call(state, tuple(tensor[0] for tensor in inputs), auxiliary)[None]
        _check_outputs(outputs.detach(), chunk, len(inputs[0][0]), self.target_map.shape[1])
        return outputs

    def _call(
        self, state: dict[str, torch.Tensor], inputs: Tensors, auxiliary: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        return functional_call(self.module, state, inputs, auxiliary)

    def _values(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.double() @ self.target_map.T + self.offset

    def _chunks(self, inputs: Tensors, auxiliary: dict[str, torch.Tensor]) -> Iterator[slice]:
        """Yield the members to compute together: one without stacking, else as many as memory is meant to hold."""
        samples = len(inputs[0])
        if any(len(tensor) != samples for tensor in (*inputs, *auxiliary.values())):
            counts = [len(tensor) for tensor in (*inputs, *auxiliary.values())]
            raise ConsilienceError(f"inputs and auxiliary tensors must hold the same samples; they hold {counts}")
        size = 1
        if self.stackable:
            self._numbers = self._numbers or self._count_numbers(inputs, auxiliary)
            limit = NUMBERS_AT_ONCE.get(inputs[0].device.type, NUMBERS_AT_ONCE["cpu"])
            size = max(1, limit // max(1, samples * self._numbers))
        for start in range(0, self.members, size):
            yield slice(start, min(start + size, self.members))

    @torch.no_grad()
    def _count_numbers(self, inputs: Tensors, auxiliary: dict[str, torch.Tensor]) -> int:
        """Count the numbers that one sample takes in one member: its inputs and the outputs of all layers."""
        counts = [tensor[0].numel() for tensor in inputs]
        with _watched(self.module, lambda output: counts.append(output.numel())):
            state = {name: tensor[0] for name, tensor in self.states.items()}
            one = {name: tensor[:1] for name, tensor in auxiliary.items()}
            self._call(state, tuple(tensor[:1] for tensor in inputs), one)
        return sum(counts)


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


def _check_outputs(outputs: torch.Tensor, chunk: slice, samples: int, expected: int) -> None:
    """Refuse outputs of another shape, values that are not finite, and probabilities in place of logits."""
    if tuple(outputs.shape[1:]) != (samples, expected):
        raise ConsilienceError(
            f"the network gives outputs of shape {tuple(outputs.shape[1:])}; expected (samples, outputs) = "
            f"({samples}, {expected})"
        )
    finite = outputs.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        member = chunk.start + int((~finite).nonzero()[0])
        raise ConsilienceError(f"member {member} gives outputs that are not finite; did its training diverge?")
    if expected > 1 and samples:
        inside = bool(((outputs >= 0) & (outputs <= 1)).all())
        if inside and bool(((outputs.sum(dim=-1) - 1).abs() < 1e-4).all()):
            raise ConsilienceError(
                "the network's outputs are probabilities (each row lies in 0..1 and sums to one); "
                "attribution explains logits: leave out the final softmax"
            )
