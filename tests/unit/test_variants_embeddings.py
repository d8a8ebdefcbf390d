"""Embeddings made elsewhere become a dataset, the same from every kind of file; code in a file is refused, not run."""

import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from consilience.dataset import Dataset
from consilience.domains.variants.calls import NO_SIZE
from consilience.domains.variants.prepare import prepare
from consilience.errors import ConsilienceError
from consilience.files import sha256

KEYS = ("truvari_class", "svtype", "svlen", "chrom", "pos", "dataset")
ROWS = [
    ("TP", "DEL", -120, "chr1", 100, "one"),
    ("tp_comp_vcf", "INS", 80, "chr2", 200, "one"),
    ("FP", "BND", None, "chr1", 300, "one"),
    ("FN", "DEL", -90, "chr3", 400, "one"),
    ("fp_vcf", "DUP:TANDEM", 500, "chrX", 500, "one"),
    ("tp", "DEL", -70, "chr4", 600, "one"),
    ("FP", "DEL", 121, "chr1", 100, "one"),
    ("TP", "INV", None, "chr5", 700, "one"),
]
KEPT = [0, 1, 2, 4, 6, 7]
LEFT = {"FN": 1, "tp": 1, "TP": 2, "tp_comp_vcf": 1, "FP": 2, "fp_vcf": 1}


def values_of(rows=ROWS, dimensions=5):
    return np.random.default_rng(3).normal(size=(len(rows), dimensions)).astype(np.float32)


def content_of(rows=ROWS, values=None):
    """What torch.save writes."""
    infos = [dict(zip(KEYS, row, strict=True)) for row in rows]
    return {"embeddings": torch.from_numpy(values_of(rows) if values is None else values), "sv_info": infos}


def arrays_of(rows=ROWS, values=None):
    """The same as arrays; a size that is None is NaN."""
    columns = dict(zip(KEYS, zip(*rows, strict=True), strict=True))
    columns["svlen"] = [np.nan if size is None else size for size in columns["svlen"]]
    return {"embeddings": values_of(rows) if values is None else values} | {
        name: np.asarray(column) for name, column in columns.items()
    }


def write(path, rows=ROWS, values=None, **changes):
    """Write a file of the kind its suffix names; `changes` replace parts, or leave them out where None."""
    parts = (content_of if path.suffix == ".pt" else arrays_of)(rows, values) | changes
    parts = {name: part for name, part in parts.items() if part is not None}
    if path.suffix == ".pt":
        torch.save(parts, path)
    elif path.suffix == ".npz":
        np.savez(path, **parts)
    else:
        with h5py.File(path, "w") as file:
            for name, part in parts.items():
                text = part.dtype.kind == "U"
                file.create_dataset(
                    name, data=part.astype(object) if text else part, dtype=h5py.string_dtype() if text else None
                )
    return path


def made(path, output=None, **keys):
    output = output or path.with_name("dataset.h5")
    audit = prepare([path], {"source": {"kind": "embeddings", "path": str(path)}}, output, 0, **keys)
    with Dataset.open(output) as data:
        assert list(data.branches) == ["embedding"]
        assert data.mask("embedding") is None
        return data.inputs("embedding"), data.target, data.samples, data.features, dict(data.file.attrs), audit


def refused(path, message):
    with pytest.raises(ConsilienceError, match=message) as caught:
        made(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert not path.with_name("dataset.h5").exists()


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".h5"])
def test_a_dataset_holds_the_calls_that_are_true_or_false(tmp_path, suffix):
    path = write(tmp_path / f"embeddings{suffix}")
    values, target, samples, features, facts, audit = made(path)
    np.testing.assert_array_equal(values, values_of()[KEPT])
    assert target.tolist() == [1, 1, 0, 0, 0, 1]
    assert features["name"].tolist() == [f"dimension {number}" for number in range(1, 6)]
    assert samples["type"].tolist() == ["DEL", "INS", "BND", "DUP", "DEL", "INV"]
    assert samples["size"].tolist() == [120, 80, NO_SIZE, 500, 121, NO_SIZE]
    assert samples["position"].tolist() == [100, 200, 300, 500, 100, 700]
    assert samples["end"].tolist() == [220, 200, 300, 1000, 221, 700]
    assert samples["chromosome"].tolist() == ["1", "2", "1", "X", "1", "5"]
    assert samples["id"].tolist() == [
        "chr1:100:DEL", "chr2:200:INS", "chr1:300:BND", "chrX:500:DUP", "chr1:100:DEL#2", "chr5:700:INV",
    ]  # fmt: skip
    expected = [np.log10(1 + size) for size in (120, 80, 0, 500, 121, 0)]
    np.testing.assert_allclose(samples["trivial_size"], expected, rtol=1e-12)
    assert "trivial_quality" not in samples
    assert set(samples["dataset"]) == {"one"}
    assert (facts["unit"], facts["source"], facts["source_sha256"]) == ("embedding", path.name, sha256(path))
    labels = audit[audit["step"] == "labels"]
    told = {
        rule.split()[1].rstrip(":"): count for rule, count in zip(labels["rule"], labels["samples_after"], strict=True)
    }
    assert told == LEFT
    assert labels["rule"].str.endswith("left out").sum() == 2
    steps = audit.set_index("step")
    assert steps.loc[["source", "classes", "duplicates", "dataset"], "samples_after"].tolist() == [8, 6, 6, 6]
    assert steps.loc["sizes", ["samples_after", "note"]].tolist() == [1, "INV 1"]


