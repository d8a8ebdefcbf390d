"""An ARCHS4 file is read the same whatever its layout, in bounded memory, and never wrongly in silence."""

import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from consilience.domains.expression import chunks
from consilience.domains.expression.archs4 import inspect
from consilience.errors import ConsilienceError
from tests.unit.expression_examples import archive, damage

GZIP = {"compression": "gzip"}
STORAGES = {
    "as ARCHS4": {"chunks": (8, 1), **GZIP},
    "several samples a chunk": {"chunks": (5, 4), **GZIP},
    "one chunk": {"chunks": (12, 9), **GZIP},
    "shuffled": {"chunks": (5, 4), "shuffle": True, **GZIP},
    "shuffled only": {"chunks": (5, 4), "shuffle": True},
    "chunked only": {"chunks": (5, 4)},
    "lzf": {"chunks": (5, 4), "compression": "lzf"},
    "checksummed": {"chunks": (5, 4), "fletcher32": True, **GZIP},
    "contiguous": {},
}


def counts(rows=12, samples=9, dtype=np.uint32):
    return np.random.default_rng(3).poisson(30, (rows, samples)).astype(dtype)


def read(path, samples, rows, **keys):
    return chunks.read(chunks.Request(inspect(path).layout, np.array(samples), np.array(rows), **keys))


@pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint32, ">i4", np.float32])
def test_every_layout_reads_the_same(tmp_path, storage, transposed, dtype):
    values = counts(dtype=dtype)
    if transposed and "chunks" in storage:
        storage = {**storage, "chunks": storage["chunks"][::-1]}
    path = archive(tmp_path / "a.h5", values, transposed=transposed, **storage)
    layout = inspect(path).layout
    assert (layout.sample_axis, layout.rows, layout.samples) == (0 if transposed else 1, 12, 9)
    weights = np.random.default_rng(4).random((12, 2))
    block, sums = read(path, [0, 2, 3, 7, 8], [1, 2, 6, 11], weights=weights)
    np.testing.assert_array_equal(block, values[np.ix_([1, 2, 6, 11], [0, 2, 3, 7, 8])].T)
    np.testing.assert_allclose(sums, values[:, [0, 2, 3, 7, 8]].T.astype(float) @ weights)


def test_which_layouts_are_decoded_without_hdf5(tmp_path):
    filters = {}
    for name, storage in STORAGES.items():
        filters[name] = inspect(archive(tmp_path / "a.h5", **storage)).layout.filters
    assert {name for name, used in filters.items() if used is None} == {"lzf", "checksummed", "contiguous"}
    assert filters["shuffled"] == (chunks.SHUFFLE, chunks.DEFLATE)


@hypothesis_settings(derandomize=True, deadline=None, max_examples=25)
@given(
    shape=st.tuples(st.integers(2, 15), st.integers(1, 15)),
    chunk=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    memory=st.integers(1, 400),
    processes=st.integers(1, 3),
    data=st.data(),
)
def test_blocks_join_to_the_whole_and_keep_to_the_memory(tmp_path_factory, shape, chunk, memory, processes, data):
    values = counts(*shape)
    path = archive(
        tmp_path_factory.mktemp("blocks") / "a.h5", values, chunks=tuple(np.minimum(chunk, shape).tolist()), **GZIP
    )
    samples = np.array(sorted(data.draw(st.sets(st.integers(0, shape[1] - 1), min_size=1))))
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, shape[0] - 1), min_size=1))))
    layout = inspect(path).layout
    parts = list(chunks.blocks(layout, samples, 4 * len(rows), memory))
    assert all((part.stop - part.start) * 4 * len(rows) <= max(memory, 4 * len(rows)) for part in parts)
    request = [chunks.Request(layout, samples[part], rows) for part in parts]
    joined = np.concatenate([chunks.read(each, processes)[0] for each in request])
    np.testing.assert_array_equal(joined, values[np.ix_(rows, samples)].T)


def test_blocks_cut_between_chunks_where_memory_allows():
    layout = chunks.Layout(None, 10, 40, 1, np.dtype(np.uint32), (10, 4), ())
    samples = np.array([0, 1, 2, 5, 6, 8, 9, 10, 11, 12])
    parts = [samples[part].tolist() for part in chunks.blocks(layout, samples, 40, 240)]
    assert parts == [[0, 1, 2, 5, 6], [8, 9, 10, 11, 12]]
    assert [len(part) for part in ([samples[p] for p in chunks.blocks(layout, samples, 40, 80)])] == [2, 1, 2, 2, 2, 1]


def test_a_chunk_never_stored_is_the_fill_value(tmp_path):
    path = archive(tmp_path / "a.h5", counts(), chunks=(5, 4), **GZIP)
    with h5py.File(path, "a") as file:
        del file["data/expression"]
        stored = file.create_dataset("data/expression", (12, 9), "u4", chunks=(5, 4), fillvalue=3, **GZIP)
        stored[:5, 4:8] = 8
        expected = stored[...]
    np.testing.assert_array_equal(read(path, range(9), range(12))[0], expected.T)


@pytest.mark.parametrize("storage", ["as ARCHS4", "shuffled", "checksummed"])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_damaged_chunk_is_an_error_that_names_it(tmp_path, storage, processes):
    path = archive(tmp_path / "a.h5", counts(), **STORAGES[storage])
    width = STORAGES[storage]["chunks"]
    path = damage(path, offset=(width[0], 4))
    request = chunks.Request(inspect(path).layout, np.arange(9), np.arange(12))
    with pytest.raises(ConsilienceError, match=rf"a\.h5.*chunk at row {width[0]}, sample 4 cannot be decoded"):
        chunks.read(request, processes)


