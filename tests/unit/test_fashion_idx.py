"""IDX is read as NumPy reads its bytes, in blocks, gzipped or plain; every fault is one line with the file."""

import gzip
import tracemalloc

import numpy as np
import pytest

from consilience.domains.fashion.idx import CLASSES, PARTS, find, open_idx, pixel_names, read_labels
from consilience.errors import ConsilienceError

NAMES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


def header(*numbers):
    return b"".join(number.to_bytes(4, "big") for number in numbers)


IMAGES = np.random.default_rng(0).integers(0, 256, (25, 28, 28), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 10, 25, dtype=np.uint8)
IMAGE_BYTES = header(2051, 25, 28, 28) + IMAGES.tobytes()
LABEL_BYTES = header(2049, 25) + LABELS.tobytes()


def written(path, content):
    path.write_bytes(content)
    return path


def read(path, content="images", rows=10, first=None):
    with open_idx(path, content) as reader:
        return list(reader.blocks(rows, first))


def test_images_and_labels_are_what_numpy_reads(tmp_path):
    path = written(tmp_path / "images.gz", gzip.compress(IMAGE_BYTES))
    unpacked = gzip.decompress(path.read_bytes())
    reference = np.frombuffer(unpacked, np.uint8, offset=16).reshape(np.frombuffer(unpacked, ">u4", 3, 4))
    found = np.concatenate(read(path))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, reference)
    np.testing.assert_array_equal(read_labels(written(tmp_path / "labels", LABEL_BYTES)), LABELS)


@pytest.mark.parametrize(
    ("rows", "first", "sizes"),
    [(1, None, [1] * 25), (7, None, [7, 7, 7, 4]), (25, None, [25]), (99, None, [25]), (10, 3, [3, 10, 10, 2])],
)
def test_block_size_changes_nothing(tmp_path, rows, first, sizes):
    for content in (IMAGE_BYTES, gzip.compress(IMAGE_BYTES)):
        blocks = read(written(tmp_path / "file", content), rows=rows, first=first)
        assert [len(block) for block in blocks] == sizes
        np.testing.assert_array_equal(np.concatenate(blocks), IMAGES)


def test_gzip_is_told_by_content_not_by_name(tmp_path):
    plain = written(tmp_path / "plain.gz", IMAGE_BYTES)
    packed = written(tmp_path / "packed", gzip.compress(IMAGE_BYTES))
    members = written(tmp_path / "members", gzip.compress(IMAGE_BYTES[:999]) + gzip.compress(IMAGE_BYTES[999:]))
    for path in (plain, packed, members):
        np.testing.assert_array_equal(np.concatenate(read(path)), IMAGES)


@pytest.mark.parametrize("packed", [False, True])
def test_memory_is_that_of_a_block(tmp_path, packed):
    content = header(2051, 20000, 28, 28) + bytes(20000 * 784)
    path = written(tmp_path / "file", gzip.compress(content) if packed else content)
    del content
    tracemalloc.start()
    with open_idx(path, "images") as reader:
        assert sum(len(block) for block in reader.blocks(100)) == 20000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_count_that_is_announced_is_not_allocated(tmp_path):
    path = written(tmp_path / "file", header(2049, 2**32 - 1) + bytes(9))
    with pytest.raises(ConsilienceError, match=r"announces 4294967295 labels \(4294967295 bytes\), but 9 bytes"):
        read_labels(path)


def broken(content, place):
    content = bytearray(content)
    content[place] ^= 0xFF
    return bytes(content)


