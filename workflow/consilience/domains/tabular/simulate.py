"""Simulates a CSV table of numbers and texts, in which the drivers of the target are planted and known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.errors import ConsilienceError
from consilience.files import write_table

FILE = "table.csv"
GROUP = "site"
# Numeric columns come in pairs that share half their variance, so that every driver has a shadow.
SHARED = 0.5
LEVELS = ("red", "green", "blue", "black", "white")
# The standard deviation of max(a, 0) · max(b, 0) for independent standard normals, so that all effects have one unit.
SYNERGY = np.sqrt(1 / 4 - 1 / (4 * np.pi**2))
DECADES = 3


@dataclass(frozen=True)
class _Columns:
    """Standard normals (rows, numeric), codes of levels (rows, categorical), the levels of each, the rows' sites."""

    numbers: np.ndarray
    codes: np.ndarray
    levels: list[list[str]]
    sites: np.ndarray

    def number(self, place: int) -> str:
        return f"x{place + 1:02d}"

    def text(self, place: int) -> str:
        return f"c{place + 1:02d}"


def simulate(folder: Path, settings: dict[str, Any], seed: int) -> pd.DataFrame:
    """Write `folder`/table.csv and return the planted truth.

    What decides the target is the sum of its drivers' effects (linear; a step at the driver's mean; two drivers that
    act only where both are above their means; a level of a text) and normal noise: the target itself, whether it is
    above 0, or, of three classes and more, the largest of one such sum a class. The truth has a row a driver: feature,
    target (the second of two classes), sign, strength (standard deviations of what decides, per standard deviation of
    the effect) and effect. Raises ConsilienceError where the drivers do not fit.
    """
    source, target = settings["source"], settings["target"]
    random = np.random.default_rng(seed)
    columns = _columns(source, random)
    classes = [f"class {letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: source["classes"]]]
    names = classes if len(classes) > 2 else classes[1:] or [target]
    kinds = _kinds(source, columns)
    # Drivers take turns among the targets, those of a pair together.
    truth, latent = _plant(columns, kinds, _owners(kinds, len(names)), names, source, random)
    if len(names) > 1:
        values = np.asarray(classes, dtype=object)[latent.argmax(axis=1)]
    else:
        values = np.where(latent[:, 0] > 0, *reversed(classes)) if classes else latent[:, 0]
    _write(folder / FILE, columns, values, settings, random)
    return truth


def _columns(source: dict[str, Any], random: np.random.Generator) -> _Columns:
    rows, numeric = source["rows"], source["numeric"]
    sites = random.integers(0, max(1, source["groups"]), rows)
    share = source["group_share"] if source["groups"] else 0.0
    shared = random.standard_normal((rows, -(-numeric // 2)))[:, np.arange(numeric) // 2]
    own = np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * random.standard_normal((rows, numeric))
    between = random.standard_normal((sites.max() + 1, numeric))[sites]
    sizes = 2 + np.arange(source["categorical"]) % (len(LEVELS) - 1)
    codes = [random.integers(0, size, rows) for size in sizes]
    levels = [sorted(LEVELS[:size]) for size in sizes]
    stacked = np.column_stack(codes) if codes else np.empty((rows, 0), np.int64)
    return _Columns(np.sqrt(1 - share) * own + np.sqrt(share) * between, stacked, levels, sites)


def _kinds(source: dict[str, Any], columns: _Columns) -> np.ndarray:
    """Return the kind of effect of every driver (drivers,): the pairs of interactions first, levels last."""
    drivers = source["drivers"]
    paired = 2 * round(drivers * source["interaction_share"] / 2)
    steps, texts = round(drivers * source["threshold_share"]), round(drivers * source["categorical_share"])
    texts = min(texts, len(columns.levels))
    linear = drivers - paired - steps - texts
    room = -(-source["numeric"] // 2)
    if linear < 0 or drivers - texts > room:
        raise ConsilienceError(
            f"source: {drivers} drivers ({steps} thresholded, {paired} in interactions, {texts} levels) in "
            f"{source['numeric']} numeric columns; expected at most one in every two columns, and shares that add up "
            "to at most 1"
        )
    effects = np.array(["interaction", "threshold", "linear", "level"], dtype=object)
    return np.repeat(effects, [paired, steps, linear, texts])


def _owners(kinds: np.ndarray, targets: int) -> np.ndarray:
    """Return the target that every driver belongs to (drivers,)."""
    paired = int((kinds == "interaction").sum())
    units = np.concatenate([np.arange(paired) // 2, paired // 2 + np.arange(len(kinds) - paired)])
    return units % targets


def _plant(
    columns: _Columns,
    kinds: np.ndarray,
    owner: np.ndarray,
    names: list[str],
    source: dict[str, Any],
    random: np.random.Generator,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Choose the drivers; return the truth, and what decides each target (rows, targets), each of variance one."""
    features, terms, effects = _effects(columns, kinds, random)
    rows, share = len(terms), source["group_share"] if source["groups"] else 0.0
    latent, units = np.empty((rows, len(names))), np.ones(len(kinds))
    for place in range(len(names)):
        own = owner == place
        signal = terms[:, own] @ effects[own]
        signal -= signal.mean()
        units[own] = unit = np.sqrt(source["explained"]) / (signal.std() or 1.0)
        noise = np.sqrt(1 - share) * random.standard_normal(rows)
        noise += np.sqrt(share) * random.standard_normal(columns.sites.max() + 1)[columns.sites]
        latent[:, place] = unit * signal + np.sqrt(1 - source["explained"]) * noise
    truth = pd.DataFrame(
        {
            "feature": features,
            "target": np.asarray(names, dtype=object)[owner],
            "sign": np.sign(effects).astype(np.int64),
            "strength": np.abs(effects) * units,
            "effect": np.where(kinds == "level", "linear", kinds),
        }
    )
    return truth.sort_values(["target", "feature"], ignore_index=True), latent


def _effects(
    columns: _Columns, kinds: np.ndarray, random: np.random.Generator
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the features of the drivers, their terms (rows, drivers) and signed sizes (drivers,).

    The first of a pair has the term of both.
    """
    features, terms = _terms(columns, kinds, random)
    signs = random.permutation(np.where(np.arange(len(kinds)) % 2, 1, -1))
    sizes = random.uniform(0.75, 1.25, len(kinds))
    second = np.arange(1, int((kinds == "interaction").sum()), 2)
    sizes[second], signs[second] = sizes[second - 1], signs[second - 1]
    terms[:, second - 1] = np.maximum(terms[:, second - 1], 0) * np.maximum(terms[:, second], 0) / SYNERGY
    terms[:, second] = 0
    return features, terms, signs * sizes


def _terms(columns: _Columns, kinds: np.ndarray, random: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Choose a column for every driver; return the features, and their terms (rows, drivers) before pairs act."""
    pairs = -(-columns.numbers.shape[1] // 2)
    numeric = int((kinds != "level").sum())
    places = 2 * random.permutation(pairs)[:numeric] + random.integers(0, 2, numeric)
    places = np.minimum(places, columns.numbers.shape[1] - 1)
    terms = columns.numbers[:, places]
    terms = np.where(kinds[:numeric] == "threshold", np.sign(terms), terms)
    features, parts = [columns.number(place) for place in places], [terms]
    for place in random.permutation(len(columns.levels))[: len(kinds) - numeric]:
        code = random.integers(1, len(columns.levels[place]))
        present = (columns.codes[:, place] == code).astype(np.float64)
        features.append(f"{columns.text(place)} = {columns.levels[place][code]}")
        parts.append(((present - present.mean()) / present.std())[:, None])
    return features, np.column_stack(parts)


def _write(
    path: Path, columns: _Columns, values: np.ndarray, settings: dict[str, Any], random: np.random.Generator
) -> None:
    """Write the table; every column of numbers has a unit of its own, over several decades."""
    numeric = columns.numbers.shape[1]
    unit = 10.0 ** random.uniform(-DECADES, DECADES, numeric)
    numbers = unit * (columns.numbers + random.uniform(-3, 3, numeric))
    table = {columns.number(place): numbers[:, place] for place in range(numeric)}
    for place, levels in enumerate(columns.levels):
        table[columns.text(place)] = np.asarray(levels, dtype=object)[columns.codes[:, place]]
    beside = {GROUP: [f"site {site + 1}" for site in columns.sites]} if settings["source"]["groups"] else {}
    rows = range(1, len(values) + 1)
    named = {settings["id"]: [f"sample {row}" for row in rows]} if settings["id"] else {}
    full = {**named, **beside, **table, settings["target"]: values}
    if len(full) < len(named) + len(beside) + len(table) + 1:
        raise ConsilienceError(
            f"target: {settings['target']!r}, id: {settings['id']!r}; expected names that are neither each other's nor "
            f"one of the simulated table's own ({GROUP}, x01, c01, ...)"
        )
    write_table(path, pd.DataFrame(full))
