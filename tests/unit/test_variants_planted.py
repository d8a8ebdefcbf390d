"""Which atoms stand for what a simulation planted, against a plain loop."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom

from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.variants.levels import FALSE_SHARE
from consilience.domains.variants.planted import FEWEST, MOSTLY, planted

TRUTH = pd.DataFrame(
    [
        ("consensus ACAC", "TP", -1, 1.0, "linear", "microsatellite"),
        ("consensus CACA", "TP", -1, 1.0, "linear", "microsatellite"),
        ("type INV", "TP", -1, 0.5, "linear", "inversion"),
        ("log10 size", "TP", 1, 0.8, "linear", "size"),
    ],
    columns=["feature", "target", "sign", "strength", "effect", "signal"],
).assign(carried_sign=-1)


def write(path, codes, carried):
    calls, atoms = codes.shape
    with write_dataset(path, "classification", "true call", "units", "made", "0" * 64, ["FP", "TP"]) as writer:
        writer.features(
            pd.DataFrame({"name": [f"atom {atom}" for atom in range(atoms)], "branch": "codes", "atom": range(atoms)})
        )
        writer.branch("codes", np.arange(atoms), calls, "feature")
        writer.append("codes", codes)
        writer.target(np.arange(calls) % 2)
        columns = {f"planted_{name}": values.astype(int) for name, values in carried.items()}
        writer.samples(pd.DataFrame({"id": [str(call) for call in range(calls)], **columns}))
    return path


@pytest.fixture
def example(tmp_path):
    random = np.random.default_rng(0)
    carried = {"microsatellite": random.random(400) < 0.3, "inversion": random.random(400) < 0.1}
    # A small call is a false one, so that atoms of small calls point the other way than the size does.
    carried["size"] = random.random(400) < 0.25
    active = {
        "all of one signal": carried["microsatellite"],
        "part of a signal": carried["inversion"] & (random.random(400) < 0.6),
        "mostly": np.where(carried["microsatellite"], random.random(400) < 0.8, random.random(400) < 0.08),
        "half": np.where(carried["microsatellite"], random.random(400) < 0.5, random.random(400) < 0.25),
        "anything": random.random(400) < 0.4,
        "too few": np.isin(np.arange(400), np.flatnonzero(carried["inversion"])[: FEWEST - 1]),
        "never": np.zeros(400, bool),
        "absence": ~carried["microsatellite"],
        "small": carried["size"] & (random.random(400) < 0.9),
    }
    codes = np.stack(list(active.values()), axis=1) * random.uniform(0.1, 3, (400, len(active)))
    with Dataset.open(write(tmp_path / "encoded.h5", codes, carried)) as dataset:
        return list(active), codes > 0, carried, planted(TRUTH, dataset)


def test_atoms_that_mostly_mark_a_signal_stand_for_it(example):
    names, _, _, found = example
    by_name = {names[int(feature.split()[1])]: signal for feature, signal in zip(found["feature"], found["signal"], strict=True)}  # fmt: skip
    assert by_name == {
        "all of one signal": "microsatellite",
        "part of a signal": "inversion",
        "mostly": "microsatellite",
        "small": "size",
    }
    assert set(found["sign"]) == {-1}
    assert found.set_index("signal")["strength"].to_dict() == {"microsatellite": 1.0, "inversion": 0.5, "size": 0.8}


def test_the_same_by_a_plain_loop(example):
    names, active, carried, found = example
    chances, shares = {}, {}
    for atom in range(len(names)):
        for signal, own in carried.items():
            on, both = active[:, atom].sum(), (active[:, atom] & own).sum()
            chances[atom, signal] = hypergeom(400, own.sum(), on).sf(both - 1)
            shares[atom, signal] = both / max(on, 1)
    order = sorted(chances, key=chances.get)
    q_values, least = {}, 1.0
    for rank, key in reversed(list(enumerate(order, 1))):
        least = min(least, chances[key] * len(order) / rank)
        q_values[key] = least
    expected = {
        f"atom {atom}"
        for atom, signal in chances
        if q_values[atom, signal] < FALSE_SHARE and shares[atom, signal] >= MOSTLY and active[:, atom].sum() >= FEWEST
    }
    assert set(found["feature"]) == expected
