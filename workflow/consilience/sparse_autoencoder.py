"""Sparse autoencoders: a dictionary of atoms of length one, of which few make up each sample.

z = activation(W (x - b) + c), reconstruction D z + b: b is the pre-bias, the columns of D are the atoms. Two ways to
keep few codes: `top_k`, the k largest pre-activations of every sample (Makhzani & Frey 2014, "k-sparse autoencoders";
Gao et al. 2024, "Scaling and evaluating sparse autoencoders", section 2.3), and `batch_top_k`, the B k largest of a
batch of B samples, which share them as they need (Bussmann, Leask & Nanda 2024, "BatchTopK sparse autoencoders").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary

from consilience.errors import ConsilienceError
from consilience.reconstruction import Errors
from consilience.resume import Part, State, copy_into, flat
from consilience.training.members import stable_seed
from consilience.training.optimizer import Optimizer

ACTIVATIONS = ("top_k", "batch_top_k")
# Rows that are encoded at once where no gradient is needed.
EVALUATION_ROWS = 4096
# Validation rows that the threshold of batch_top_k is taken from: bounds memory.
THRESHOLD_ROWS = 16384
# The share of the steps over which the learning rate falls to 0 in the end.
DECAY = 0.2
# A normalized error beyond: a bad dictionary is told of, this is none.
WORTHLESS = 2.0
SMALLEST = 1e-30
# Relative to the root mean square of all inputs' standard deviations: below, an input hardly varies.
HARDLY = 0.1


def keep_largest(pre_activations: Tensor, k: int) -> Tensor:
    """Return the k largest of each row (..., atoms) where they are positive; all others are 0."""
    # A single call to whoever follows a network's functions, so that attribution knows what switches here.
    if has_torch_function_unary(pre_activations):
        return handle_torch_function(keep_largest, (pre_activations,), pre_activations, k)
    values, places = pre_activations.topk(k, dim=-1, sorted=False)
    return torch.zeros_like(pre_activations).scatter(-1, places, values.relu())


def keep_above(pre_activations: Tensor, threshold: Tensor) -> Tensor:
    """Return what lies above the threshold (); all others are 0."""
    if has_torch_function_unary(pre_activations):
        return handle_torch_function(keep_above, (pre_activations,), pre_activations, threshold)
    return torch.where(pre_activations > threshold, pre_activations, 0)


@dataclass(frozen=True)
class Recipe:
    """How a dictionary is learned.

    Adam on the squared error in units of the training rows' variance, the learning rate falling to 0 in the end. Atoms
    that nothing excited for an epoch are dead; the `auxiliary_atoms` of them that are nearest to it are asked to
    explain what the others leave over, with the weight `auxiliary` (Gao et al. 2024, appendix A.2, who have billions of
    rows and take 1/32).
    """

    epochs: int = 30
    batch_size: int = 256
    learning_rate: float = 1e-3
    auxiliary: float = 1 / 8
    auxiliary_atoms: int = 256


class SparseAutoencoder(nn.Module):
    """A dictionary of `atoms` atoms; called with inputs (rows, inputs), it gives codes (rows, atoms), none negative.

    While it is fitted, `batch_top_k` chooses over the batch; afterwards the threshold takes its place that chooses k a
    row over the validation rows, so that a sample's code does not depend on its company. Raises ConsilienceError for an
    unknown activation, and for k beyond the number of atoms.
    """

    def __init__(
        self, inputs: int, atoms: int, k: int, activation: str = "top_k", recipe: Recipe | None = None
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ConsilienceError(f"activation: {activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        if not 1 <= k <= atoms:
            raise ConsilienceError(f"k: {k} of {atoms} atoms; expected 1 to {atoms}")
        self.k, self.activation, self.recipe = k, activation, recipe or Recipe()
        self.encoder = nn.Linear(inputs, atoms)
        self.decoder = nn.Linear(atoms, inputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(inputs))
        self.register_buffer("threshold", torch.zeros(()))

    def extra_repr(self) -> str:
        """Tell what no shape of a weight does."""
        return f"k={self.k}, activation={self.activation}"

    @property
    def epochs(self) -> int:
        """The number of epochs that it is fitted for."""
        return self.recipe.epochs

    @property
    def atoms(self) -> Tensor:
        """The atoms (inputs, atoms), columns of length one."""
        return self.decoder.weight

    def pre_activations(self, inputs: Tensor) -> Tensor:
        """Return W (x - b) + c, (rows, atoms)."""
        return self.encoder(inputs - self.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the codes (rows, atoms)."""
        excited = self.pre_activations(inputs)
        return keep_largest(excited, self.k) if self.activation == "top_k" else keep_above(excited, self.threshold)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the reconstruction (rows, inputs) of codes."""
        return self.decoder(codes) + self.bias

    def fit(
        self,
        training: Tensor,
        validation: Tensor,
        seed: int,
        tick: Callable[[], None] = lambda: None,
        part: Part | None = None,
    ) -> dict[str, Any]:
        """Learn the dictionary from inputs (rows, inputs), and return what metrics.json tells of it.

        `tick` is called after every epoch. The same seed gives the same dictionary. `part` keeps what the fit has come
        to, and continues an earlier try. Raises ConsilienceError for fewer than two rows, rows that are all the same,
        and where the fit diverges.
        """
        curve = _Fit(self, training, seed).run(validation, tick, part or Part())
        found = quality(self, validation, training.mean(dim=0))
        return {
            "atoms": self.decoder.in_features,
            "k": self.k,
            "activation": self.activation,
            "recipe": vars(self.recipe),
            "normalized_error": curve,
            "validation": found,
        }


class _Fit:
    """The fitting of one dictionary."""

    def __init__(self, module: SparseAutoencoder, training: Tensor, seed: int) -> None:
        self.module, self.training, self.recipe = module, training, module.recipe
        self.variance = float(training.var(dim=0, correction=0).sum()) if len(training) > 1 else 0.0
        if not self.variance > 0:
            raise ConsilienceError(f"a dictionary is learned from two rows or more that differ; given: {len(training)}")
        # On the CPU, so that every device draws alike.
        self.random = torch.Generator().manual_seed(stable_seed(seed, "dictionary"))
        self.idle = torch.zeros(module.decoder.in_features, dtype=torch.long, device=training.device)
        self._initialize()
        rule = {"optimizer": "adam", "momentum": 0.9, "weight_decay": 0.0, "clip": None}
        self.optimizer = Optimizer(module, rule | {"learning_rate": self.recipe.learning_rate})

    @torch.no_grad()
    def _initialize(self) -> None:
        """Start from random atoms, an encoder that is their transpose, and the mean as pre-bias (Gao et al., A.1).

        Inputs that hardly vary have little part in them: their weights would stay as drawn, and attributions show them.
        """
        module = self.module
        drawn = torch.randn(module.atoms.shape, generator=self.random).to(self.training)
        deviation = self.training.std(dim=0, correction=0)
        part = (deviation / (HARDLY * deviation.square().mean().sqrt())).clamp(max=1)
        module.atoms.copy_(functional.normalize(drawn * part[:, None], dim=0))
        module.encoder.weight.copy_(module.atoms.T)
        module.encoder.bias.zero_()
        module.bias.copy_(self.training.mean(dim=0))

    def run(self, validation: Tensor, tick: Callable[[], None], part: Part) -> list[float]:
        """Fit, and return the normalized error of the validation rows after every epoch."""
        center, curve = self.training.mean(dim=0), []

        def kept() -> State:
            random = {"order": self.random.get_state()}
            return State(flat(self._changing() | {"random": random}), {"curve": list(curve)})

        if part.saved is not None:
            curve.extend(self._restore(part.saved))
            for _ in curve:
                tick()
        for epoch in range(len(curve), self.recipe.epochs):
            self._epoch(epoch)
            if self.module.activation == "batch_top_k":
                self._set_threshold(validation)
            curve.append(quality(self.module, validation, center)["normalized_mean_squared_error"])
            self._check(epoch, curve[-1])
            tick()
            part.keep(kept)
        part.end(State(flat({"module": self.module.state_dict()}), {"curve": list(curve)}))
        return curve

    def _changing(self) -> dict[str, dict[str, Tensor]]:
        """Return what an epoch changes, by kind."""
        return {
            "module": self.module.state_dict(), "optimizer": self.optimizer.tensors, "idle": {"": self.idle},
        }  # fmt: skip

    def _restore(self, saved: State) -> list[float]:
        """Go back to the end of the epoch that an earlier try had come to, and return its curve."""
        curve = saved.facts["curve"]
        copy_into(self.module.state_dict(), saved.tensors_of("module"))
        if len(curve) < self.recipe.epochs:
            for kind, live in self._changing().items():
                copy_into(live, saved.tensors_of(kind))
            self.random.set_state(saved.tensors_of("random")["order"])
        return curve

    def _check(self, epoch: int, error: float | None) -> None:
        """Refuse a fit that diverges, or that in the end explains less than the mean does."""
        finite = all(bool(values.isfinite().all()) for values in self.optimizer.parameters)
        last = epoch + 1 == self.recipe.epochs
        if not finite or (last and error is not None and not error < WORTHLESS):
            raise ConsilienceError(
                f"the dictionary diverged: its normalized error is {'not finite' if error is None else f'{error:.3g}'} "
                f"after epoch {epoch + 1}; lower autoencoder.learning_rate ({self.recipe.learning_rate:g})"
            )

    def _epoch(self, epoch: int) -> None:
        order = torch.randperm(len(self.training), generator=self.random).to(self.training.device)
        batches = order.split(self.recipe.batch_size)
        for place, rows in enumerate(batches):
            done = (epoch + place / len(batches)) / self.recipe.epochs
            self.optimizer.recipe["learning_rate"] = self.recipe.learning_rate * min(1.0, (1 - done) / DECAY)
            self._step(self.training.index_select(0, rows))

    def _step(self, inputs: Tensor) -> None:
        module = self.module
        excited = module.pre_activations(inputs)
        codes = self._choose(excited)
        left = inputs - module.decode(codes)
        loss = left.square().sum(dim=1).mean() / self.variance + self._auxiliary_loss(excited, left.detach())
        for values in self.optimizer.parameters:
            values.grad = None
        loss.backward()
        with torch.no_grad():
            fired = (codes > 0).any(dim=0)
            self.idle = torch.where(fired, 0, self.idle + len(inputs))
            atoms, gradient = module.atoms, module.atoms.grad
            # What would only lengthen an atom is taken out of its gradient, and rounding by the division.
            gradient -= (gradient * atoms).sum(dim=0) * atoms
        self.optimizer.step()
        with torch.no_grad():
            module.atoms.div_(module.atoms.norm(dim=0).clamp_min(1e-12))

    def _choose(self, excited: Tensor) -> Tensor:
        if self.module.activation == "top_k":
            return keep_largest(excited, self.module.k)
        return keep_largest(excited.flatten(), self.module.k * len(excited)).view_as(excited)

    def _auxiliary_loss(self, excited: Tensor, left: Tensor) -> Tensor | float:
        dead = (self.idle >= len(self.training)).nonzero().squeeze(1)
        if not len(dead):
            return 0.0
        codes = keep_largest(excited[:, dead], min(self.recipe.auxiliary_atoms, len(dead)))
        missed = left - codes @ self.module.atoms[:, dead].T
        return self.recipe.auxiliary * missed.square().sum() / left.square().sum().clamp_min(SMALLEST)

    @torch.no_grad()
    def _set_threshold(self, validation: Tensor) -> None:
        """Set the threshold above which lie k pre-activations a validation row on the average.

        Of rows that the dictionary was fitted on, fewer would: it knows them.
        """
        few = validation[:: -(-len(validation) // THRESHOLD_ROWS)]
        largest = torch.cat([
            self.module.pre_activations(rows).relu().flatten() for rows in few.split(EVALUATION_ROWS)
        ])  # fmt: skip
        # topk where kthvalue would do: on a GPU, with 67 million numbers, that takes hundreds of times as long.
        most = largest.topk(min(self.module.k * len(few) + 1, len(largest))).values
        # Between two values, since rounding would decide about a code that lies on the threshold itself.
        below, above = most[-1], most[max(len(most) - 2, 0)]
        self.module.threshold.copy_((below + above) / 2)


@torch.no_grad()
def quality(module: SparseAutoencoder, inputs: Tensor, center: Tensor) -> dict[str, float | None]:
    """Return how well the codes of inputs (rows, inputs) stand for them, by name.

    `mean_squared_error` is a mean over elements; `normalized_mean_squared_error` the squared error relative to that of
    `center` (inputs,), the mean of the training rows; `explained_variance` 1 - Var(error) / Var(inputs), summed over
    elements (None for rows that do not differ); `l0` the mean number of codes that are not 0; `dead_share` the share of
    atoms that no row excites.
    """
    sums = Errors(center)
    active, fired = 0, torch.zeros(module.decoder.in_features, dtype=torch.bool, device=inputs.device)
    for rows in inputs.split(EVALUATION_ROWS):
        codes = module(rows)
        active += int(torch.count_nonzero(codes))
        fired |= (codes > 0).any(dim=0)
        sums.add(rows, rows - module.decode(codes))
    return sums.named() | {"l0": active / len(inputs), "dead_share": float((~fired).double().mean())}
