"""The dataset holds what an independent, whole-matrix calculation gives; bad input ends in one line and no file."""

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

from consilience.dataset import Dataset
from consilience.domains.expression import compact, prepare
from consilience.domains.expression.archs4 import inspect
from consilience.domains.expression.normalization import UNITS, choose
from consilience.errors import ConsilienceError
from consilience.files import sha256
from tests.unit.expression_examples import ROOT, archive, damage, settings

GZIP = {"compression": "gzip"}
SYMBOLS = [*(f"G{index}" for index in range(20)), "G3", "G7", "G3", "NC1", "TGT", "NC2", "ZERO", "SAME"]
BIOTYPES = ["lncRNA" if symbol.startswith("NC") else "protein_coding" for symbol in SYMBOLS]
FIELDS = {
    "meta/genes/symbol": SYMBOLS,
    "meta/genes/biotype": BIOTYPES,
    "meta/samples/singlecellprobability": np.where(np.arange(30) % 5 == 4, 0.9, 0.2).astype(np.float32),
    "meta/samples/source_name_ch1": ["liver" if index % 7 == 3 else "monocytes" for index in range(30)],
}


def counts(dtype=np.uint32):
    random = np.random.default_rng(5)
    values = random.poisson(random.lognormal(4, 1, (len(SYMBOLS), 1)) * random.lognormal(0, 0.5, 30)).astype(dtype)
    values[SYMBOLS.index("ZERO")] = 0
    values[:, 8] = 0
    return values


def example(tmp_path, name="a.h5", values=None, **keys):
    keys = {"chunks": (10, 1), **GZIP, **keys}
    keys["fields"] = {**FIELDS, **keys.get("fields", {})}
    return archive(tmp_path / name, counts() if values is None else values, **keys)


def made(path, **keys):
    """Prepare, and return the dataset's inputs, target, features, samples and the audit."""
    output = path.with_name("out") / "dataset.h5"
    limits = {name: keys.pop(name) for name in ("processes", "memory") if name in keys}
    audit = prepare.prepare([path], settings(**keys), output, 0, **limits)
    assert [file.name for file in output.parent.iterdir()] == ["dataset.h5"]
    with Dataset.open(output) as data:
        facts = dict(data.file.attrs)
        return data.inputs("genes"), data.target, data.features, data.samples, audit, facts


def reference(values, per_million=True, weight=None):
    """The kept samples' log1p CPM by symbol, from the whole matrix."""
    kept = [index for index in range(30) if index % 5 != 4 and index % 7 != 3 and index != 8]
    table = pd.DataFrame(values[:, kept].astype(float) * (1 if weight is None else weight[:, None]))
    library = values[:, kept].sum(axis=0)
    if per_million:
        table = table / table.sum(axis=0) * 1e6
    coding = np.array(BIOTYPES) == "protein_coding"
    return np.log1p(table[coding].groupby(np.array(SYMBOLS)[coding]).sum()), library, kept


def test_a_dataset_is_what_the_whole_matrix_gives(tmp_path):
    path = example(tmp_path)
    inputs, target, features, samples, audit, facts = made(path)
    table, library, kept = reference(counts())
    assert features["name"].tolist() == [*(f"G{index}" for index in range(20)), "SAME"]
    assert set(features["branch"]) == {"genes"}
    np.testing.assert_allclose(inputs, table.loc[features["name"]].T, rtol=2e-6)
    np.testing.assert_allclose(target, table.loc["TGT"], rtol=1e-12)
    np.testing.assert_allclose(samples["trivial_library_size"], np.log(library))
    assert samples["id"].tolist() == [f"GSM{index}" for index in kept]
    assert list(samples) == ["id", "series_id", "title", "source_name_ch1", "trivial_library_size"]
    assert (facts["task"], facts["target"], facts["unit"]) == ("regression", "TGT", "log1p CPM")
    assert (facts["source"], facts["source_sha256"]) == ("a.h5", sha256(path))
    steps = audit[audit["step"] != "keyword"].set_index("step")
    assert steps["samples_after"].tolist() == [30, 24, 21, 21, 21, 21, 20, 20, 20]
    assert steps["features_after"].tolist() == [28, 28, 28, 26, 23, 22, 22, 21, 21]
    assert steps.loc["symbols", "note"] == "2 symbols had several rows"
    chained = steps[["samples_before", "features_before"]].to_numpy()[1:]
    np.testing.assert_array_equal(chained, steps[["samples_after", "features_after"]].to_numpy()[:-1])


