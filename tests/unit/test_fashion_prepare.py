"""The dataset holds the files' pixels, labels and roles; bad input ends in one line and no file."""

import gzip
import hashlib
from collections import Counter

import numpy as np
import pytest
import yaml

from consilience.configuration import load_study
from consilience.dataset import Dataset
from consilience.dataset_writer import DatasetWriter
from consilience.domains import slices
from consilience.domains.fashion.idx import CLASSES
from consilience.domains.fashion.prepare import prepare
from consilience.errors import ConsilienceError
from consilience.files import sha256
from consilience.splits import assign, overlaps
from consilience.targets import downloads_of

PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
SETTINGS = {"source": {"kind": "idx", "path": "folder"}}


def example(train=60, test=30, seed=0):
    """Random images and labels in the order of `PARTS`; every class is in both roles."""
    random = np.random.default_rng(seed)
    parts = []
    for count in (train, test):
        parts.append(random.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        parts.append(random.permutation(np.arange(count) % 10).astype(np.uint8))
    return dict(zip(PARTS, parts, strict=True))


def folder_of(folder, parts, packed=True):
    folder.mkdir(parents=True)
    for name, values in parts.items():
        numbers = (2049 if values.ndim == 1 else 2051, *values.shape)
        content = b"".join(number.to_bytes(4, "big") for number in numbers) + values.tobytes()
        path = folder / f"{name}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return folder


def made(raw, output, settings=SETTINGS, **keys):
    """Prepare, and return inputs, target, features, samples, file attributes and the audit."""
    audit = prepare(raw, settings, output, 0, **keys)
    with Dataset.open(output) as data:
        return data.inputs("pixels"), data.target, data.features, data.samples, dict(data.file.attrs), audit


def test_a_dataset_is_what_the_files_hold(tmp_path):
    parts = example()
    folder = folder_of(tmp_path / "zalando", parts)
    inputs, target, features, samples, facts, audit = made([folder], tmp_path / "dataset.h5")
    pixels = np.concatenate([parts[PARTS[0]], parts[PARTS[2]]])
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs, (pixels / 255).astype(np.float32))
    np.testing.assert_array_equal(target, np.concatenate([parts[PARTS[1]], parts[PARTS[3]]]))
    assert samples["id"].tolist() == [f"train-{n:05d}" for n in range(60)] + [f"test-{n:05d}" for n in range(30)]
    assert samples["official_role"].tolist() == ["train"] * 60 + ["test"] * 30
    assert samples["image"].tolist() == [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in pixels]
    np.testing.assert_allclose(samples["trivial_brightness"], pixels.mean(axis=(1, 2)) / 255, rtol=1e-6)
    assert list(samples) == ["id", "official_role", "image", "trivial_brightness"]
    assert (facts["task"], facts["target"], facts["unit"]) == ("classification", "garment", "brightness in [0, 1]")
    digests = "".join(sha256(folder / f"{part}-ubyte.gz") for part in PARTS)
    assert (facts["source"], facts["source_sha256"]) == ("zalando", hashlib.sha256(digests.encode()).hexdigest())
    assert list(features) == ["name", "branch", "row", "column"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["dataset.h5"]
    assert audit["samples_after"].tolist()[::2] == [90, 90]
    assert (audit["features_after"] == 784).all()
    assert audit.loc[0, "note"] == "60 train images, 30 test images"


def test_every_pixel_is_a_feature_at_its_place(tmp_path):
    made([folder_of(tmp_path / "raw", example())], tmp_path / "dataset.h5")
    with Dataset.open(tmp_path / "dataset.h5") as data:
        branch = data.branches["pixels"]
        assert (branch.shape, branch.scaling, branch.reduce) == ((28, 28), "none", "mean")
        assert data.classes == list(CLASSES) == data.targets
        for row, column in ((0, 0), (5, 12), (27, 3)):
            feature = data.features.loc[branch.units[row, column]]
            assert feature.tolist() == [f"r{row:02d}c{column:02d}", "pixels", row, column]
        assert len(np.unique(branch.units)) == 784


def test_neither_compression_nor_order_nor_memory_changes_the_content(tmp_path):
    parts = example(400, 350)
    first = made([folder_of(tmp_path / "raw", parts)], tmp_path / "dataset.h5")
    files = list((tmp_path / "raw").iterdir())
    others = [
        made([folder_of(tmp_path / "plain", parts, packed=False)], tmp_path / "plain.h5"),
        made(sorted(files), tmp_path / "up.h5"),
        made(sorted(files, reverse=True), tmp_path / "down.h5", memory=1),
    ]
    for other in others:
        for index in range(4):
            np.testing.assert_array_equal(other[index], first[index])
        assert other[5].equals(first[5])
    assert [other[4]["source_sha256"] == first[4]["source_sha256"] for other in others] == [False, True, True]


def test_two_runs_write_the_same_bytes(tmp_path):
    folder = folder_of(tmp_path / "raw", example())
    for name in ("a.h5", "b.h5"):
        made([folder], tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_blocks_are_whole_chunks_across_both_files(tmp_path, monkeypatch):
    starts, append = [], DatasetWriter.append

    def spy(writer, branch, block, mask=None):
        starts.append((writer.written[branch], len(block)))
        append(writer, branch, block, mask)

    monkeypatch.setattr(DatasetWriter, "append", spy)
    made([folder_of(tmp_path / "raw", example(400, 350))], tmp_path / "dataset.h5", memory=1)
    with Dataset.open(tmp_path / "dataset.h5") as data:
        chunk = data.file["inputs/pixels"].chunks[0]
    assert chunk == 167
    assert [start for start, _ in starts] == [0, 167, 334, 400, 501, 668]
    assert sum(rows for _, rows in starts) == 750


def repeated():
    """Train images 1 to 19 and test images 0 to 2 repeat train image 0; test image 10 repeats test image 11."""
    parts = example(200, 40, seed=4)
    parts[PARTS[0]][1:20] = parts[PARTS[0]][0]
    parts[PARTS[2]][:3] = parts[PARTS[0]][0]
    parts[PARTS[2]][10] = parts[PARTS[2]][11]
    return parts


def test_the_audit_counts_repeats(tmp_path):
    audit = made([folder_of(tmp_path / "raw", repeated())], tmp_path / "dataset.h5")[-1]
    row = audit.set_index("step").loc["repeats"]
    assert (row["samples_before"], row["samples_after"]) == (240, 20 + 3 + 2)
    assert row["note"].endswith("; 3 of 40 test images stand in train too")


def split_settings(**changes):
    shares = {"train": 0.7, "validation": 0.15, "test": 0.15}
    return {"mode": "official_test", "group": "image", **shares, "salt": "s", **changes}


def test_identical_images_share_a_hashed_role(tmp_path):
    samples = made([folder_of(tmp_path / "raw", repeated())], tmp_path / "dataset.h5")[3]
    split = assign(samples, split_settings(mode="hash"))
    assert split.groupby(samples["image"])["role"].nunique().max() == 1
    assert set(overlaps(samples, split)["image"].values()) == {0}
    alone = assign(samples, split_settings(mode="hash", group="id"))
    assert alone.groupby(samples["image"])["role"].nunique().max() > 1
    official = assign(samples, split_settings())
    assert ((official["role"] == "test") == (samples["official_role"] == "test")).all()
    assert official["role"][:20].nunique() == 1
    shared = overlaps(samples, official)["image"]
    assert shared["train and validation"] == 0
    assert shared["train and test"] + shared["validation and test"] == 1


def test_the_split_refuses_a_class_that_a_role_lacks(tmp_path):
    parts = example()
    parts[PARTS[3]][parts[PARTS[3]] == 4] = 5
    _, target, _, samples, *_ = made([folder_of(tmp_path / "raw", parts)], tmp_path / "dataset.h5")
    with pytest.raises(ConsilienceError, match="is empty or lacks a class"):
        assign(samples, split_settings(), target)


def wrong_label(folder):
    path = folder / "t10k-labels-idx1-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[8 + 12] = 200
    path.write_bytes(gzip.compress(bytes(content)))


def cut(name, size):
    def harm(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:size])

    return harm


def short(folder):
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))