@pytest.mark.parametrize("kind", ["none", "word"])
def test_a_call_without_a_class_is_left_out(tmp_path, kind):
    rows = [*ROWS, ({"none": None, "word": "None"}[kind], "DEL", 60, "chr1", 1, "one")]
    *_, audit = made(write(tmp_path / "embeddings.pt", rows))
    assert audit["rule"].eq("truvari_class None: left out").sum() == 1
    assert audit["samples_after"].iloc[-1] == len(KEPT)


@pytest.mark.parametrize("memory", [1, 2**24])
@pytest.mark.parametrize("suffix", [".pt", ".npz", ".h5"])
def test_the_false_copy_of_a_true_call_is_left_out(tmp_path, suffix, memory):
    copies = [
        ("FP", "DEL", 120, "chr1", 100, "one"), *ROWS, ("fp_vcf", "INS", 80, "chr2", 200, "one"),
        ("TP", "DEL", 120, "chr1", 100, "one"),
    ]  # fmt: skip
    # What differs in dataset, type, place or size is another call, and so is one whose size nobody knows.
    others = [
        ("FP", "DEL", 120, "chr1", 100, "two"), ("FP", "DUP", 120, "chr1", 100, "one"),
        ("FP", "DEL", 120, "chr2", 100, "one"), ("FP", "DEL", 119, "chr1", 100, "one"),
        ("FP", "INV", None, "chr5", 700, "one"), ("FP", "INV", 0, "chr5", 700, "one"),
    ]  # fmt: skip
    rows = [*copies, *others]
    values, target, samples, *_, audit = made(write(tmp_path / f"embeddings{suffix}", rows), memory=memory)
    kept = [*(1 + row for row in KEPT), *range(10, 17)]
    np.testing.assert_array_equal(values, values_of(rows)[kept])
    assert target.tolist() == [int(rows[row][0] in ("TP", "tp_comp_vcf")) for row in kept]
    assert samples["position"].tolist() == [rows[row][4] for row in kept]
    assert samples["id"].is_unique
    row = audit.set_index("step").loc["duplicates"]
    assert (row["samples_before"], row["samples_after"]) == (15, 13)
    assert row["rule"] == "false calls that are true calls of their dataset too: left out"


def test_false_calls_that_are_all_true_are_refused(tmp_path):
    rows = [("TP", "DEL", -60, "chr1", 5, "one"), ("FP", "DEL", 60, "chr1", 5, "one")]
    refused(write(tmp_path / "embeddings.npz", rows), "every false call is a true one too; expected false calls")