@pytest.mark.parametrize(
    "keys",
    [
        {"memory": 300},
        {"memory": 300, "chunks": (4, 7)},
        {"processes": 2, "memory": 1000},
        {"processes": 3, "chunks": (4, 7)},
        {"transposed": True, "chunks": (2, 9)},
        {"chunks": None, "compression": None},
        {"values": counts(np.float64)},
        {"values": counts(np.int16)},
    ],
    ids=str,
)
def test_layout_memory_and_processes_change_nothing(tmp_path, monkeypatch, keys):
    expected = made(example(tmp_path))
    monkeypatch.setattr(compact, "SMALL", 0)
    limits = {name: keys[name] for name in ("processes", "memory") if name in keys}
    found = made(example(tmp_path, "b.h5", **{name: keys[name] for name in keys if name not in limits}), **limits)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    pd.testing.assert_frame_equal(found[3], expected[3])


def test_two_runs_write_the_same_bytes(tmp_path):
    path = example(tmp_path)
    made(path)
    first = (tmp_path / "out" / "dataset.h5").read_bytes()
    made(path)
    assert (tmp_path / "out" / "dataset.h5").read_bytes() == first


def test_a_target_of_another_biotype_counts_in_the_library_and_not_in_the_inputs(tmp_path):
    _, target, features, *_ = made(example(tmp_path), target="NC1")
    values = counts()
    _, library, kept = reference(values)
    np.testing.assert_allclose(target, np.log1p(values[SYMBOLS.index("NC1"), kept] / library * 1e6), rtol=1e-12)
    assert "TGT" in set(features["name"])
    assert "NC1" not in set(features["name"])


def test_counts_can_stay_as_they_are(tmp_path):
    inputs, _, features, _, _, facts = made(example(tmp_path), normalization="log1p_counts")
    table, *_ = reference(counts(), per_million=False)
    np.testing.assert_allclose(inputs, table.loc[features["name"]].T, rtol=1e-6)
    assert facts["unit"] == "log1p counts"


def test_counts_and_lengths_give_tpm(tmp_path):
    lengths = np.random.default_rng(6).integers(300, 9000, len(SYMBOLS))
    inputs, target, features, samples, _, facts = made(
        example(tmp_path, fields={"meta/genes/length": lengths}), normalization="log1p_tpm"
    )
    table, library, _ = reference(counts(), weight=1000 / lengths)
    np.testing.assert_allclose(inputs, table.loc[features["name"]].T, rtol=2e-6)
    np.testing.assert_allclose(target, table.loc["TGT"], rtol=1e-6)
    np.testing.assert_allclose(samples["trivial_library_size"], np.log(library))
    assert facts["unit"] == "log1p TPM"


def test_tpm_of_transcripts_is_summed_to_genes(tmp_path):
    values = np.random.default_rng(7).gamma(0.5, 100, (8, 6)).astype(np.float32)
    values *= 1e6 / values.sum(axis=0)
    fields = {
        "meta/transcripts/symbol": ["A", "A", "TGT", "B", "TGT", "A", "B", "C"],
        "meta/transcripts/ensembl_gene": ["EA", "EA", "ET", "EB", "ET", "EA", "EB", "EC"],
        "meta/transcripts/biotype": ["protein_coding"] * 7 + ["lncRNA"],
    }
    path = archive(tmp_path / "t.h5", values, fields=fields, level="transcripts", chunks=(3, 2), **GZIP)
    inputs, target, features, *_ = made(path, normalization="log1p_tpm")
    assert features["name"].tolist() == ["A", "B"]
    assert features["ensembl_gene"].tolist() == ["EA", "EB"]
    expected = np.log1p([values[[0, 1, 5]].sum(axis=0), values[[3, 6]].sum(axis=0)])
    np.testing.assert_allclose(inputs.T, expected, rtol=1e-6)
    np.testing.assert_allclose(target, np.log1p(values[[2, 4]].sum(axis=0)), rtol=1e-6)
    with pytest.raises(ConsilienceError, match=r"t\.h5: holds TPM .*set normalization: log1p_tpm"):
        made(path, normalization="log1p_cpm")