BAD = {
    "labels for images": (LABEL_BYTES, r"magic number 0x00000801 \(2049, labels\); expected 0x00000803 \(2051, images"),
    "a page": (b"<!DOCTYPE html>", r"magic number 0x3c21444f \(1008813135\); expected 0x00000803 \(2051, images\)"),
    "other endianness": (header(0x03080000, 25, 28, 28), r"magic number 0x03080000 .*; expected 0x00000803"),
    "empty": (b"", r"the file is empty; expected images in IDX"),
    "empty gzip": (gzip.compress(b""), r"the file is empty; expected images in IDX"),
    "none": (header(2051, 0, 28, 28), r"the header announces 0 images; expected one at least"),
    "part of the magic number": (IMAGE_BYTES[:3], r"truncated; the header of images has 3 bytes, expected 16"),
    "part of the header": (IMAGE_BYTES[:13], r"truncated; the header of images has 13 bytes, expected 16"),
    "header only": (IMAGE_BYTES[:16], r"truncated; the header announces 25 images \(19600 bytes\), but 0 bytes follow"),
    "size": (header(2051, 2, 32, 20) + bytes(1280), r"images of 32 x 20; expected 28 x 28"),
    "plain is short": (
        IMAGE_BYTES[:-1],
        r"truncated; the header announces 25 images \(19600 bytes\), but 19599 bytes f",
    ),
    "short within gzip": (
        gzip.compress(IMAGE_BYTES[:-800]),
        r"truncated; the header announces 25 images \(19600 bytes\), but 18800 bytes f",
    ),
    "trailing": (IMAGE_BYTES + b"\0", r"trailing bytes; expected the end of the file after the 25 images"),
    "trailing within gzip": (gzip.compress(IMAGE_BYTES + b"\0"), r"trailing bytes; expected the end of the file"),
    "gzip is short": (gzip.compress(IMAGE_BYTES)[:-900], r"truncated gzip; .* expected a whole file"),
    "gzip without its end": (gzip.compress(IMAGE_BYTES)[:-8], r"truncated gzip; .* expected a whole file"),
    "start of a gzip": (gzip.compress(IMAGE_BYTES)[:6], r"truncated gzip; .* expected a whole file"),
    "gzip checksum": (broken(gzip.compress(IMAGE_BYTES), -6), r"not a readable gzip file \(CRC check failed"),
    "gzip method": (broken(gzip.compress(IMAGE_BYTES), 2), r"not a readable gzip file \(Unknown compression method"),
    "gzip block": (gzip.compress(IMAGE_BYTES)[:10] + b"\xff" * 99, r"not a readable gzip file \(.*invalid block type"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_one_line(tmp_path, content, message):
    path = written(tmp_path / "train-images", content)
    with pytest.raises(ConsilienceError, match=rf"train-images: {message}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_label_that_is_no_class_is_told_with_its_row(tmp_path):
    content = bytearray(LABEL_BYTES)
    content[8 + 17] = 10
    with pytest.raises(ConsilienceError, match=r"labels: row 17 \(counted from 0\) is label 10; expected 0 to 9$"):
        read_labels(written(tmp_path / "labels", content))


def test_a_file_that_cannot_be_opened_is_told(tmp_path):
    with pytest.raises(ConsilienceError, match=r"absent: cannot be read \(No such file or directory\)"):
        read(tmp_path / "absent")


@pytest.fixture
def folder(tmp_path):
    for (role, content), name in NAMES.items():
        written(tmp_path / name, f"{role} {content}".encode())
    written(tmp_path / "README.md", b"")
    return tmp_path


def test_standard_files_are_found_whatever_their_spelling_and_order(folder):
    (folder / "train-images-idx3-ubyte").rename(folder / "train-images.idx3-ubyte")
    (folder / "t10k-labels-idx1-ubyte").rename(folder / "t10k-labels.idx1-ubyte.gz")
    (folder / "t10k-images-idx3-ubyte").rename(folder / "t10k-images-idx3-ubyte.gz")
    found = find([folder])
    assert tuple(found) == PARTS
    assert [path.read_text() for path in found.values()] == [" ".join(part) for part in PARTS]
    files = [path for path in folder.iterdir() if "ubyte" in path.name]
    assert find(sorted(files)) == find(sorted(files, reverse=True)) == found


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_an_absent_file_is_named_with_what_is_accepted(folder, part):
    (folder / NAMES[part]).unlink()
    official, dotted = NAMES[part], NAMES[part].replace("-idx", ".idx")
    expected = f"{folder}: no file with the {' '.join(part)}; expected {official} or {dotted}, plain or gzipped (.gz)"
    with pytest.raises(ConsilienceError) as caught:
        find([folder])
    assert str(caught.value) == expected
    with pytest.raises(ConsilienceError, match=rf"-ubyte, .*: no file with the {' '.join(part)}"):
        find([folder / name for other, name in NAMES.items() if other != part])


@pytest.mark.parametrize("other", ["train-labels-idx1-ubyte.gz", "train-labels.idx1-ubyte"])
def test_two_files_for_one_part_are_refused(folder, other):
    written(folder / other, b"")
    with pytest.raises(ConsilienceError, match=r": train-labels.* and train-labels.* both hold the train labels; exp"):
        find([folder])


def test_a_file_is_no_folder(folder):
    with pytest.raises(ConsilienceError, match=r"README\.md: not a folder; expected a folder with the four files"):
        find([folder / "README.md"])
    (folder / NAMES["test", "images"]).unlink()
    (folder / NAMES["test", "images"]).mkdir()
    with pytest.raises(ConsilienceError, match="no file with the test images"):
        find([folder])


def test_pixels_and_classes_have_their_names():
    names = pixel_names()
    assert (names.shape, len(set(names.ravel()))) == ((28, 28), 784)
    assert (names[5, 12], names[0, 27]) == ("r05c12", "r00c27")
    assert (len(CLASSES), CLASSES[0], CLASSES[5], CLASSES[9]) == (10, "T-shirt/top", "Sandal", "Ankle boot")
