"""Makes the dataset of a fashion study from the four IDX files of Fashion-MNIST: a feature a pixel."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from consilience.audit import Audit
from consilience.dataset_writer import DatasetWriter, write_dataset
from consilience.domains.fashion.idx import CLASSES, PARTS, PREFIXES, SIDE, find, open_idx, pixel_names, read_labels
from consilience.errors import ConsilienceError
from consilience.files import sha256_of_all

BRANCH = "pixels"
UNIT = "brightness in [0, 1]"
MEMORY = 2**24

Files = dict[tuple[str, str], Path]


def prepare(raw: list[Path], settings: dict[str, Any], dataset: Path, seed: int, memory: int = MEMORY) -> pd.DataFrame:
    """Write `dataset` from the four files of `raw` (one folder, or the files in any order), and return the audit.

    Images are read once and written in blocks of about `memory` bytes; labels and the table of samples are held.
    Nothing here is random: `seed` is not used. Raises ConsilienceError.
    """
    del seed
    files = find(raw)
    _check_counts(files)
    labels = {role: read_labels(files[role, "labels"]) for role in PREFIXES}
    facts = {
        "unit": UNIT,
        "source": _source(raw, settings["source"]),
        "source_sha256": sha256_of_all(files[part] for part in PARTS),
    }
    with write_dataset(dataset, "classification", "garment", classes=list(CLASSES), **facts) as writer:
        writer.features(_features())
        writer.target(np.concatenate(list(labels.values())))
        samples = _append(writer, files, labels, memory)
        writer.samples(samples)
    return _audit(samples)


def _check_counts(files: Files) -> None:
    for role in PREFIXES:
        images, labels = files[role, "images"], files[role, "labels"]
        with open_idx(images, "images") as pictures, open_idx(labels, "labels") as names:
            if pictures.count != names.count:
                raise ConsilienceError(
                    f"{images}: {pictures.count} images, but {labels} has {names.count} labels; expected as many"
                )


def _source(raw: list[Path], source: dict[str, Any]) -> str:
    """Return where the files come from: the address or the name of their folder, or that they are simulated."""
    places = {"idx": lambda: raw[0].name, "url": lambda: source["files"][0]["url"].rpartition("/")[0]}
    return places.get(source["kind"], lambda: source["kind"])()


def _features() -> pd.DataFrame:
    rows, columns = np.indices((SIDE, SIDE))
    return pd.DataFrame(
        {"name": pixel_names().ravel(), "branch": BRANCH, "row": rows.ravel(), "column": columns.ravel()}
    )


def _append(writer: DatasetWriter, files: Files, labels: dict[str, np.ndarray], memory: int) -> pd.DataFrame:
    """Append all images, those of train first; returns the table of the samples."""
    total = sum(map(len, labels.values()))
    writer.branch(BRANCH, np.arange(SIDE**2).reshape(SIDE, SIDE), samples=total, scaling="none", reduce="mean")
    # Whole chunks of the dataset are compressed once; a part of one would be read, and compressed again.
    chunk = writer.file["inputs"][BRANCH].chunks[0]
    rows = max(1, memory // (4 * SIDE**2 * chunk)) * chunk
    tables = []
    for role in PREFIXES:
        with open_idx(files[role, "images"], "images") as reader:
            for block in reader.blocks(rows, first=rows - writer.written[BRANCH] % rows):
                pixels = block / np.float32(255)
                writer.append(BRANCH, pixels)
                tables.append(_samples(role, block, pixels))
    table = pd.concat(tables, ignore_index=True)
    position = table.groupby("official_role").cumcount()
    ids = [f"{role}-{place:05d}" for role, place in zip(table["official_role"], position, strict=True)]
    return table.assign(id=ids)[["id", "official_role", "image", "trivial_brightness"]]


def _samples(role: str, block: np.ndarray, pixels: np.ndarray) -> pd.DataFrame:
    digests = [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in block]
    brightness = pixels.mean(axis=(1, 2), dtype=np.float64)
    return pd.DataFrame({"official_role": role, "image": digests, "trivial_brightness": brightness})


def _audit(samples: pd.DataFrame) -> pd.DataFrame:
    images = {role: samples.loc[samples["official_role"] == role, "image"] for role in PREFIXES}
    note = ", ".join(f"{len(own)} {role} images" for role, own in images.items())
    audit = Audit(len(samples), SIDE**2, "IDX files", note)
    repeats = int(samples["image"].duplicated(keep=False).sum())
    shared = int(images["test"].isin(images["train"]).sum())
    note = f"identical images share a group; {shared} of {len(images['test'])} test images stand in train too"
    audit.detail("repeats", "same pixels as another image", repeats, len(samples), note)
    audit.step("dataset", f"written as {UNIT}")
    return audit.frame()
