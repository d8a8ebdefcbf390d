"""The results of a finished study, read once for all that tell of it: the summary and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from consilience.attribution.store import read
from consilience.consensus.linear import CONSENSUS_KINDS
from consilience.evaluation import HEADLINE, LESS_IS_BETTER, best_loss, best_trivial
from consilience.files import read_json, read_table
from consilience.overlap import LINEAR, NETWORKS, SEPARATOR
from consilience.splits import ROLES

CHECK_COLUMNS = ("check", "method", "metric", "value", "high")
Metrics = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class StudyResults:
    """The tables and metrics of a finished study.

    By model: `validation` is the mean of the members' best validation losses (infinite for imported weights); of the
    explained ones, `checks` is the table of faithfulness and `remarks` what attribution says of the network. `method`
    is the one whose lists form the consensus. `shared` counts the split's own groups that stand in two roles.
    `own_notes` are those of the slice. `excluded` counts the rows that the split left out by column of split.apart, and
    `apart` the values of each that stand in two roles all the same.
    """

    base: Path
    method: str
    voters: Sequence[str]
    networks: Metrics
    linear: Metrics
    validation: dict[str, float]
    samples: dict[str, int]
    shared: dict[str, int]
    audit: pd.DataFrame
    drivers: pd.DataFrame
    top: pd.DataFrame
    overlap: pd.DataFrame
    recovery: pd.DataFrame | None
    checks: dict[str, pd.DataFrame]
    remarks: dict[str, list[str]]
    own_notes: Sequence[str] = ()
    excluded: Mapping[str, int] = field(default_factory=dict)
    apart: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        base: Path,
        models: Sequence[str],
        explained: Sequence[str],
        voters: Sequence[str],
        method: str,
        simulated: bool,
        notes: Sequence[str] = (),
    ) -> StudyResults:
        """Read the results in the folder `base`; `notes` are texts of the slice, a note a line."""
        split = read_json(base / "split.json")
        return cls(
            base=base,
            method=method,
            voters=voters,
            networks={model: read_json(base / "models" / model / "metrics.json") for model in models},
            linear=read_json(base / "linear" / "metrics.json"),
            validation={model: best_loss(base / "models" / model / "history.tsv") for model in models},
            samples={role: split["roles"][role]["samples"] for role in ROLES},
            shared=_positive(split["shared"].get("group", {})),
            audit=read_table(base / "audit.tsv"),
            drivers=read_table(base / "drivers.csv"),
            top=read_table(base / "top_drivers.csv"),
            overlap=read_table(base / "overlap.csv"),
            recovery=read_table(base / "recovery.tsv") if simulated else None,
            checks={model: read_table(base / "faithfulness" / f"{model}.tsv", CHECK_COLUMNS) for model in explained},
            remarks={model: read(base / "attributions" / model / f"{method}.h5").remarks for model in explained},
            own_notes=[line for path in notes for line in Path(path).read_text(encoding="utf-8").splitlines()],
            excluded=_positive(split["excluded"]),
            apart={column: _positive(split["shared"][column]) for column in split["apart"]},
        )

    @property
    def headline(self) -> str:
        """The metric that stands for a model."""
        return HEADLINE[next(iter(self.networks.values()))["task"]]

    @property
    def trivial(self) -> tuple[str, float | None]:
        """The best trivial predictor and its headline metric."""
        return best_trivial(next(iter(self.networks.values())))

    @property
    def targets(self) -> list[str]:
        """What is attributed."""
        return list(self.drivers["target"].unique())

    def strongest(self, target: str, count: int) -> list[dict[str, Any]]:
        """Return the strongest drivers of a target: feature, direction, and how many models list it on that side."""
        rows = self.top[self.top["target"] == target].sort_values("rank", kind="stable").head(count)
        return [
            {"feature": row["feature"], "direction": row["direction"], "models": int(row[f"total_{row['direction']}"])}
            for row in rows.to_dict("records")
        ]

    @property
    def shared_with_linear(self) -> pd.DataFrame:
        """The rows of the overlap that hold the networks against the linear model, one a target and direction."""
        return self.overlap[self.overlap["sets"] == SEPARATOR.join((NETWORKS, LINEAR))]

    @property
    def network(self) -> str:
        """The voting network with the least validation loss: the test role chooses nothing."""
        return min(self.voters, key=self.validation.__getitem__)

    @property
    def linear_kind(self) -> str:
        """The linear model that the consensus uses."""
        return next(kind for kind in CONSENSUS_KINDS if kind in self.linear)

    def check(self, model: str, check: str, metric: str, bound: str = "value") -> float:
        """Return a number of the consensus' method from a model's table of faithfulness; NaN where it has none."""
        table = self.checks[model]
        rows = table[(table["check"] == check) & (table["method"] == self.method) & (table["metric"] == metric)]
        return float(rows[bound].iloc[0]) if len(rows) else float("nan")

    @property
    def gaps(self) -> dict[str, float]:
        """The relative completeness gaps by model; NaN where the method promises none."""
        return {model: self.check(model, "completeness", "relative_gap") for model in self.checks}

    def against(self, value: float | None) -> str:
        """Say how the network's headline metric compares with another model's `value`, on the same test samples.

        better or worse: its whole interval is. open: the interval holds the value. untold: either is not defined, as an
        interval is not with a single group.
        """
        metric = self.networks[self.network]["test"][self.headline]
        low, high = metric["low"], metric["high"]
        if low is None or high is None or value is None:
            return "untold"
        if low <= value <= high:
            return "open"
        return "better" if (high < value) == (self.headline in LESS_IS_BETTER) else "worse"

    @property
    def against_linear(self) -> dict[str, list[str]]:
        """The linear models by how the network compares with them: all of them, for the test role chooses none."""
        found: dict[str, list[str]] = {}
        for kind, metrics in self.linear.items():
            found.setdefault(self.against(metrics["test"][self.headline]["value"]), []).append(kind)
        return found


def _positive(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}