@pytest.mark.parametrize(
    ("file", "taken", "unit"),
    [
        ({}, "log1p_cpm", "log1p CPM"),
        ({"fields": {"meta/genes/length": np.arange(300, 300 + len(SYMBOLS))}}, "log1p_tpm", "log1p TPM"),
    ],
    ids=["counts", "lengths"],
)
def test_what_auto_takes_of_counts_is_told(tmp_path, file, taken, unit):
    path = example(tmp_path, **file)
    inputs, target, *_, audit, facts = made(path, normalization="auto")
    assert (facts["unit"], audit.iloc[-1]["rule"]) == (unit, f"written in {unit}")
    forced = made(path, normalization=taken)
    np.testing.assert_array_equal(inputs, forced[0])
    np.testing.assert_array_equal(target, forced[1])
    other = {"log1p_cpm": "log1p_counts", "log1p_tpm": "log1p_cpm"}[taken]
    assert made(path, normalization=other)[5]["unit"] != unit


def test_auto_takes_tpm_as_it_is(tmp_path):
    values = np.random.default_rng(9).gamma(0.5, 100, (6, 4)).astype(np.float32)
    fields = {"meta/transcripts/length": np.arange(300, 306)}
    found = choose("auto", inspect(archive(tmp_path / "t.h5", values, fields=fields, level="transcripts")))
    assert (found.name, found.row_scale, found.divisor) == ("log1p_tpm", None, None)
    with pytest.raises(ConsilienceError, match=r"'log2'; expected one of auto, log1p_cpm, log1p_tpm, log1p_counts"):
        choose("log2", inspect(example(tmp_path)))


def test_auto_is_the_default():
    schema = yaml.safe_load((ROOT / "workflow/consilience/domains/expression/schema.yaml").read_text())
    offered = schema["properties"]["normalization"]
    assert (offered["default"], offered["enum"]) == ("auto", ["auto", *UNITS])


def test_lengths_must_be_there_and_positive(tmp_path):
    path = example(tmp_path)
    with pytest.raises(
        ConsilienceError, match=r"needs a transcript-TPM file or the field meta/genes/length .* has biot"
    ):
        choose("log1p_tpm", inspect(path))
    lengths = np.full(len(SYMBOLS), 500.0)
    lengths[4] = 0
    with pytest.raises(ConsilienceError, match=r"meta/genes/length of G4 \(row 4\) is 0; expected a positive"):
        choose("log1p_tpm", inspect(example(tmp_path, fields={"meta/genes/length": lengths})))


def test_rows_of_one_column_are_summed_as_pandas_sums_them():
    random = np.random.default_rng(8)
    block, columns = random.integers(0, 99, (5, 40)), random.integers(0, 9, 40)
    scale = random.random(40)
    expected = pd.DataFrame((block * scale).T).groupby(columns).sum().reindex(range(12), fill_value=0).T
    np.testing.assert_allclose(compact.collapse(block, columns, 12, scale), expected, rtol=1e-5)


def test_constant_genes_are_kept_and_told(tmp_path):
    values = counts()
    values[SYMBOLS.index("SAME")] = 9
    values[:, 8] = 0
    _, _, features, _, audit, _ = made(example(tmp_path, values=values), normalization="log1p_counts")
    assert "SAME" in set(features["name"])
    assert audit.iloc[-1]["note"].startswith("1 genes have one value in all samples")


def one(value, row=6, sample=12, dtype=np.float64):
    values = counts(dtype)
    values[row, sample] = value
    return {"values": values}


