"""What a long job keeps on disk while it works, so that a later try goes on from there and not from the start.

A journal is one safetensors file with a part for every loop of the job. It is written now and then, appears only when
whole, and is read only under the key it was written with: that stands for code, settings, inputs, device and versions.
A part holds all that its loop changes, the random state with it, so that what is continued ends in the bytes of an
undisturbed run. Results tell nothing of it, and it is removed with the end of the job.
"""

from __future__ import annotations

from consilience.jobs import checkpoint_of

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import consilience
from consilience.errors import ConsilienceError
from consilience.files import read_tensors, sha256_of_all, write_tensors

SECONDS = "CONSILIENCE_CHECKPOINT_SECONDS"  # set by the workflow
USUAL_SECONDS = 60.0
# Of a job's time, at most a fiftieth is spent on writing.
SHARE_OF_TIME = 50


@dataclass(frozen=True)
class State:
    """What a loop has come to: `tensors` by name, of any device, and `facts` that JSON can hold."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def tensors_of(self, group: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with `group/`, by what follows."""
        return {
            name.removeprefix(f"{group}/"): own for name, own in self.tensors.items() if name.startswith(f"{group}/")
        }


def flat(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors of all groups under the names that `State.tensors_of` finds them by."""
    return {f"{group}/{name}": own for group, tensors in groups.items() for name, own in tensors.items()}


@torch.no_grad()
def copy_into(live: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Give live tensors the values of the saved ones of the same names; refuses other names."""
    if live.keys() != saved.keys():
        raise ConsilienceError(f"a checkpoint holds {', '.join(saved)}; expected {', '.join(live)}")
    for name, own in live.items():
        if own.numel() != saved[name].numel():
            raise ConsilienceError(f"a checkpoint's {name} has {saved[name].numel()} numbers; expected {own.numel()}")
        own.copy_(saved[name].view(own.shape))


class Part:
    """The part of a journal that one loop keeps; `saved` is what an earlier try came to, None where there is none.

    A part without a journal keeps nothing.
    """

    def __init__(self, name: str = "", journal: Journal | None = None) -> None:
        self._name, self._journal = name, journal
        self.saved: State | None = None if journal is None else journal.states.get(name)

    def keep(self, state: Callable[[], State]) -> None:
        """Write the journal if it is time, with what `state` returns; called wherever the loop could be continued."""
        if self._journal is not None and self._journal.due():
            self.end(state())
            self._journal.write()

    def end(self, state: State) -> None:
        """Hold the state, which no later step changes, for the next time that the journal is written."""
        if self._journal is not None:
            self._journal.states[self._name] = state


class Journal:
    """A job's parts, in one file at `path`; a journal without a path keeps nothing.

    `key` returns what has to be the same for a later try to go on: it is asked for only where a file is read or
    written, since inputs are read through for it. `seconds` pass between two writes at least.
    """

    def __init__(
        self, path: Path | None = None, key: Callable[[], str] = lambda: "", seconds: float = USUAL_SECONDS
    ) -> None:
        self.path, self.seconds = path, seconds
        self.states: dict[str, State] = {}
        self._key, self._asked = key, None
        self._log = logging.getLogger(consilience.__name__)
        self._next = time.monotonic() + seconds
        if path is not None and path.is_file():
            self._read(path)

    @property
    def key(self) -> str:
        """The key, asked for once."""
        if self._asked is None:
            self._asked = self._key()
        return self._asked

    def part(self, name: str) -> Part:
        """Return the part of that name; every loop of a job has one of its own."""
        return Part(name, self if self.path is not None else None)

    def due(self) -> bool:
        """Say whether it is time to write."""
        return time.monotonic() >= self._next

    def write(self) -> None:
        """Write all parts; a disk that is full costs the checkpoint and not the job, and the log says so."""
        facts: dict[str, Any] = {"key": self.key, "parts": []}
        begun, tensors = time.monotonic(), {}
        for number, (name, state) in enumerate(self.states.items()):
            facts["parts"].append({"name": name, "facts": state.facts})
            tensors |= {f"{number}/{own}": values.detach().cpu().numpy() for own, values in state.tensors.items()}
        try:
            write_tensors(self.path, tensors, facts)
        except (OSError, ValueError) as error:  # no room, or a loss that JSON cannot hold
            self._log.warning("no checkpoint could be written to %s (%s)", self.path, error)
        self._next = time.monotonic() + max(self.seconds, SHARE_OF_TIME * (time.monotonic() - begun))

    def remove(self) -> None:
        """Remove the file, now that the results are written."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _read(self, path: Path) -> None:
        """Take the parts of an earlier try; one of other code, settings or inputs, or a damaged file, is of no use."""
        try:
            arrays, facts = read_tensors(path)
        except (ConsilienceError, OSError, ValueError) as error:
            self._log.warning("the checkpoint is of no use, and work starts anew (%s)", error)
            return
        if facts.get("key") != self.key:
            self._log.info("the checkpoint %s is of other code, settings or inputs: work starts anew", path)
            return
        for number, part in enumerate(facts["parts"]):
            own = State({name: torch.from_numpy(array) for name, array in arrays.items()}).tensors_of(str(number))
            self.states[part["name"]] = State(own, part["facts"])
        self._log.info("continues from %s: %s", path, ", ".join(self.states))


def journal_of(snakemake: Any, device: torch.device) -> Journal:
    """Return the journal of a rule's job, whose key stands for params and inputs.

    `device` is the one in use: of another kind of processor, sums round otherwise. Time between writes is the
    workflow's `checkpoint_seconds`.
    """

    def key() -> str:
        params = json.dumps(dict(snakemake.params.items()), sort_keys=True, default=str)
        # Of a folder among them, the files that are read are inputs themselves.
        files = sha256_of_all(sorted(str(file) for file in snakemake.input if Path(file).is_file()))
        cuda = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        kind = device.type, cuda, torch.backends.cpu.get_cpu_capability(), torch.__version__
        return sha256("\n".join((params, files, *kind)).encode()).hexdigest()

    return Journal(checkpoint_of(snakemake), key, float(os.environ.get(SECONDS, USUAL_SECONDS)))
