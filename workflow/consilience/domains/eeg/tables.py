"""The tables of an EEG study's analysis, filled model by model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from consilience.attribution.store import Attributions
from consilience.dataset import Dataset
from consilience.domains.eeg.asked import Asked
from consilience.domains.eeg.edges import EDGE_COLUMNS, edge_rows
from consilience.domains.eeg.knockouts import KNOCKOUT_COLUMNS, knockout_rows
from consilience.domains.eeg.modalities import MODALITY_COLUMNS, eeg_share, modality_rows, shapley
from consilience.domains.eeg.outcomes import (
    OUTCOME_COLUMNS,
    PATTERN_COLUMNS,
    class_rows,
    outcome_rows,
    statistics_of_attention,
    statistics_of_predictions,
)
from consilience.domains.eeg.pairings import AGREEMENT_COLUMNS, agreement_rows
from consilience.domains.eeg.patterns import ATTENTION_COLUMNS, Maps, attention_rows
from consilience.domains.eeg.performance import ABLATION_COLUMNS, CALIBRATION_COLUMNS
from consilience.domains.eeg.windows import (
    WINDOW_COLUMNS,
    WINDOW_OCCLUSION,
    central_share,
    has_windows,
    occlusion_maps,
    own_class_maps,
    present_windows,
    window_rows,
    window_shares,
)

if TYPE_CHECKING:
    from consilience.domains.eeg.probing import Networks

Times = tuple[float, float]  # seconds of a window, and from one to the next
COLUMNS = {
    "attention": ("model", *ATTENTION_COLUMNS),
    "agreement": ("model", *AGREEMENT_COLUMNS),
    "outcomes": ("model", *OUTCOME_COLUMNS),
    "class_patterns": ("model", *PATTERN_COLUMNS),
    "knockouts": ("model", *KNOCKOUT_COLUMNS),
    "modalities": ("model", *MODALITY_COLUMNS),
    "edges": ("model", *EDGE_COLUMNS),
    "windows": ("model", *WINDOW_COLUMNS),
    "calibration": ("model", *CALIBRATION_COLUMNS),
    "ablations": ("model", *ABLATION_COLUMNS),
}


class Tables:
    """The rows of all tables; `asked` are the samples that networks are asked about."""

    def __init__(self, asked: Asked, permutations: int) -> None:
        self.asked, self.permutations = asked, permutations
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in COLUMNS}

    def extend(self, table: str, model: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows of a model."""
        self.rows[table] += [{"model": model, **row} for row in rows]

    def add_windows(
        self,
        model: str,
        attributions: Mapping[str, Attributions],
        signed: Mapping[str, bool],
        dataset: Dataset,
        split: pd.DataFrame,
        times: Times,
    ) -> None:
        """Add windows by every method that tells them apart, by whose name `attributions` are, of samples in showcase.

        `times` are the seconds of a window and from one to the next.
        """
        for method, one in attributions.items():
            if one.showcase is None or not has_windows(method):
                continue
            rows = dataset.rows_of(one.showcase["samples"])
            asked = Asked.of(dataset, split, rows, self.asked.resamples, self.asked.seed)
            maps = own_class_maps(one, asked, signed[method])
            present = {branch: present_windows(dataset, branch, rows) for branch in maps}
            own = window_rows(maps, present, asked, *times, signed[method])
            self.extend("windows", model, [{"method": method, **row} for row in own])

    def add_occlusion(self, networks: Networks, times: Times) -> dict[str, np.ndarray]:
        """Add what is lost without each window, exactly, and return the middle's shares (samples,) by branch."""
        asked, dataset = self.asked, networks.reader.dataset
        maps, untrained = (occlusion_maps(networks.windows(asked.ids, blank), asked) for blank in (False, True))
        rows = dataset.rows_of(asked.ids)
        present = {branch: present_windows(dataset, branch, rows) for branch in maps}
        own = window_rows(maps, present, asked, *times, True, untrained)
        self.extend("windows", networks.ensemble.model, [{"method": WINDOW_OCCLUSION, **row} for row in own])
        return {f"{branch}_central_share": central_share(window_shares(values)) for branch, values in maps.items()}

    def add_networks(self, networks: Networks, times: Times) -> list[Maps]:
        """Ask a model's networks all that is asked; return their attention, nothing where they have none."""
        asked, model = self.asked, networks.ensemble.model
        said, members = networks.predictions(asked.ids), []
        mean = said.probabilities.mean(axis=0)
        own = statistics_of_predictions(mean, asked)
        if networks.fused:
            members = networks.attention(asked.ids)
            untrained = networks.attention(asked.ids, untrained=True)
            self.extend("attention", model, attention_rows(members, networks.numbers, untrained, asked))
            self.extend("agreement", model, agreement_rows(members, asked, self.permutations))
            after = networks.knockouts(asked.ids)
            self.extend("knockouts", model, knockout_rows(said, after, networks.numbers, asked))
            players = shapley(networks.coalitions(asked.ids))
            values = {name: asked.own_class(part.mean(axis=0)) for name, part in players.items()}
            self.extend("modalities", model, modality_rows(values, asked))
            own |= statistics_of_attention(members) | {"eeg_share": eeg_share(values)}
        own |= self.add_occlusion(networks, times)
        self.extend("outcomes", model, outcome_rows(own, mean.argmax(axis=1) == asked.labels, asked))
        self.extend("class_patterns", model, class_rows(own, asked))
        edges = networks.edges(asked.ids)
        effects = asked.own_class(said.logits - edges.logits)
        self.extend("edges", model, edge_rows(edges.pairs, effects, asked))
        return members

    def frames(self) -> dict[str, pd.DataFrame]:
        """Return all tables."""
        return {name: pd.DataFrame(rows).reindex(columns=list(COLUMNS[name])) for name, rows in self.rows.items()}