def test_a_chunk_of_the_wrong_size_is_an_error(tmp_path):
    path = archive(tmp_path / "a.h5", counts(), chunks=(5, 4), **GZIP)
    with h5py.File(path, "a") as file:
        file["data/expression"].id.write_direct_chunk((5, 4), zlib.compress(bytes(12)))
    with pytest.raises(ConsilienceError, match=r"row 5, sample 4 cannot be decoded \(12 bytes; expected 80\)"):
        read(path, range(9), range(12))


def test_chunks_whose_filters_were_skipped_are_read(tmp_path):
    values = counts()
    path = archive(tmp_path / "a.h5", values, chunks=(12, 9), shuffle=True, **GZIP)
    with h5py.File(path, "a") as file:
        file["data/expression"].id.write_direct_chunk((0, 0), values.tobytes(), filter_mask=0b11)
    np.testing.assert_array_equal(read(path, range(9), range(12))[0], values.T)


@pytest.mark.parametrize(
    ("dtype", "bad", "whole", "fails"),
    [
        (np.int32, -1, False, True),
        (np.float32, np.nan, False, True),
        (np.float32, np.inf, False, True),
        (np.float64, -0.5, False, True),
        (np.float64, 2.5, False, False),
        (np.float64, 2.5, True, True),
    ],
)
def test_values_no_expression_can_have_are_found_in_any_chosen_sample(tmp_path, dtype, bad, whole, fails):
    values = counts(dtype=dtype)
    values[6, 4] = bad
    path = archive(tmp_path / "a.h5", values, chunks=(5, 4), **GZIP)
    read(path, [3, 5], [0], weights=np.ones((12, 1)), whole=whole)
    if not fails:
        assert read(path, [3, 4], [6], whole=whole)[0][1, 0] == bad
        return
    with pytest.raises(chunks.BadValueError) as caught:
        read(path, [3, 4], [0], weights=np.ones((12, 1)), whole=whole)
    assert caught.value.args[:2] == (6, 4)
    np.testing.assert_equal(caught.value.args[2], float(bad))


def test_the_orientation_follows_from_the_metadata(tmp_path):
    assert inspect(archive(tmp_path / "a.h5")).orientation == "genes x samples"
    assert inspect(archive(tmp_path / "a.h5", transposed=True)).orientation == "samples x genes"
    square = inspect(archive(tmp_path / "a.h5", counts(9, 9)))
    assert (square.ambiguous, square.orientation) == (True, "genes x samples")


def test_transcripts_of_fractions_are_tpm(tmp_path):
    for dtype, tpm in ((np.float32, True), (np.uint32, False)):
        found = inspect(archive(tmp_path / "a.h5", counts(dtype=dtype), level="transcripts"))
        assert (found.level, found.tpm) == ("transcripts", tpm)
    assert not inspect(archive(tmp_path / "a.h5", counts(dtype=np.float32))).tpm


def test_metadata_is_read_in_order_and_for_the_samples_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("consilience.domains.expression.archs4.BLOCK", 4)
    found = inspect(archive(tmp_path / "a.h5", fields={"meta/genes/gene_symbol": None}))
    assert found.rows["symbol"].tolist() == [*(f"G{index}" for index in range(11)), "TGT"]
    assert found.field("geo_accession", np.array([1, 5, 8])).tolist() == ["GSM1", "GSM5", "GSM8"]
    assert len(found.field("title")) == 9


def test_names_of_older_releases_are_known(tmp_path):
    renamed = {"meta/genes/symbol": None, "meta/genes/gene_symbol": [f"G{i}" for i in range(12)]}
    assert inspect(archive(tmp_path / "a.h5", fields=renamed)).rows["symbol"][3] == "G3"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"meta/samples/geo_accession": None}, "no field meta/samples/geo_accession; meta/samples has characteristics"),
        ({"meta/genes/symbol": None}, "no field meta/genes/symbol; meta/genes has biotype, ensembl_gene"),
        ({"meta/genes/biotype": ["protein_coding"] * 11}, r"meta/genes/biotype has shape \(11,\); expected 12 entries"),
        (
            {"meta/samples/geo_accession": [f"GSM{i}" for i in range(8)]},
            "data/expression is 12 x 9, but meta/genes lists 12 genes and meta/samples 8 samples",
        ),
        ({"meta/genes/symbol": list(range(12))}, "meta/genes/symbol is int64; expected text"),
        ({"meta/genes/symbol": [b"G\xff"] * 12}, "is not UTF-8"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(tmp_path, fields, message):
    with pytest.raises(ConsilienceError, match=message):
        inspect(archive(tmp_path / "a.h5", fields=fields))


def test_files_that_are_no_archs4_file_are_refused(tmp_path):
    path = tmp_path / "a.h5"
    with pytest.raises(ConsilienceError, match=r"a\.h5: no such file"):
        inspect(path)
    path.write_text("gene,sample\n")
    with pytest.raises(ConsilienceError, match=r"a\.h5: not an HDF5 file"):
        inspect(path)
    with pytest.raises(ConsilienceError, match=r"a\.h5: damaged or truncated HDF5 file"):
        inspect(damage(archive(path), keep=0.6))
    with h5py.File(path, "w") as file:
        file["meta/genes/symbol"] = np.array(["A"], dtype="S")
    with pytest.raises(ConsilienceError, match=r"no matrix data/expression; it has meta/genes"):
        inspect(path)
    with h5py.File(path, "w") as file:
        file["data/expression"] = np.zeros((2, 2), np.uint32)
        file["meta/samples/geo_accession"] = np.array(["A", "B"], dtype="S")
    with pytest.raises(ConsilienceError, match="neither a group meta/genes nor meta/transcripts"):
        inspect(path)
