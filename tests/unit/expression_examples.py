"""Small ARCHS4 files and study settings for the tests of the expression slice."""

from copy import deepcopy
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).parents[2]
MYELOID = ROOT / "resources" / "keywords" / "myeloid.txt"
SETTINGS = {
    "source": {"kind": "archs4", "path": "file.h5"},
    "target": "TGT",
    "filter": {
        "max_single_cell_probability": 0.5,
        "keywords": str(MYELOID),
        "metadata_fields": ["source_name_ch1", "title", "characteristics_ch1"],
        "biotype": "protein_coding",
    },
    "normalization": "log1p_cpm",
}
SIMULATION = {
    "kind": "simulate",
    "samples": 60,
    "genes": 100,
    "drivers": 10,
    "threshold_share": 0.2,
    "interaction_share": 0.2,
    "explained": 0.75,
    "module_correlation": 0.75,
    "series": 15,
    "series_share": 0.15,
    "dispersion": 0.03,
    "library_spread": 0.4,
}


def settings(**changes):
    """The settings above with changes, those of the filter by their own names."""
    result = deepcopy(SETTINGS)
    for key, value in changes.items():
        (result["filter"] if key in result["filter"] else result)[key] = value
    return result


def archive(path, values=None, fields=None, level="genes", transposed=False, **storage):
    """Write an ARCHS4 file of `values` (rows, samples); `fields` replaces metadata fields, None leaves one out."""
    if values is None:
        values = np.random.default_rng(0).poisson(20, (12, 9)).astype(np.uint32)
    rows, samples = values.shape
    symbols = [f"G{index}" for index in range(rows - 1)] + ["TGT"]
    content = {
        f"meta/{level}/symbol": symbols,
        f"meta/{level}/biotype": ["protein_coding"] * rows,
        f"meta/{level}/ensembl_gene": [f"ENSG{index:05d}" for index in range(rows)],
        "meta/samples/geo_accession": [f"GSM{index}" for index in range(samples)],
        "meta/samples/series_id": [f"GSE{index // 3}" for index in range(samples)],
        "meta/samples/title": [f"sample {index}" for index in range(samples)],
        "meta/samples/source_name_ch1": ["THP-1 cells"] * samples,
        "meta/samples/characteristics_ch1": ["tissue: blood"] * samples,
        "meta/samples/singlecellprobability": np.full(samples, 0.1, np.float32),
        **(fields or {}),
    }
    with h5py.File(path, "w") as file:
        file.create_dataset("data/expression", data=values.T if transposed else values, **storage)
        for name, column in content.items():
            if column is None:
                continue
            numeric = np.asarray(column).dtype.kind in "iuf"
            file.create_dataset(name, data=column if numeric else np.asarray(column, dtype="S"))
    return path


def damage(path, offset=(0, 0), keep=None):
    """Overwrite a byte in the middle of a stored chunk, or cut the file after a share `keep` of it."""
    content = bytearray(path.read_bytes())
    if keep is None:
        with h5py.File(path) as file:
            info = file["data/expression"].id.get_chunk_info_by_coord(offset)
        for place in range(info.byte_offset, info.byte_offset + info.size):
            content[place] ^= 0xA5
    else:
        content = content[: int(len(content) * keep)]
    path.write_bytes(content)
    return path
