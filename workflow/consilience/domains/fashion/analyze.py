"""Tells what dictionaries are worth, which atoms speak for which class, and how far methods agree on single pictures.

Five tables and the notes of the summary, from one reading of data and weights.
"""

from consilience.jobs import job

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from consilience.attribution.batches import BatchReader
from consilience.attribution.explain import batch_reader, check_ensemble, confident
from consilience.attribution.jumps import dictionaries
from consilience.attribution.methods import Own, method_named
from consilience.attribution.selection import check_split, explained_rows, showcase_rows
from consilience.attribution.store import read
from consilience.dataset import Dataset
from consilience.devices import choose_device
from consilience.domains.fashion import explain
from consilience.domains.fashion.agreement import (
    AGREEMENT_COLUMNS,
    FEWEST,
    METHOD_COLUMNS,
    agreement_rows,
    method_rows,
    true_class_maps,
)
from consilience.domains.fashion.dictionary import (
    COMPONENTS,
    QUALITY,
    CodeStatistics,
    Pictures,
    ablation_rows,
    atom_rows,
    code_blocks,
    component_rows,
    quality_rows,
)
from consilience.domains.fashion.model import build
from consilience.domains.fashion.notes import note_lines
from consilience.evaluation import best_loss
from consilience.faithfulness.resampling import Resampling
from consilience.files import read_json, read_table, write_table, write_text
from consilience.principal_components import directions
from consilience.splits import ROLES
from consilience.training.ensemble import Ensemble

# What may be empty has its columns nevertheless: of a single method there is no agreement.
COLUMNS = {"dictionary": QUALITY, "methods": METHOD_COLUMNS, "agreement": AGREEMENT_COLUMNS}
TABLES = ("dictionary", "atoms", "ablation", "methods", "agreement")
ABLATED = 200  # most pictures of a class that atoms are taken from