def test_an_array_that_nobody_needs_is_not_read(tmp_path):
    path = write(tmp_path / "embeddings.npz", notes=np.asarray([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        np.load(path)["notes"]
    np.testing.assert_array_equal(made(path)[0], values_of()[KEPT])


def of_numpy(value, number):
    """A value as a scalar of NumPy, of one width in this row and of another in that."""
    if value is None:
        return np.float32("nan")
    return np.str_(value) if isinstance(value, str) else (np.int64, np.int32, np.float64)[number % 3](value)


@pytest.mark.parametrize("how", ["zip", "zip, NumPy 1", "older torch", "older torch, NumPy 1"])
def test_scalars_of_numpy_tell_the_same(tmp_path, how):
    rows = [tuple(of_numpy(value, number) for value in row) for number, row in enumerate(ROWS)]
    path, plain = tmp_path / "embeddings.pt", made(write(tmp_path / "plain.pt"))
    torch.save(content_of(rows, values_of()), path, _use_new_zipfile_serialization=how.startswith("zip"))
    modern, older = b"cnumpy._core.multiarray\nscalar\n", b"cnumpy.core.multiarray\nscalar\n"
    if how.startswith("zip"):
        with zipfile.ZipFile(path) as file:
            parts = {name: file.read(name) for name in file.namelist()}
        assert any(modern in part for part in parts.values())
        if how.endswith("1"):
            with zipfile.ZipFile(path, "w") as file:
                for name, part in parts.items():
                    file.writestr(name, part.replace(modern, older))
    elif how.endswith("1"):
        assert modern in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(modern, older))
    told = made(path, tmp_path / "other.h5")
    np.testing.assert_array_equal(told[0], plain[0])
    assert told[1].tolist() == plain[1].tolist()
    assert told[2].equals(plain[2])


class Forged:
    """A scalar of NumPy of a type that is none of numbers and texts, or of a size that its bytes have not."""

    def __init__(self, name, content):
        self.kind, self.content = np.dtype(name), content

    def __reduce__(self):
        return np.float64(0).__reduce__()[0], (self.kind, self.content)


@pytest.mark.parametrize(("name", "content"), [("i8", b"1234567"), ("U2", b"1234"), ("O", 5), ("M8[s]", b"12345678")])
def test_a_scalar_of_numpy_that_is_none_is_refused(tmp_path, name, content):
    infos = content_of()["sv_info"]
    infos[0]["pos"] = Forged(name, content)
    refused(write(tmp_path / "embeddings.pt", sv_info=infos), "not a whole file of weights alone")


class Negative:
    """A scalar of NumPy of a type whose state says that it is smaller than nothing, by which NumPy would crash."""

    def __reduce__(self):
        return np.float64(0).__reduce__()[0], (NegativeKind(), b"12345678")


class NegativeKind:
    def __reduce__(self):
        return np.dtype, ("U2", False, True), (3, "<", None, None, None, -8, 4, 8)


def test_a_type_of_numpy_is_what_its_name_says(tmp_path):
    infos = content_of()["sv_info"]
    infos[0]["chrom"] = Negative()
    refused(write(tmp_path / "embeddings.pt", sv_info=infos), "not a whole file of weights alone")


@pytest.mark.parametrize("memory", [1, 16 * 5 * 3, 2**24])
@pytest.mark.parametrize("suffix", [".pt", ".h5"])
def test_the_size_of_blocks_changes_nothing(tmp_path, memory, suffix):
    path = write(tmp_path / f"embeddings{suffix}")
    np.testing.assert_array_equal(made(path, memory=memory)[0], values_of()[KEPT])


def test_names_are_told_apart_by_their_dataset(tmp_path):
    rows = [(*row[:5], name) for name in ("one", "two") for row in ROWS]
    samples = made(write(tmp_path / "embeddings.pt", rows))[2]
    assert samples["id"].iloc[[0, 4, 6]].tolist() == ["one:chr1:100:DEL", "one:chr1:100:DEL#2", "two:chr1:100:DEL"]


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_tensors_of_any_precision_are_read(tmp_path, kind):
    tensor = torch.from_numpy(values_of()).to(kind).requires_grad_()
    values = made(write(tmp_path / "embeddings.pt", embeddings=tensor))[0]
    np.testing.assert_array_equal(values, tensor.detach().float().numpy()[KEPT])


def test_a_file_of_an_older_torch_is_read(tmp_path):
    torch.save(content_of(), tmp_path / "embeddings.pt", _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(made(tmp_path / "embeddings.pt")[0], values_of()[KEPT])


class Code:
    """What runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", ["in torch's zip file", "a bare pickle", "an object array"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, how):
    trace = tmp_path / "trace"
    infos = content_of()["sv_info"]
    infos[1]["pos"], infos[2]["svtype"] = np.int64(200), Code(trace)
    if how == "an object array":
        path = write(tmp_path / "embeddings.npz", svtype=np.asarray([Code(trace)] * len(ROWS), dtype=object))
        message = r"not an \.npz file of plain arrays \(allow_pickle=False\)"
    else:
        path = tmp_path / "embeddings.pt"
        message = r"\.pt: not a whole file of weights alone \(\w+\); expected a dict of `embeddings`"
        if how == "a bare pickle":
            path.write_bytes(pickle.dumps({"sv_info": infos}, protocol=2))
        else:
            write(path, sv_info=infos)
    refused(path, message)
    assert not trace.exists()
    if how == "a bare pickle":
        pickle.loads(path.read_bytes())
        assert trace.exists(), "the code would have run"


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".h5"])
@pytest.mark.parametrize("content", [b"", b"no such thing", b"PK\x03\x04 cut"])
def test_a_file_that_is_something_else_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"embeddings{suffix}"
    path.write_bytes(content)
    refused(
        path,
        {".pt": "not a whole file of weights alone", ".npz": r"not an \.npz file", ".h5": "not an HDF5 file"}[suffix],
    )


def test_an_unknown_kind_or_no_file_is_refused(tmp_path):
    refused(tmp_path / "embeddings.pickle", r"unknown suffix '\.pickle'; expected \.pt, \.npz, \.h5")
    refused(tmp_path / "embeddings.pt", "no such file; expected embeddings")


def changed(row, **changes):
    rows = [dict(zip(KEYS, one, strict=True)) for one in ROWS]
    rows[row] |= changes
    return [tuple(one.values()) for one in rows]


def test_a_dict_of_something_else_is_refused(tmp_path):
    path = tmp_path / "embeddings.pt"
    refused(write(path, sv_info=None), "expected a dict with a tensor `embeddings` and a list `sv_info`")
    refused(write(path, embeddings=[1.0]), "expected a dict with a tensor `embeddings`")
    refused(write(path, embeddings=torch.zeros(7, 5)), r"embeddings of shape \(7, 5\), but 8 rows of sv_info")
    for kind in (
        torch.zeros(8, 2, dtype=torch.bool),
        torch.zeros(8, 2, dtype=torch.complex64),
        torch.eye(8).to_sparse(),
    ):
        refused(write(path, embeddings=kind), "expected dense numbers")
    refused(write(path, embeddings=torch.zeros(8)), r"embeddings are of shape \(8,\); expected \(calls, dimensions\)")
    infos = content_of()["sv_info"]
    del infos[3]["pos"], infos[3]["svlen"]
    refused(write(path, sv_info=infos), r"sv_info row 3 \(counted from 0\) lacks svlen, pos")
    infos[3] = "DEL"
    refused(write(path, sv_info=infos), r"sv_info row 3 \(counted from 0\) lacks truvari_class")


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_arrays_of_something_else_are_refused(tmp_path, suffix):
    path = tmp_path / f"embeddings{suffix}"
    refused(write(path, svlen=None), "no array svlen; it has chrom, dataset, embeddings, pos, svtype, truvari_class")
    refused(write(path, pos=np.arange(7)), "8 embeddings, but 7 of pos")
    refused(write(path, pos=np.zeros((8, 1))), r"pos is of shape \(8, 1\); expected one value a call")
    refused(write(path, embeddings=np.zeros(8)), r"embeddings are of shape \(8,\)")
    refused(write(path, embeddings=np.zeros((8, 0))), r"embeddings are of shape \(8, 0\)")
    refused(write(path, embeddings=np.zeros((8, 2), bool)), "embeddings are of type bool; expected numbers")


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".h5"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_an_embedding_that_is_not_finite_is_named_by_its_row(tmp_path, suffix, value):
    values = values_of().astype(np.float64)
    values[3, 1] = value
    path = write(tmp_path / f"embeddings{suffix}", values=values)
    assert len(made(path)[0]) == len(KEPT), "row 3 is left out"
    path.with_name("dataset.h5").unlink()
    values[4, 2] = value
    refused(write(path, values=values), r"the embedding in row 4 \(counted from 0\) is not finite")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chrom": ""}, "chrom is ''; expected text"),
        ({"svtype": None}, "svtype is None; expected text"),
        ({"dataset": 3}, "dataset is 3; expected text"),
        ({"pos": None}, "pos is None; expected a position on chr2"),
        ({"pos": -1}, "pos is -1; expected a position on chr2"),
        ({"pos": "far"}, "pos is 'far'; expected a whole number"),
        ({"svlen": 1.5}, r"svlen is 1\.5; expected a whole number"),
        ({"svlen": np.inf}, "svlen is inf; expected a whole number"),
    ],
)
def test_what_is_known_of_a_call_is_checked(tmp_path, changes, message):
    path = write(tmp_path / "embeddings.pt", changed(1, **changes))
    refused(path, rf"row 1 \(counted from 0\): {message}")


def test_both_classes_are_needed(tmp_path):
    rows = [row for row in ROWS if row[0] not in ("FP", "fp_vcf")]
    refused(
        write(tmp_path / "embeddings.pt", rows),
        "no false call: truvari_class has FN, TP, tp, tp_comp_vcf; expected FP or fp_vcf",
    )