BAD = {
    "absent target": ({}, {"target": "TTG"}, r"no gene 'TTG' among 28 genes; nearest: TGT"),
    "target twice": ({}, {"target": "G3"}, r"'G3' names 3 genes \(rows 3, 20, 22\)"),
    "constant target": ({}, {"target": "ZERO"}, r"ZERO is 0 log1p CPM in all 20 samples"),
    "no series": ({"fields": {"meta/samples/series_id": None}}, {}, r"no field meta/samples/series_id; .* has charact"),
    "no biotype": (
        {"fields": {"meta/genes/biotype": None}},
        {},
        r"no field meta/genes/biotype.* has ensembl_gene, sym",
    ),
    "no title": ({"fields": {"meta/samples/title": None}}, {}, r"no field meta/samples/title"),
    "lengths": ({"fields": {"meta/genes/symbol": SYMBOLS[:-1]}}, {}, r"is 28 x 30, but meta/genes lists 27 genes"),
    "id twice": (
        {"fields": {"meta/samples/geo_accession": [f"GSM{index % 29}" for index in range(30)]}},
        {"max_single_cell_probability": None},
        r"geo_accession: 'GSM0' repeats \(samples 0, 29\)",
    ),
    "NaN": (one(np.nan), {}, r"sample GSM12, gene G6 \(row 6, sample 12\) is nan; expected a count"),
    "negative": (one(-3, dtype=np.int32), {}, r"sample GSM12, gene G6 \(row 6, sample 12\) is -3; expected a count"),
    "no whole number": (one(1.5), {}, r"gene G6 \(row 6, sample 12\) is 1.5; expected a count, a whole number"),
    "bad in an unused gene": (one(np.inf, row=23), {}, r"gene NC1 \(row 23, sample 12\) is inf"),
    "no sample": ({"fields": {"meta/samples/source_name_ch1": ["liver"] * 30}}, {}, r"no sample is left .* keywords"),
    "empty": ({"values": np.zeros((28, 30), np.uint32)}, {}, r"no sample is left after the filter library"),
}


@pytest.mark.parametrize(("file", "changes", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, file, changes, message):
    path = example(tmp_path, **file)
    with pytest.raises(ConsilienceError, match=rf"a\.h5: .*{message}") as caught:
        prepare.prepare([path], settings(**changes), tmp_path / "dataset.h5", 0)
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]


def test_a_bad_value_in_a_sample_that_is_filtered_out_does_not_matter(tmp_path):
    made(example(tmp_path, **one(np.nan, sample=4)))


@pytest.mark.parametrize("harm", [{"offset": (10, 12)}, {"keep": 0.7}], ids=["chunk", "truncated"])
def test_damaged_files_are_one_line_and_leave_nothing(tmp_path, harm):
    path = damage(example(tmp_path), **harm)
    message = (
        r"a\.h5: data/expression: the chunk at row 10, sample 12" if "offset" in harm else r"a\.h5: damaged or trun"
    )
    with pytest.raises(ConsilienceError, match=message):
        prepare.prepare([path], settings(), tmp_path / "dataset.h5", 0)
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5"]


def test_damaged_metadata_is_told(tmp_path):
    path = example(tmp_path)
    with h5py.File(path, "a") as file:
        title = file["meta/samples/title"][...]
        del file["meta/samples/title"]
        file.create_dataset("meta/samples/title", data=title, chunks=(30,), **GZIP)
        info = file["meta/samples/title"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[info.byte_offset + 12 : info.byte_offset + 30] = bytes(18)
    path.write_bytes(content)
    with pytest.raises(ConsilienceError, match=r"a\.h5: meta/samples/title cannot be read: damaged"):
        prepare.prepare([path], settings(), tmp_path / "dataset.h5", 0)


def test_the_real_file_keeps_its_hundred_bulk_samples(shared_data, tmp_path):
    path = shared_data / "expression" / "aml100_archs4.h5"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    audit = prepare.prepare([path], settings(target="IRF2BP2"), tmp_path / "dataset.h5", 0)
    steps = audit[audit["step"] != "keyword"].set_index("step")["samples_after"]
    assert (steps.iloc[0], steps["single cells"], steps["keywords"]) == (371, 100, 100)
    with Dataset.open(tmp_path / "dataset.h5") as data, h5py.File(path) as file:
        assert len(data) == 100
        gene = data.features.index[data.features["name"] == "CD14"][0]
        row = list(file["meta/genes/symbol"].asstr()).index("CD14")
        matrix = file["data/expression"][:, :100].astype(float)
        np.testing.assert_allclose(
            data.inputs("genes")[:, gene], np.log1p(matrix[row] / matrix.sum(axis=0) * 1e6), rtol=1e-6
        )
