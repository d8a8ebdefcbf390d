"""Attributions, drivers and a finished study that the report's tests share."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from consilience.attribution import store
from consilience.attribution.store import Attributions
from consilience.consensus.drivers import drivers, top_drivers
from consilience.consensus.lists import ModelAttribution, top_matrix
from consilience.report.downloads import Download
from consilience.report.overview import metric_table, overview
from consilience.report.pages import write_page
from consilience.study_results import StudyResults

MODELS, METHODS = ("wide", "deep", "apart"), ("integrated_gradients", "saliency")
VOTERS = MODELS[:2]
FEATURES = [f"f{place}" for place in range(9)]


def attributions(model, method, targets, random, permuted=(0, 0, 1)):
    """Small whole numbers, so that values tie and vanish; the last member saw shuffled labels."""
    shape = (len(permuted), len(targets), len(FEATURES))

    def statistics():
        direction = random.integers(-2, 3, shape).astype(np.float32)
        magnitude = random.integers(0, 4, shape).astype(np.float32)
        return {"magnitude": magnitude, "direction": direction, "average_attribution": np.sign(direction) * magnitude}

    return Attributions(
        model=model,
        method=method,
        reference="zero",
        features=pd.DataFrame({"name": FEATURES, "branch": "x"}),
        targets=list(targets),
        members=pd.DataFrame({"member": range(len(permuted)), "seed": 0, "rows": "all", "permuted": permuted}),
        all=statistics(),
        own_class=statistics() if len(targets) > 1 else None,
        gap=None,
        scale=None,
        samples=["s"],
        showcase=None,
        roles=["train"],
        task="classification" if len(targets) > 1 else "regression",
        complete=False,
    )


class Consensus:
    """Three models, of which two vote, by two methods: what cards are made from, and the attributions themselves."""

    def __init__(self, folder, targets, seed=0, top=3, minimum_models=1):
        random = np.random.default_rng(seed)
        self.targets, self.settings = list(targets), {"top": top, "minimum_models": minimum_models}
        self.attributions = [attributions(*pair, targets, random) for pair in product(MODELS, METHODS)]
        self.paths = [folder / f"{one.model}_{one.method}.h5" for one in self.attributions]
        for path, one in zip(self.paths, self.attributions, strict=True):
            store.write(path, one)
        self.coefficients = random.integers(-4, 5, (len(targets), len(FEATURES))) / 8
        voting = [
            ModelAttribution.of(one) for one in self.attributions if one.method == METHODS[0] and one.model in VOTERS
        ]
        self.drivers = drivers(voting, self.coefficients, **self.settings)
        self.top = top_drivers(self.drivers, **self.settings)
        self.matrix = top_matrix(voting, top)
        self.extra = {"tested": self.drivers.loc[self.drivers["rank"] % 2 == 0, ["feature", "target", "direction"]]}
        self.extra["tested"] = self.extra["tested"][self.extra["tested"]["direction"] != "none"]


def metric(value, reach=0.1, name="r2", trivial=(0.0,), task="regression", **test):
    """The content of a model's metrics.json; without a value no metric is defined."""
    low, high = (None, None) if value is None or reach is None else (value - reach, value + reach)
    names = ("mean", "size", "age")[: len(trivial)]
    return {
        "task": task,
        "test": {"n": 9, "groups": 30, name: {"value": value, "low": low, "high": high}, **test},
        "trivial": {one: {name: value} for one, value in zip(names, trivial, strict=True)},
        "training": {},
    }


LIST = pd.DataFrame({"feature": ["f1"], "target": "y", "rank": 1, "direction": "positive", "total_positive": 1})
AUDIT = pd.DataFrame({"step": ["source"], "rule": ["a.csv"], "samples_before": 30, "samples_after": 30})


def results(networks, linear, **changes):
    """A finished study of one target whose first network has the least validation loss."""
    columns = ["check", "method", "metric", "value", "high"]
    overlap = {"sets": "networks;linear", "direction": ["positive"], "intersection": 2, "size_networks": 3}
    facts = {
        "base": Path("results/mine"),
        "method": METHODS[0],
        "voters": list(networks),
        "networks": networks,
        "linear": {"ridge": linear},
        "validation": {name: float(place) for place, name in enumerate(networks)},
        "samples": {"train": 20, "validation": 4, "test": 6},
        "shared": {},
        "audit": AUDIT.assign(features_before=9, features_after=9),
        "drivers": pd.DataFrame({"feature": FEATURES, "target": "y"}),
        "top": LIST,
        "overlap": pd.DataFrame(overlap | {"expected": [0.5]}),
        "recovery": None,
        "checks": {name: pd.DataFrame(columns=columns) for name in networks},
        "remarks": {name: [] for name in networks},
    }
    return StudyResults(**facts | changes)


def card(feature, target, **changes):
    """The card of a driver that one model lists."""
    numbers = dict.fromkeys(("average_attribution", "stability_score", "sign_probability", "linear_coefficient"), 0.25)
    found = {
        "feature": feature,
        "target": target,
        "rank": 1,
        "direction": "positive",
        "total_positive": 1,
        "total_negative": 0,
        **numbers,
    }
    found |= {"linear_rank": 2, "in_overlap": True, "models": {"wide": [1]}, "lists": {"wide": 1}}
    return found | {"sets": {"networks": True, "linear": False}, "targets": [], "planted": None} | changes


def study_page(path, targets, cards, notes=(), model="wide", sections=None, downloads=(), first=None, **changes):
    """Write the page of a study that has nothing but its drivers."""
    drivers = pd.concat([LIST.assign(feature=target, target=target) for target in targets])
    top = drivers if cards else LIST.head(0)
    study = results({model: metric(0.5)}, metric(0.4), top=top, drivers=drivers, own_notes=list(notes), **changes)
    facts = {
        "features": 1,
        "targets": targets,
        "voters": [model],
        "methods": ["saliency"],
        "top": 3,
        "minimum_models": 1,
    }
    write_page(
        path,
        "study.html",
        current="mine",
        view=overview(study, "toy"),
        cards=cards,
        facts=facts | {"first": list(range(len(cards))) if first is None else first},
        sections=sections or {"drivers": []},
        metrics=metric_table(study),
        downloads=list(downloads),
        everything=Download("drivers.csv.gz", "results/mine/drivers.csv", 10),
    )
