"""Draws what the networks look at: maps, overlays and atoms by class, single pictures, and what dictionaries are worth.

Every figure is drawn from tables and files that stand beside it; needs no torch.
"""

from consilience.jobs import job

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.attribution.names import METHOD_FACTS, MethodFacts, parts_of_method
from consilience.attribution.store import MEAN, Attributions, read
from consilience.dataset import Dataset
from consilience.domains.fashion.figures import class_atoms, class_maps, class_overlays, driver_maps
from consilience.domains.fashion.mosaics import SLOPES
from consilience.domains.fashion.plots import ablation_curves, agreement_matrices, dictionary_panels
from consilience.domains.fashion.sheets import sheet, write_sheets
from consilience.files import read_json, read_table, read_tensors, save_figure

BLOCK = 4096
KINDS = ("class_maps", "class_overlays", "atoms")
ATOMS = "state/encoder.decoder.weight"


@dataclass(frozen=True)
class ModelMaps:
    """A model's attributions by method; `units` (rows, columns) are the features of a picture's pixels.

    `signed` says which methods are drawn with their sign.
    """

    model: str
    methods: Mapping[str, Attributions]
    signed: Mapping[str, bool]
    primary: str
    units: np.ndarray

    @property
    def real(self) -> np.ndarray:
        """Which members were trained on real labels."""
        return next(iter(self.methods.values())).real

    def of_classes(self) -> dict[str, np.ndarray]:
        """Return the mean attributions (classes, rows, columns) by method; magnitudes where there is no sign."""
        return {name: self._own_class(name, MEAN if self.signed[name] else "magnitude") for name in self.methods}

    @property
    def gaps(self) -> dict[str, float]:
        """The median gap of completeness, relative to the median change, of the methods that promise it."""
        return {
            name: float(np.median(one.gap[self.real]) / np.median(one.scale[self.real]))
            for name, one in self.methods.items()
            if one.complete and np.median(one.scale[self.real]) > 0
        }

    @property
    def explained(self) -> str:
        """Say what was explained."""
        first = next(iter(self.methods.values()))
        return f"{len(first.samples)} explained pictures ({', '.join(first.roles)})"

    def importance(self) -> np.ndarray:
        """Return the mean absolute attribution by the primary method, (classes, rows, columns)."""
        return self._own_class(self.primary, "magnitude")

    def _own_class(self, name: str, statistic: str) -> np.ndarray:
        return self.methods[name].of_classes(statistic)[:, self.units]

    def of_samples(self, labels: Mapping[str, int]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """Yield every showcase sample with its maps (rows, columns) by method, attributed to its class in `labels`."""
        showcase = {name: dict(one.showcase) for name, one in self.methods.items() if one.showcase is not None}
        samples = [one.pop("samples") for one in showcase.values()]
        for place, sample in enumerate(samples[0] if samples else []):
            shown = {name: next(iter(one.values())) for name, one in showcase.items()}
            yield (
                sample,
                {name: one[self.real, labels[sample], place].mean(axis=0) for name, one in shown.items()},
            )


def class_means(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return the mean picture (classes, rows, columns) of every class over the samples at `rows`."""
    (branch,) = dataset.branches.values()
    sums, count = np.zeros((len(dataset.classes), *branch.shape)), np.zeros(len(dataset.classes))
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        member = (dataset.labels[part] == np.arange(len(count))[:, None]).astype(np.float64)
        sums += np.tensordot(member, dataset.inputs(branch.name, part).astype(np.float64), axes=1)
        count += member.sum(axis=1)
    return sums / np.maximum(count, 1)[:, None, None]


def title_of(sample: str, predictions: pd.DataFrame) -> str:
    """Say the true class of a sample, the predicted class and both probabilities, as far as they were predicted."""
    rows = predictions[predictions["sample"] == sample]
    true = rows[rows["observed"] == 1].iloc[0]
    said = rows.loc[rows["predicted"].idxmax()]
    other = "" if said["target"] == true["target"] else f"; predicted {said['target']} ({said['predicted']:.2f})"
    return f"{sample}: {true['target']}, probability {true['predicted']:.2f}{other}"


def draw_model(
    maps: ModelMaps, pictures: np.ndarray, atoms: np.ndarray, table: pd.DataFrame, paths: Sequence[str]
) -> None:
    """Draw class_maps, class_overlays and atoms of a model to these paths."""
    classes = next(iter(maps.methods.values())).targets
    found = maps.of_classes()
    of = f"the {maps.explained} and over the members of {maps.model}"
    save_figure(paths[0], class_maps(pictures, found, maps.signed, classes, maps.model, maps.gaps, of))
    save_figure(paths[1], class_overlays(pictures, found, maps.signed, classes, maps.model))
    save_figure(paths[2], class_atoms(pictures, maps.importance(), atoms, table, classes, maps.model))


def draw_sheets(maps: ModelMaps, dataset: Dataset, predictions: pd.DataFrame, path: str) -> None:
    """Draw a page a showcase picture."""
    places = {sample: place for place, sample in enumerate(dataset.samples["id"].astype(str))}
    labels = {sample: int(dataset.labels[place]) for sample, place in places.items()}
    (branch,) = dataset.branches

    def pages() -> Iterator:
        for sample, own in maps.of_samples(labels):
            picture = dataset.inputs(branch, np.array([places[sample]]))[0]
            yield sheet(picture, own, maps.signed, f"{title_of(sample, predictions)} ({maps.model})", maps.gaps)

    write_sheets(path, pages())


def error_curves(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return the normalized error after every epoch by model, from metrics.json; imported weights have none."""
    encoders = {model: one["training"].get("encoder", {}) for model, one in metrics.items()}
    return {model: next(iter(own.values()))["normalized_error"] for model, own in encoders.items() if own}


def signed_methods(names: Sequence[str], own: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    """Say which methods are drawn with their sign: contributions, and slopes; `own` are the facts of the slice's."""
    facts = {name: MethodFacts(**parts) for name, parts in own.items()}
    bases = {name: parts_of_method(name, facts)[0] for name in names}
    return {name: {**METHOD_FACTS, **facts}[base].signed or base in SLOPES for name, base in bases.items()}


if "snakemake" in globals():
    with job(snakemake) as log:
        given, params, output = snakemake.input, snakemake.params, snakemake.output
        split = read_table(given.split, ("sample", "role"))
        tables = {Path(path).stem: read_table(path, ("model",)) for path in given.tables}
        metrics = {model: read_json(path) for model, path in zip(params.models, given.metrics, strict=True)}
        signed = signed_methods(params.methods, params.own_methods)
        with Dataset.open(given.dataset) as dataset:
            (branch,) = dataset.branches.values()
            pictures = class_means(dataset, np.flatnonzero(split["role"] == "train"))
            for model, weights in zip(params.models, given.ensembles, strict=True):
                paths = [path for path in given.attributions if Path(path).parent.name == model]
                found = [read(path, showcase=model == params.shown) for path in paths]
                maps = ModelMaps(model, {one.method: one for one in found}, signed, params.primary, branch.units)
                atoms = read_tensors(weights)[0][ATOMS][maps.real][0].T.reshape(-1, *branch.shape)
                own = tables["atoms"][tables["atoms"]["model"] == model]
                draw_model(maps, pictures, atoms, own, [output[f"{kind}_{model}"] for kind in KINDS])
                if model == params.shown:
                    predictions = read_table(given.predictions, ("sample", "target", "observed", "predicted"))
                    draw_sheets(maps, dataset, predictions, output.sheets)
            features = dataset.features
            at = dict(zip(features["name"], zip(features["row"], features["column"], strict=True), strict=True))
            truth = read_table(given.truth[0], ("feature", "target")) if given.truth else None
            save_figure(output.driver_maps, driver_maps(read_table(given.drivers), at, pictures, truth))
        save_figure(output.ablation, ablation_curves(tables["ablation"]))
        save_figure(output.dictionary, dictionary_panels(tables["dictionary"], error_curves(metrics)))
        save_figure(output.methods_agreement, agreement_matrices(tables["agreement"]))
        log.info("%s figures of %s models", len(output), len(params.models))
