"""The attribution file of a model and method: one row a member, target class and feature; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from consilience.errors import ConsilienceError
from consilience.files import read_h5, read_strings, write_h5, write_strings

if TYPE_CHECKING:
    import h5py

STATISTICS = ("magnitude", "direction", "average_attribution")
# The mean over samples of a feature's attributions with their own sign; attributions of other origin may lack it.
MEAN = "mean_attribution"


@dataclass(frozen=True)
class Attributions:
    """The attributions of one model by one method.

    `features` has the columns name and branch, `members` member, seed, rows and permuted. `all` holds magnitude,
    direction, average_attribution and mean_attribution, float32 (members, targets, features), over all explained
    samples, and `own_class` the same over each target's own class (None for a regression). `gap` and `scale`, float32
    (members, targets, samples), are |sum of attributions - (F(x) - F(reference))| and |F(x) - F(reference)|, None where
    the method promises no completeness. `showcase` holds the ids under `samples` and maps (members, targets, showcase,
    *shape) under each branch's name. `remarks` are what a reader should know of the network, a sentence each.
    """

    model: str
    method: str
    reference: str
    features: pd.DataFrame
    targets: list[str]
    members: pd.DataFrame
    all: dict[str, np.ndarray]
    own_class: dict[str, np.ndarray] | None
    gap: np.ndarray | None
    scale: np.ndarray | None
    samples: list[str]
    showcase: dict[str, Any] | None
    roles: list[str]
    task: str
    complete: bool
    remarks: list[str] = field(default_factory=list)

    @property
    def real(self) -> np.ndarray:
        """Which members were trained on real labels, bool (members,)."""
        return (self.members["permuted"] == 0).to_numpy()

    def of_classes(self, statistic: str) -> np.ndarray:
        """Return an own-class statistic, (targets, features), the mean over the members on real labels."""
        return self.own_class[statistic][self.real].mean(axis=0)

    def check(self, path: str | Path) -> None:
        """Refuse parts that disagree in shape, and values that are not finite."""
        shape = (len(self.members), len(self.targets), len(self.features))
        parts = {f"all/{name}": self.all.get(name) for name in (*STATISTICS, *self.all)}
        if self.own_class is not None:
            parts |= {f"own_class/{name}": self.own_class.get(name) for name in (*STATISTICS, *self.own_class)}
        expected = dict.fromkeys(parts, shape)
        if self.complete:
            parts |= {"completeness/gap": self.gap, "completeness/scale": self.scale}
            expected |= dict.fromkeys(("completeness/gap", "completeness/scale"), (*shape[:2], len(self.samples)))
        for name, values in parts.items():
            if values is None or values.shape != expected[name]:
                raise ConsilienceError(
                    f"{path}: {name} has {'no values' if values is None else f'shape {values.shape}'}; "
                    f"expected {expected[name]}"
                )
            if not np.isfinite(values).all():
                member = int(np.argwhere(~np.isfinite(values))[0][0])
                raise ConsilienceError(f"{path}: {name} of member {member} is not finite")


def write(path: str | Path, attributions: Attributions) -> None:
    """Write an attribution file, the same bytes for the same content."""
    attributions.check(path)
    with write_h5(path) as file:
        for key in ("model", "method", "reference", "task"):
            file.attrs[key] = getattr(attributions, key)
        file.attrs["roles"] = list(attributions.roles)
        file.attrs["complete"] = bool(attributions.complete)
        file.attrs["remarks"] = "\n".join(attributions.remarks)
        for column in ("name", "branch"):
            write_strings(file.require_group("features"), column, attributions.features[column])
        write_strings(file, "targets", attributions.targets)
        members = file.create_group("members")
        for column in ("member", "seed", "permuted"):
            members[column] = attributions.members[column].to_numpy(np.int64)
        write_strings(members, "rows", attributions.members["rows"])
        _write_arrays(file, "all", attributions.all)
        if attributions.own_class is not None:
            _write_arrays(file, "own_class", attributions.own_class)
        if attributions.complete:
            _write_arrays(file, "completeness", {"gap": attributions.gap, "scale": attributions.scale})
        write_strings(file.create_group("samples"), "id", attributions.samples)
        if attributions.showcase is not None:
            maps = {name: values for name, values in attributions.showcase.items() if name != "samples"}
            _write_arrays(file, "showcase", maps)
            write_strings(file["showcase"], "samples", attributions.showcase["samples"])


def _write_arrays(file: h5py.File, group: str, arrays: dict[str, np.ndarray]) -> None:
    for name, values in arrays.items():
        options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if values.size else {}
        file.require_group(group).create_dataset(name, data=values.astype(np.float32), **options)


def read(path: str | Path, showcase: bool = False) -> Attributions:
    """Read an attribution file; the maps of the showcase samples only where asked for.

    Raises ConsilienceError for a file of another kind.
    """
    with read_h5(path) as file:
        if "method" not in file.attrs or "all" not in file:
            raise ConsilienceError(f"{path}: not an attribution file (no attribute `method` or no group /all)")
        complete = bool(file.attrs["complete"])
        return Attributions(
            **{key: str(file.attrs[key]) for key in ("model", "method", "reference", "task")},
            features=pd.DataFrame({column: read_strings(file["features"], column) for column in ("name", "branch")}),
            targets=list(read_strings(file, "targets")),
            members=_read_members(file["members"]),
            all={name: values[...] for name, values in file["all"].items()},
            own_class={name: values[...] for name, values in file.get("own_class", {}).items()} or None,
            gap=file["completeness/gap"][...] if complete else None,
            scale=file["completeness/scale"][...] if complete else None,
            samples=list(read_strings(file["samples"], "id")),
            showcase=_read_showcase(file) if showcase else None,
            roles=[str(role) for role in file.attrs["roles"]],
            complete=complete,
            remarks=str(file.attrs["remarks"]).splitlines(),
        )


def _read_members(group: h5py.Group) -> pd.DataFrame:
    columns = ("member", "seed", "rows", "permuted")
    return pd.DataFrame({name: read_strings(group, name) if name == "rows" else group[name][...] for name in columns})


def _read_showcase(file: h5py.File) -> dict[str, Any] | None:
    if "showcase" not in file:
        return None
    maps = {name: file["showcase"][name][...] for name in file["showcase"] if name != "samples"}
    return {"samples": list(read_strings(file["showcase"], "samples")), **maps}