def fewer_labels(folder):
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress((2049).to_bytes(4, "big") + (59).to_bytes(4, "big") + bytes(59)))


def twice(folder):
    path = folder / "t10k-images-idx3-ubyte.gz"
    (folder / "t10k-images-idx3-ubyte").write_bytes(gzip.decompress(path.read_bytes()))


def absent(folder):
    (folder / "train-images-idx3-ubyte.gz").unlink()


def swapped(folder):
    names = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    contents = [(folder / name).read_bytes() for name in names]
    for name, content in zip(names, reversed(contents), strict=True):
        (folder / name).write_bytes(content)


BAD = {
    "label": (wrong_label, r"t10k-labels-idx1-ubyte\.gz: row 12 \(counted from 0\) is label 200; expected 0 to 9"),
    "truncated gzip": (cut("train-images-idx3-ubyte.gz", 9000), r"train-images-idx3-ubyte\.gz: truncated gzip"),
    "truncated test images": (cut("t10k-images-idx3-ubyte.gz", 9000), r"t10k-images-idx3-ubyte\.gz: truncated gzip"),
    "short": (short, r"t10k-images-idx3-ubyte\.gz: truncated; .* 30 images \(23520 bytes\), but 23519 bytes follow"),
    "empty": (cut("t10k-labels-idx1-ubyte.gz", 0), r"t10k-labels-idx1-ubyte\.gz: the file is empty"),
    "counts": (fewer_labels, r"train-images\S+: 60 images, but \S+train-labels\S+ has 59 labels; expected as many"),
    "twice": (twice, r"raw: t10k-images-idx3-ubyte and t10k-images-idx3-ubyte\.gz both hold the test images"),
    "absent": (absent, r"raw: no file with the train images; expected train-images-idx3-ubyte or train-images\.idx3"),
    "swapped": (swapped, r"train-images-idx3-ubyte\.gz: magic number 0x00000801 \(2049, labels\)"),
}


