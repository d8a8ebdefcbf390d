import numpy as np
import pandas as pd
import pytest

from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.errors import ConsilienceError

UNITS = np.array([[0, 0], [1, -1]])


def example(
    path, *, samples=5, units=UNITS, target=None, task="regression", classes=(), frame=None, block=None, **more
):
    """Write a small dataset with one image branch; arguments replace its parts."""
    features = frame if frame is not None else pd.DataFrame({"name": ["a", "b"], "branch": "image"})
    block = np.arange(samples * 4, dtype=float).reshape(samples, 2, 2) if block is None else block
    with write_dataset(path, task, "y", "unit", "source", "0" * 64, list(classes)) as writer:
        writer.features(features)
        writer.branch("image", units, samples, "none", masked="mask" in more)
        writer.append("image", block, more.get("mask"))
        writer.target(np.arange(samples, dtype=float) if target is None else target)
        writer.samples(more.get("table", pd.DataFrame({"id": [f"s{row}" for row in range(samples)]})))
    return block


def test_rows_come_back_in_any_order(tmp_path):
    block = np.random.default_rng(0).normal(size=(3000, 2, 2)).astype(np.float32)
    example(tmp_path / "d.h5", samples=3000, block=block)
    with Dataset.open(tmp_path / "d.h5") as dataset:
        for rows in (np.array([5, 1, 2999, 1]), np.random.default_rng(1).permutation(3000), np.array([], int)):
            assert (dataset.inputs("image", rows) == block[rows]).all()
        assert (dataset.inputs("image") == block).all()


def test_what_is_written_is_read(tmp_path):
    mask = np.zeros((4, 2, 2), bool)
    mask[1, 0, 1] = True
    block = np.ones((4, 2, 2))
    block[1, 0, 1] = np.nan
    table = pd.DataFrame({"id": list("wxyz"), "weight": [1.0, 2, 3, 4], "series": ["p", "p", "q", "q"]})
    votes = np.array([[0.5, 0.5, 0], [1, 0, 0], [0, 1, 0], [0.2, 0.2, 0.6]])
    example(
        tmp_path / "d.h5", samples=4, task="votes", classes="ABC", target=votes, block=block, mask=mask, table=table
    )  # fmt: skip
    with Dataset.open(tmp_path / "d.h5") as dataset:
        assert dataset.task == "votes"
        assert dataset.targets == ["A", "B", "C"]
        assert dataset.labels.tolist() == [0, 0, 1, 2]
        assert dataset.weight.tolist() == [1, 2, 3, 4]
        assert (dataset.mask("image") == mask).all()
        assert dataset.inputs("image")[1, 0, 1] == 0
        assert dataset.branches["image"].shape == (2, 2)
        assert list(dataset.samples.columns) == ["id", "weight", "series"]
        assert dataset.features["name"].tolist() == ["a", "b"]


def test_two_classes_are_one_target(tmp_path):
    example(tmp_path / "d.h5", task="classification", classes=["no", "yes"], target=np.array([0, 1, 1, 0, 1]))
    with Dataset.open(tmp_path / "d.h5") as dataset:
        assert dataset.targets == ["yes"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": np.array([[0, 0], [2, -1]])}, r"units of image must lie in -1\.\.1"),
        ({"units": np.array([[0, 0], [0, -1]])}, "feature 'b' has no element"),
        ({"frame": pd.DataFrame({"name": ["a", "a"], "branch": "image"})}, "feature names must be unique; 'a'"),
        (
            {"frame": pd.DataFrame({"name": ["a", "b"], "branch": ["image", "genes"]})},
            "feature 'b' is of branch 'genes'",
        ),
        ({"frame": pd.DataFrame({"name": ["a", "b"]})}, "the features table lacks branch"),
        ({"target": np.arange(4.0)}, r"/target has 4 samples, but .*/samples/id.*5"),
        ({"target": np.array([0, 1, np.nan, 3, 4])}, "the target of sample 2 is not a finite number"),
        ({"task": "classification", "classes": "AB", "target": np.array([0, 1, 2, 0, 0])}, "class indices must lie"),
        ({"task": "votes", "classes": "AB", "target": np.full((5, 2), 0.4)}, "fractions that sum to one"),
        ({"task": "classification", "classes": "A"}, "classification with 1 classes"),
        ({"task": "ranking"}, "task is one of regression, classification, votes"),
        ({"block": np.full((5, 2, 2), np.inf)}, "sample 0 has a value that is not finite"),
        ({"block": np.zeros((4, 2, 2))}, r"/target has 5 samples, but .*/inputs/image.*4"),
        ({"block": np.zeros((5, 2, 3))}, "declared 5 rows of shape"),
        ({"table": pd.DataFrame({"id": list("aabcd")})}, "sample ids must be unique; 'a'"),
        ({"table": pd.DataFrame({"id": list("abcde"), "weight": [1, 0, 1, 1, 1]})}, "weights must be positive"),
    ],
)
def test_a_dataset_that_breaks_the_contract_is_refused_and_not_written(tmp_path, change, message):
    with pytest.raises(ConsilienceError, match=message):
        example(tmp_path / "d.h5", **change)
    assert not list(tmp_path.iterdir())


