"""The members of one model in one file: stacked states, scaling, and the facts that rebuild the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from consilience.errors import ConsilienceError
from consilience.files import read_tensors, write_tensors
from consilience.networks import NetworkContext
from consilience.scaling import Scaling
from consilience.training.members import Member

Build = Callable[[dict[str, Any], NetworkContext], nn.Module]
Arrays = dict[str, np.ndarray]
FACTS = ("model", "specification", "task", "outputs", "features", "axis")


@dataclass(frozen=True)
class Ensemble:
    """The trained members of one model.

    `states` are the parameters and buffers by name, each (members, ...). A regression's outputs are standardized:
    `target_center` + `target_scale` x output is in the target's own unit (0 and 1 for classes). `axis` is the SHA-256
    of the names of the features, so that weights are not taken for those of other features.
    """

    model: str
    specification: dict[str, Any]
    task: str
    outputs: int
    features: int
    axis: str
    branches: dict[str, tuple[int, ...]]
    auxiliary: dict[str, tuple[int, ...]]
    members: list[Member]
    states: Arrays
    scalings: dict[str, Scaling]
    target_center: float
    target_scale: float

    @property
    def context(self) -> NetworkContext:
        """What the network fits."""
        return NetworkContext(self.branches, self.outputs, self.auxiliary, self.features)

    def network(self, build: Build) -> nn.Module:
        """Build the network in eval mode; its weights are those of no member."""
        return build_network(build, self.specification, self.context, seed=0).eval()

    def on_real_labels(self) -> Ensemble:
        """Return the members that were trained on real labels; refuses an ensemble without any."""
        real = [place for place, member in enumerate(self.members) if member.permuted == 0]
        if not real:
            raise ConsilienceError(f"model {self.model}: no member was trained on real labels")
        states = {name: values[real] for name, values in self.states.items()}
        return replace(self, members=[self.members[place] for place in real], states=states)

    def save(self, path: str | Path) -> None:
        """Write the ensemble as safetensors: `state/*`, `scaling/<branch>/*`, `target/*`, and the facts."""
        tensors = {f"state/{name}": values for name, values in self.states.items()}
        for branch, scaling in self.scalings.items():
            tensors |= {f"scaling/{branch}/{name}": values for name, values in vars(scaling).items()}
        tensors["target/center"] = np.array([self.target_center], np.float64)
        tensors["target/scale"] = np.array([self.target_scale], np.float64)
        facts = {name: getattr(self, name) for name in FACTS} | {
            "branches": {name: list(shape) for name, shape in self.branches.items()},
            # JSON's sorted keys lose it, and networks take their branches in order.
            "branch_order": list(self.branches),
            "auxiliary": {name: list(shape) for name, shape in self.auxiliary.items()},
            "members": [asdict(member) for member in self.members],
        }
        write_tensors(path, tensors, facts)

    @classmethod
    def load(cls, path: str | Path) -> Ensemble:
        """Read an ensemble; raises ConsilienceError for a safetensors file that is not one."""
        tensors, facts = read_tensors(path)
        if "members" not in facts:
            raise ConsilienceError(f"{path}: no ensemble; expected a file written by training (its facts are missing)")
        return cls(
            **{name: facts[name] for name in FACTS},
            branches={name: tuple(facts["branches"][name]) for name in facts["branch_order"]},
            auxiliary={name: tuple(shape) for name, shape in facts["auxiliary"].items()},
            members=[Member(**member) for member in facts["members"]],
            states={name.removeprefix("state/"): tensors[name] for name in tensors if name.startswith("state/")},
            scalings={
                branch: Scaling(*(tensors[f"scaling/{branch}/{part}"] for part in ("center", "scale", "spread")))
                for branch in facts["branch_order"]
            },
            target_center=float(tensors["target/center"][0]),
            target_scale=float(tensors["target/scale"][0]),
        )

    def predictions(self, outputs: np.ndarray) -> np.ndarray:
        """Return what outputs (..., outputs) predict: (...) in the target's unit, or probabilities (..., classes)."""
        outputs = np.asarray(outputs, np.float64)
        if self.task == "regression":
            return self.target_center + self.target_scale * outputs[..., 0]
        exponentials = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)


def build_network(build: Build, specification: Mapping[str, Any], context: NetworkContext, seed: int) -> nn.Module:
    """Build a network on the CPU, initialized from `seed` and from nothing else."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(dict(specification), context)


def stack_states(states: Sequence[Mapping[str, Tensor]]) -> Arrays:
    """Stack the states of members to arrays (members, ...) by name."""
    return {name: np.stack([state[name].cpu().numpy() for state in states]) for name in states[0]}


def load_member(module: nn.Module, states: Arrays, place: int) -> nn.Module:
    """Put the state of the member at `place` into `module`, set to eval mode, and return it."""
    module.load_state_dict({name: torch.from_numpy(np.array(values[place])) for name, values in states.items()})
    return module.eval()


@torch.no_grad()
def predict(
    module: nn.Module,
    states: Arrays,
    inputs: Sequence[np.ndarray],
    auxiliary: Mapping[str, np.ndarray],
    batch: int = 1024,
) -> np.ndarray:
    """Return the raw outputs float32 (members, samples, outputs) of every member, in eval mode.

    `inputs` are scaled branches (samples, *shape) in order. Runs where `module` lies, which afterwards holds the last
    member's weights.
    """
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    samples = len(inputs[0])
    members = []
    for place in range(len(next(iter(states.values())))):
        load_member(module, states, place)
        parts = []
        for start in range(0, samples, batch):
            rows = slice(start, start + batch)
            branches = [torch.as_tensor(branch[rows], device=device) for branch in inputs]
            others = {name: torch.as_tensor(values[rows], device=device) for name, values in auxiliary.items()}
            parts.append(module(*branches, **others).cpu().numpy())
        members.append(np.concatenate(parts))
    return np.stack(members)