@pytest.mark.parametrize(("harm", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, harm, message):
    folder = folder_of(tmp_path / "raw", example())
    harm(folder)
    (tmp_path / "out").mkdir()
    with pytest.raises(ConsilienceError, match=message) as caught:
        prepare([folder], SETTINGS, tmp_path / "out" / "dataset.h5", 0)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def study(tmp_path, source, **keys):
    content = {"domain": "fashion", "source": source, "models": {"k50": {}}, "consensus": {"minimum_models": 1}, **keys}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_study(path)


def test_the_official_files_need_no_more_than_their_kind(tmp_path):
    found = study(tmp_path, {"kind": "url"})
    assert [file["url"].rpartition("/")[2] for file in found.downloads] == [f"{part}-ubyte.gz" for part in PARTS]
    assert len({file["url"].rpartition("/")[0] for file in found.downloads}) == 1
    assert all(len(file["sha256"]) == 64 and set(file["sha256"]) <= set("0123456789abcdef") for file in found.downloads)
    assert len({file["sha256"] for file in found.downloads}) == 4
    files = downloads_of(found)
    assert [file["path"] for file in files] == [
        f"resources/downloads/{file['sha256'][:16]}/{part}-ubyte.gz" for file, part in zip(files, PARTS, strict=True)
    ]
    assert (found.settings["split"]["mode"], found.settings["split"]["group"]) == ("official_test", "image")
    assert found.raw == ()


def test_a_mirror_may_be_named_and_must_be_whole(tmp_path):
    mirror = [{"url": f"https://mirror.org/{part}-ubyte", "sha256": f"{n}" * 64} for n, part in enumerate(PARTS)]
    assert study(tmp_path, {"kind": "url", "files": mirror}).downloads == mirror
    with pytest.raises(ConsilienceError, match=r"source\.files: .* is too short \(The four standard files"):
        study(tmp_path, {"kind": "url", "files": mirror[:3]})
    with pytest.raises(ConsilienceError, match=r"source\.files\.0\.sha256: missing"):
        study(tmp_path, {"kind": "url", "files": [{"url": mirror[0]["url"]}, *mirror[1:]]})


def test_downloads_are_prepared_from_their_own_folders(tmp_path):
    folder = folder_of(tmp_path / "raw", example())
    files = []
    for path in sorted(folder.iterdir()):
        target = tmp_path / "downloads" / sha256(path)[:16] / path.name
        target.parent.mkdir(parents=True)
        files.append(path.rename(target))
    settings = study(tmp_path, {"kind": "url"}).preparation
    *_, facts, _ = made(files, tmp_path / "dataset.h5", settings)
    assert facts["source"] == "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"


def test_a_study_names_a_folder(tmp_path):
    folder = folder_of(tmp_path / "zalando", example())
    assert study(tmp_path, {"kind": "idx", "path": "zalando"}).raw == (str(folder),)
    with pytest.raises(ConsilienceError, match=r"source\.path: missing"):
        study(tmp_path, {"kind": "idx"})


def test_the_simulation_does_not_depend_on_other_keys(tmp_path):
    found = study(tmp_path, {"kind": "simulate"}, seed=3)
    assert set(found.simulation) == {"source", "seed"}
    own = yaml.safe_load((slices()["fashion"] / "schema.yaml").read_text())["sources"]["simulate"]["properties"]
    assert found.source == {"kind": "simulate", **{name: part["default"] for name, part in own.items()}}


def test_the_real_images_are_read_whole(shared_data, tmp_path):
    folder = shared_data / "fashion"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    inputs, target, _, samples, _, audit = made([folder], tmp_path / "dataset.h5")
    assert Counter(samples["official_role"]) == {"train": 10000, "test": 2000}
    assert samples["id"].iloc[[0, 9999, 10000, 11999]].tolist() == [
        *("train-00000", "train-09999", "test-00000", "test-01999")
    ]
    unpacked = gzip.decompress((folder / f"{PARTS[2]}-ubyte.gz").read_bytes())
    reference = np.frombuffer(unpacked, np.uint8, offset=16).reshape(-1, 28, 28)
    np.testing.assert_array_equal(np.rint(inputs[10000:] * 255), reference)
    counts = np.bincount(target[:10000])
    assert (len(counts), counts.min() > 900, counts.max() < 1100) == (10, True, True)
    assert (inputs.min(), inputs.max()) == (0, 1)
    assert 0.2 < samples["trivial_brightness"].mean() < 0.4
    assert audit["samples_after"].iloc[-1] == 12000
    roles = assign(samples, split_settings(), target)["role"].value_counts()
    assert roles["test"] == 2000
    assert 0.16 < roles["validation"] / 10000 < 0.19
