"""The simulated files are Fashion-MNIST's, garments say nothing of the class, and the planted patches do."""

import gzip

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from consilience.dataset import Dataset
from consilience.domains import slices
from consilience.domains.fashion.idx import CLASSES, pixel_names
from consilience.domains.fashion.prepare import prepare
from consilience.domains.fashion.simulate import AT_ONCE, GARMENTS, _garments, simulate
from consilience.recovery import recovery

NAMES = {f"{role}-{kind}-ubyte.gz" for role in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")}
SCHEMA = yaml.safe_load((slices()["fashion"] / "schema.yaml").read_text())
DEFAULTS = {name: part["default"] for name, part in SCHEMA["sources"]["simulate"]["properties"].items()}


def simulated(folder, seed=0, **source):
    folder.mkdir(parents=True, exist_ok=True)
    return simulate(folder, {"source": {"kind": "simulate", **DEFAULTS, **source}}, seed)


def pictures(folder, role):
    images = gzip.decompress((folder / f"{role}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{role}-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(labels, np.uint8, offset=8)


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    """A simulation with the defaults: folder, truth, images and labels of both roles."""
    folder = tmp_path_factory.mktemp("default")
    truth = simulated(folder)
    return folder, truth, pictures(folder, "train"), pictures(folder, "t10k")


def patch_of(truth, name):
    return np.isin(pixel_names(), truth.loc[truth["target"] == name, "feature"])


def test_the_files_are_the_standard_ones(default):
    folder, _, (train, train_labels), (test, test_labels) = default
    assert {path.name for path in folder.iterdir()} == NAMES
    assert [len(part) for part in (train, train_labels, test, test_labels)] == [2000, 2000, 500, 500]
    assert (np.bincount(train_labels) == 200).all()
    assert (np.bincount(test_labels) == 50).all()
    assert abs(np.corrcoef(train_labels[:-1], train_labels[1:])[0, 1]) < 0.1
    for path in folder.iterdir():
        start = path.read_bytes()[:10]
        assert start[3:8] == bytes(5), "neither a name nor a time"


def test_prepare_reads_them_and_knows_the_planted_features(default, tmp_path):
    folder, truth, (train, labels), _ = default
    source = {"kind": "simulate", **DEFAULTS}
    audit = prepare(sorted(folder.iterdir()), {"source": source}, tmp_path / "dataset.h5", 0)
    with Dataset.open(tmp_path / "dataset.h5") as data:
        assert set(truth["feature"]) <= set(data.features["name"])
        assert recovery(truth, data.features["name"], data.targets, []).empty, "the truth is refused otherwise"
        np.testing.assert_array_equal(np.rint(data.inputs("pixels")[:2000] * 255), train)
        np.testing.assert_array_equal(data.labels[:2000], labels)
        assert data.file.attrs["source"] == "simulate"
    assert audit["note"].iloc[0] == "2000 train images, 500 test images"


def test_one_seed_gives_the_same_bytes_and_another_others(tmp_path):
    sizes = {"train": 40, "test": 20}
    truths = [simulated(tmp_path / name, seed, **sizes) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    for name in NAMES:
        first, again, other = ((tmp_path / run / name).read_bytes() for run in "abc")
        assert first == again != other
    pd.testing.assert_frame_equal(truths[0], truths[1])
    assert not truths[0].equals(truths[2])


def test_more_training_images_leave_the_test_images_alone(tmp_path):
    simulated(tmp_path / "few", train=40, test=20)
    simulated(tmp_path / "many", train=90, test=20)
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        assert (tmp_path / "few" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_large_files_are_written_in_blocks(tmp_path):
    simulated(tmp_path, train=AT_ONCE + 7, test=10)
    images, labels = pictures(tmp_path, "train")
    assert len(images) == len(labels) == AT_ONCE + 7
    assert len(np.unique(images, axis=0)) == AT_ONCE + 7


def test_the_truth_says_what_was_planted(default):
    _, truth, *_ = default
    assert list(truth) == ["feature", "target", "sign", "strength", "effect"]
    assert truth["target"].value_counts().to_dict() == dict.fromkeys(CLASSES, 16)
    assert truth["feature"].is_unique, "no pixel belongs to two classes"
    signs = truth.groupby("target")["sign"].agg(["min", "max"])
    assert (signs["min"] == signs["max"]).all()
    assert [signs.loc[name, "max"] for name in CLASSES] == [1, -1] * 5
    assert np.allclose(truth["strength"], DEFAULTS["contrast"] / DEFAULTS["spread"])
    assert set(truth["effect"]) == {"linear"}


def test_patches_are_squares_that_do_not_touch(default):
    _, truth, *_ = default
    patches = [patch_of(truth, name) for name in CLASSES]
    for index, patch in enumerate(patches):
        rows, columns = np.nonzero(patch)
        assert (np.ptp(rows), np.ptp(columns), patch.sum()) == (3, 3, 16)
        grown = np.zeros_like(patch)
        grown[rows.min() - 1 : rows.max() + 2, columns.min() - 1 : columns.max() + 2] = True
        assert not any((grown & other).any() for other in patches[:index] + patches[index + 1 :])


def test_the_shift_of_a_patch_is_what_the_settings_say(tmp_path):
    settings = {"train": 4000, "test": 10, "contrast": 0.2, "spread": 0.04, "noise": 0.0}
    truth = simulated(tmp_path / "shifted", **settings)
    simulated(tmp_path / "plain", **{**settings, "contrast": 1e-9, "spread": 1e-9})
    (images, labels), (plain, same) = (pictures(tmp_path / name, "train") for name in ("shifted", "plain"))
    np.testing.assert_array_equal(labels, same)
    shift = (images.astype(float) - plain) / 255
    inside = np.isin(pixel_names(), truth["feature"])
    assert (shift[:, ~inside] == 0).all(), "nothing but patches is shifted"
    for index, name in enumerate(CLASSES):
        own = shift[:, patch_of(truth, name)].mean(axis=1)
        sign = truth.loc[truth["target"] == name, "sign"].iloc[0]
        assert abs(own[labels == index].mean() - sign * 0.2) < 0.01
        assert abs(own[labels != index].mean()) < 0.005
        assert abs(own[labels != index].std() - 0.04) < 0.002
        assert abs(own[labels == index].std() - 0.04) < 0.006


def test_every_garment_covers_every_patch(default):
    _, truth, *_ = default
    images = _garments(7000, np.random.default_rng(3))
    assert images[:, np.isin(pixel_names(), truth["feature"])].min() > 0.2
    assert (images[:, [0, -1], 0] == 0).mean() > 0.9, "the background is black"
    assert 0 <= images.min() < images.max() < 0.8
    assert len(GARMENTS) >= 5
    spread = images.std(axis=0)
    assert spread[:, :6].max() > 0.15, "shapes differ"


def test_the_shape_says_nothing_of_the_class(default):
    _, truth, (images, labels), (test, test_labels) = default
    outside = ~np.isin(pixel_names(), truth["feature"])
    train, test = images[:, outside] / 255, test[:, outside] / 255
    found = LogisticRegression(C=0.01, max_iter=300).fit(train, labels).score(test, test_labels)
    assert abs(found - 0.1) < 4 * np.sqrt(0.1 * 0.9 / len(test))
    vary = train.std(axis=0) > 0.02

    def between(classes):
        means = np.stack([train[classes == index][:, vary].mean(axis=0) for index in range(10)])
        return (means.std(axis=0) / train[:, vary].std(axis=0)).mean()

    random = np.random.default_rng(0)
    chance = np.array([between(random.permutation(labels)) for _ in range(20)])
    assert abs(between(labels) - chance.mean()) < 4 * chance.std()


def test_each_patch_tells_its_class_with_its_sign(default):
    _, truth, _, (test, labels) = default
    for index, name in enumerate(CLASSES):
        sign = truth.loc[truth["target"] == name, "sign"].iloc[0]
        brightness = test[:, patch_of(truth, name)].mean(axis=1)
        assert roc_auc_score(labels == index, sign * brightness) > 0.9, name


def test_a_linear_model_does_well_and_not_perfectly(default):
    _, _, (images, labels), (test, test_labels) = default
    train, test = images.reshape(len(images), -1) / 255, test.reshape(len(test), -1) / 255
    accuracy = LogisticRegression(C=0.1, max_iter=500).fit(train, labels).score(test, test_labels)
    assert 0.85 < accuracy < 0.97
