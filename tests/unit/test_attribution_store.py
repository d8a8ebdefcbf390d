import dataclasses

import h5py
import numpy as np
import pandas as pd
import pytest

from consilience.attribution import store
from consilience.attribution.store import Attributions
from consilience.errors import ConsilienceError


def example(complete=True, classes=True, permuted=(0, 0, 7)):
    random = np.random.default_rng(0)
    members, targets, features, samples = 3, 2, 4, 5

    def statistics():
        return {name: random.normal(size=(members, targets, features)).astype(np.float32) for name in store.STATISTICS}

    def per_sample():
        return random.random((members, targets, samples)).astype(np.float32) if complete else None

    return Attributions(
        model="mlp_32",
        method="integrated_gradients",
        reference="mean",
        features=pd.DataFrame({"name": ["NA", "β-catenin", "c", "d"], "branch": ["x", "x", "y", "y"]}),
        targets=["a", "b"],
        members=pd.DataFrame({"member": [0, 1, 2], "seed": [4, 5, 6], "rows": "all", "permuted": permuted}),
        all=statistics(),
        own_class=statistics() if classes else None,
        gap=per_sample(),
        scale=per_sample(),
        samples=[f"GSM{row}" for row in range(samples)],
        showcase={"samples": ["GSM1", "GSM3"], "x": random.normal(size=(members, targets, 2, 3)).astype(np.float32)},
        roles=["train", "test"],
        task="classification",
        complete=complete,
    )


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("classes", [True, False])
def test_what_is_written_is_read(tmp_path, complete, classes):
    written = example(complete, classes)
    store.write(tmp_path / "a.h5", written)
    found = store.read(tmp_path / "a.h5", showcase=True)
    for field in dataclasses.fields(Attributions):
        own, expected = getattr(found, field.name), getattr(written, field.name)
        if isinstance(expected, pd.DataFrame):
            assert own.astype(str).equals(expected.astype(str)), field.name
        elif isinstance(expected, dict):
            assert own.keys() == expected.keys()
            assert all(np.array_equal(own[key], expected[key]) for key in expected), field.name
        else:
            assert np.array_equal(own, expected), field.name


def test_the_showcase_is_read_where_asked_for(tmp_path):
    store.write(tmp_path / "a.h5", example())
    assert store.read(tmp_path / "a.h5").showcase is None


def test_no_showcase(tmp_path):
    store.write(tmp_path / "a.h5", dataclasses.replace(example(), showcase=None))
    assert store.read(tmp_path / "a.h5", showcase=True).showcase is None


def test_the_file_is_laid_out_as_the_contract_says(tmp_path):
    store.write(tmp_path / "a.h5", example())
    with h5py.File(tmp_path / "a.h5") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        assert set(file.attrs) == {"model", "method", "reference", "task", "roles", "complete", "remarks"}
        assert file["all/magnitude"].dtype == np.float32
        assert file["all/magnitude"].compression == "gzip"
    statistics = [f"{group}/{name}" for group in ("all", "own_class") for name in store.STATISTICS]
    assert sorted(names) == sorted(
        [
            *statistics,
            "features/name",
            "features/branch",
            "targets",
            "members/member",
            "members/seed",
            "members/rows",
            "members/permuted",
            "completeness/gap",
            "completeness/scale",
            "samples/id",
            "showcase/samples",
            "showcase/x",
        ]
    )


def test_the_same_content_gives_the_same_bytes(tmp_path):
    for name in ("a.h5", "b.h5"):
        store.write(tmp_path / name, example())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_another_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ConsilienceError, match=r"a.h5: not an attribution file"):
        store.read(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": ["a"]}, r"all/magnitude has shape \(3, 2, 4\); expected \(3, 1, 4\)"),
        ({"gap": None}, "completeness/gap has no values"),
        ({"samples": ["one"]}, r"completeness/gap has shape \(3, 2, 5\); expected \(3, 2, 1\)"),
        ({"all": {}}, "all/magnitude has no values"),
    ],
)
def test_parts_that_disagree_are_refused_and_leave_no_file(tmp_path, change, message):
    with pytest.raises(ConsilienceError, match=message):
        store.write(tmp_path / "a.h5", dataclasses.replace(example(), **change))
    assert not list(tmp_path.iterdir())


def test_values_that_are_not_finite_name_their_member(tmp_path):
    attributions = example()
    attributions.all["direction"][2, 0, 0] = np.nan
    with pytest.raises(ConsilienceError, match="all/direction of member 2 is not finite"):
        store.write(tmp_path / "a.h5", attributions)