def test_a_missing_part_is_named(tmp_path):
    with pytest.raises(ConsilienceError, match="a dataset needs /features"), write_dataset(
        tmp_path / "d.h5", "regression", "y", "unit", "source", "0"
    ) as writer:  # fmt: skip
        writer.target(np.zeros(3))


def test_a_branch_called_samples_is_refused(tmp_path):
    with pytest.raises(ConsilienceError, match="cannot be called samples"), write_dataset(
        tmp_path / "d.h5", "regression", "y", "unit", "source", "0"
    ) as writer:  # fmt: skip
        writer.branch("samples", UNITS, 3, "none")


def test_another_file_is_no_dataset(tmp_path):
    import h5py

    h5py.File(tmp_path / "other.h5", "w").close()
    with pytest.raises(ConsilienceError, match="not a dataset"), Dataset.open(tmp_path / "other.h5"):
        pass


def test_rows_are_found_by_their_samples_in_any_order(tmp_path):
    example(tmp_path / "d.h5", samples=4)
    with Dataset.open(tmp_path / "d.h5") as dataset:
        assert dataset.rows_of(["s3", "s0", "s3"]).tolist() == [3, 0, 3]
        assert dataset.rows_of([]).tolist() == []
        with pytest.raises(ConsilienceError, match=r"d.h5: no sample 's11' \(audit.tsv .*\); nearest: s1"):
            dataset.rows_of(["s1", "s11"])


def test_auxiliary_arrays_may_come_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("consilience.dataset_writer.CHUNK_BYTES", 2 * 4 * 3)
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)

    def written(path, blocks):
        with write_dataset(path, "regression", "y", "unit", "source", "0" * 64) as writer:
            writer.features(pd.DataFrame({"name": ["a"], "branch": "x"}))
            writer.branch("x", np.zeros(1), 5, "none")
            writer.append("x", np.zeros((5, 1)))
            writer.auxiliary_blocks("edges", blocks, 5, (3,))
            writer.target(np.arange(5.0))
            writer.samples(pd.DataFrame({"id": list("abcde")}))
        return path.read_bytes()

    whole = written(tmp_path / "whole.h5", iter([values]))
    assert written(tmp_path / "parts.h5", iter([values[:2], values[2:4], values[4:]])) == whole
    with Dataset.open(tmp_path / "parts.h5") as dataset:
        assert (dataset.auxiliary()["edges"] == values).all()
        assert dataset.file["auxiliary/edges"].chunks == (2, 3)
    with pytest.raises(ConsilienceError, match="auxiliary edges: 4 rows; declared 5"):
        written(tmp_path / "short.h5", iter([values[:4]]))
    assert not (tmp_path / "short.h5").exists()


def test_what_samples_were_encoded_with_is_kept(tmp_path):
    kept = {"weights": np.arange(6.0).reshape(2, 3), "threshold": np.array(0.5)}
    with write_dataset(tmp_path / "d.h5", "regression", "y", "unit", "source", "0" * 64) as writer:
        writer.features(pd.DataFrame({"name": ["a"], "branch": "x"}))
        writer.branch("x", np.zeros(1), 2, "none")
        writer.append("x", np.zeros((2, 1)))
        writer.target(np.arange(2.0))
        writer.samples(pd.DataFrame({"id": list("ab")}))
        writer.representation(kept)
    with Dataset.open(tmp_path / "d.h5") as dataset:
        assert list(dataset.representation) == ["threshold", "weights"]
        assert all((dataset.representation[name] == values).all() for name, values in kept.items())
    example(tmp_path / "plain.h5")
    with Dataset.open(tmp_path / "plain.h5") as dataset:
        assert dataset.representation == {}