@dataclass
class Analysis:
    """A study's data and settings, and the rows of its tables as models are analyzed.

    `unsure` names the models with too few confident pictures. `principal` are the directions of the training pictures,
    and `components` the errors by number of components: pixels are not scaled, so that models share both.
    """

    dataset: Dataset
    split: pd.DataFrame
    own: Own
    settings: Mapping[str, Any]
    attribution: Mapping[str, Any]
    maximum_samples: int
    seed: int
    device: str
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in TABLES})
    unsure: list[str] = field(default_factory=list)
    principal: tuple[Any, Any] | None = None
    components: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def labels(self) -> np.ndarray:
        """All classes (samples,)."""
        return np.asarray(self.dataset.labels)

    def add(self, path: str, importance: np.ndarray) -> None:
        """Analyze the model at `path`; `importance` (classes, features) is the mean absolute attribution by class."""
        ensemble = Ensemble.load(path).on_real_labels()
        check_ensemble(self.dataset, ensemble)
        methods = [method_named(name, self.own) for name in self.attribution["methods"]]
        reader = batch_reader(
            self.dataset, self.split, ensemble, ensemble.network(build), methods,
            self.attribution, self.seed, self.device, self.own,
        )  # fmt: skip
        sets = self._sets(reader, ensemble.model)
        # Members of a model share the dictionary; where they do not, it is that of the first.
        _, encoder, head = next(dictionaries(reader.read(sets["test"][:1])))
        self._dictionary(ensemble, encoder)
        self._atoms(ensemble, encoder, head, importance)
        every = np.unique(np.concatenate(list(sets.values())))
        maps, names = true_class_maps(reader, methods, every, self.labels), [method.name for method in methods]
        for name, rows in sets.items():
            groups, labels = self.split["group"].astype(str).to_numpy()[rows], self.labels[rows]
            resampling = Resampling.of(groups, self.settings["resamples"], self.seed)
            own, facts = maps[:, np.searchsorted(every, rows)], {"model": ensemble.model, "set": name}
            self._add_rows("methods", method_rows(own, names, resampling), **facts)
            self._add_rows("agreement", agreement_rows(own, names, labels, resampling), **facts)

    def _sets(self, reader: BatchReader, model: str) -> dict[str, np.ndarray]:
        """Return the pictures that methods are compared on: any of the test role, and the confident ones if asked."""

        def chosen(suited: np.ndarray) -> np.ndarray:
            return showcase_rows(self.split, self.labels, self.settings["samples"], self.seed, suited)

        test, least = np.flatnonzero(self.split["role"] == "test"), self.attribution["showcase_confidence"]
        sets = {"test": chosen(test)}
        if least is not None:
            sure = confident(reader, reader.function, test, self.labels, least)
            if len(sure) < FEWEST:
                self.unsure.append(model)
            else:
                sets["confident"] = chosen(sure)
        return sets

    def _add_rows(self, table: str, rows: list[dict[str, Any]], **facts: str) -> None:
        self.rows[table] += [facts | row for row in rows]

    def _pictures(self, ensemble: Ensemble, rows: np.ndarray) -> Pictures:
        return Pictures(self.dataset, ensemble.scalings, rows, self.device)

    def _of_role(self, ensemble: Ensemble, role: str) -> Pictures:
        return self._pictures(ensemble, np.flatnonzero(self.split["role"] == role))

    def _dictionary(self, ensemble: Ensemble, encoder: Any) -> None:
        if self.principal is None:
            held = explained_rows(self.split, ["train"], self.maximum_samples, self.seed)
            self.principal = directions(self._pictures(ensemble, held).whole())
        center, vectors = self.principal
        roles = {role: self._of_role(ensemble, role) for role in ROLES}
        self._add_rows("dictionary", quality_rows(encoder, center, roles), model=ensemble.model)
        for count in dict.fromkeys(min(count, vectors.shape[1]) for count in (encoder.k, COMPONENTS)):
            if count not in self.components:
                self.components[count] = component_rows(center, vectors[:, :count], roles)
            self._add_rows("dictionary", self.components[count], model=ensemble.model)

    def _atoms(self, ensemble: Ensemble, encoder: Any, head: Any, importance: np.ndarray) -> None:
        classes, training = self.dataset.classes, self._of_role(ensemble, "train")
        statistics = CodeStatistics.of(code_blocks(encoder, training, self.labels), len(classes))
        atoms = encoder.atoms.cpu().numpy()
        units = np.concatenate([branch.units.ravel() for branch in self.dataset.branches.values()])
        found = atom_rows(statistics, atoms, importance[:, units], classes, self.settings["atoms"])
        self._add_rows("atoms", found, model=ensemble.model)
        shown = showcase_rows(self.split, self.labels, ABLATED * len(classes), self.seed)

        def codes_of(target: int) -> Any:
            return encoder(self._pictures(ensemble, shown[self.labels[shown] == target]).whole())

        most = self.settings["ablated"]
        found = ablation_rows(head, codes_of, statistics, classes, most, self.seed)
        self._add_rows("ablation", found, model=ensemble.model)


if "snakemake" in globals():
    with job(snakemake) as log:
        given, params, output = snakemake.input, snakemake.params, snakemake.output
        split, own = read_table(given.split, ("sample", "group", "role")), Own.of(explain, params.own_methods)
        device = str(choose_device(params.device))
        log.info("analyzed on %s", device)
        with Dataset.open(given.dataset) as dataset:
            check_split(dataset, split)
            analysis = Analysis(
                dataset, split, own, params.analysis, own.complete(params.attribution),
                params.maximum_samples, params.seed, device,
            )  # fmt: skip
            for ensemble_path, attributions_path in zip(given.ensembles, given.attributions, strict=True):
                analysis.add(ensemble_path, read(attributions_path).of_classes("magnitude"))
        tables = {name: pd.DataFrame(rows) for name, rows in analysis.rows.items()}
        for name, columns in COLUMNS.items():
            tables[name] = tables[name].reindex(columns=list(columns))
        for name, table in tables.items():
            write_table(output[name], table)
        metrics = {model: read_json(path) for model, path in zip(params.models, given.metrics, strict=True)}
        losses = {model: best_loss(path) for model, path in zip(params.models, given.histories, strict=True)}
        best = min(params.voters, key=losses.__getitem__)
        lines = note_lines(tables["dictionary"], tables["agreement"], metrics, best, analysis.unsure)
        write_text(output.notes, "".join(f"{line}\n" for line in lines))
        log.info("%s", lines[0])
