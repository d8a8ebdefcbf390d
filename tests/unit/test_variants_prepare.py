"""The dataset holds what the call files say, read in any way; what gives the answer away never gets in."""

import itertools
import math

import numpy as np
import pysam
import pytest

from consilience.dataset import Dataset
from consilience.dataset_writer import DatasetWriter
from consilience.domains.variants.calls import NO_SIZE
from consilience.domains.variants.prepare import prepare
from consilience.domains.variants.spectrum import kmers
from consilience.errors import ConsilienceError
from tests.unit.variants_examples import (
    FIELDS,
    TRUVARI,
    deletion,
    drawn_reference,
    drawn_sequence,
    partner,
    record,
    write_bench,
    write_vcf,
)

SETTINGS = {"k": 3, "attributes": ["HOMLEN", "PE", "SRQ", "CN"], "flank": 20, "maximum_sequence": 100, "multi": "keep"}
SEQUENCES = drawn_reference()
CONSENSUS = [drawn_sequence(np.random.default_rng(seed), 60) for seed in range(4)]
TRUE = [
    deletion("d1", 100, 30, SEQUENCES, explicit=True, PE=3, HOMLEN=0, SRQ=-0.5, CONSENSUS=CONSENSUS[0], TruScore=90),
    deletion("d2", 200, 400, SEQUENCES, PE=7, quality="12.5", filters="LowQual", IMPRECISE=True, PctSeqSimilarity=0.9),
    record("i1", 900, "chr2", "A", "A" + CONSENSUS[3][:25], SVTYPE="INS", SVLEN=25, PE=0, CONSENSUS=CONSENSUS[1]),
    record("b1", 950, "chrX", "A", "N[chr2:50[", SVTYPE="BND", CHR2="chr2", PE=2, MatchId="1.0,1.0"),
]
FALSE = [
    record("c1", 40, "chr1", "A", "<CNV>", SVTYPE="CNV", END=90, PE=1, HOMLEN=12, Multi=True),
    record("i2", 50, "chr1", "A", "<INS>", SVTYPE="INS", SVLEN=60, END=50, CONSENSUS="NN" + CONSENSUS[2].lower()),
]
COLUMNS = ["id", "chromosome", "contig", "position", "end", "type", "size", "dataset", "filter"]


def bench_of(folder, true=TRUE, false=FALSE, **keys):
    return write_bench(folder / "bench", true, false, **keys)


def made(source, output, settings=SETTINGS, **keys):
    """Prepare; return inputs and masks by branch, target, samples, features, facts and the audit."""
    source = {"kind": "truvari"} | ({"path": str(source)} if not isinstance(source, dict) else source)
    audit = prepare([], settings | {"source": source}, output, 0, **keys)
    with Dataset.open(output) as data:
        branches = {name: (data.inputs(name), data.mask(name)) for name in data.branches}
        return branches, data.target, data.samples, data.features, dict(data.file.attrs), audit


def same(one, other):
    """Two preparations hold the same dataset, wherever it was read from."""
    assert list(one[0]) == list(other[0])
    for branch, parts in one[0].items():
        for ours, theirs in zip(parts, other[0][branch], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert one[1].tolist() == other[1].tolist()
    for ours, theirs in zip(one[2:4], other[2:4], strict=True):
        assert ours.equals(theirs)


def refused(tmp_path, source, message, settings=SETTINGS):
    with pytest.raises(ConsilienceError, match=message) as caught:
        made(source, tmp_path / "dataset.h5", settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "dataset.h5").exists()


def slow_shares(parts, k=3):
    """The shares of canonical k-mers of parts of a sequence, as a row; None where there is none."""
    words = [part.upper()[start : start + k] for part in parts for start in range(len(part) - k + 1)]
    words = [min(word, partner(word)) for word in words if "N" not in word]
    return np.asarray([words.count(kmer) / len(words) for kmer in kmers(k)], np.float32) if words else None


def held(branch, rows):
    """A branch holds these rows, masked as a whole where None."""
    values, mask = branch
    for value, absent, row in zip(values, mask, rows, strict=True):
        assert absent.tolist() == [row is None] * len(value)
        np.testing.assert_array_equal(value, 0 if row is None else row)


def test_a_dataset_is_what_the_files_hold(tmp_path):
    branches, target, samples, features, facts, _ = made(bench_of(tmp_path), tmp_path / "dataset.h5")
    assert list(branches) == ["attributes", "alleles", "consensus"]
    assert target.tolist() == [1, 1, 1, 1, 0, 0]
    names = [*(f"type {kind}" for kind in ("INS", "DEL", "DUP", "INV", "BND", "CNV")), "log10 size"]
    names += ["log1p HOMLEN", "log1p PE", "log1p SRQ"]
    assert features["name"].tolist() == [
        *names,
        *(f"{one} {word}" for one in ("alleles", "consensus") for word in kmers(3)),
    ]
    assert features["branch"].tolist() == ["attributes"] * 10 + ["alleles"] * 32 + ["consensus"] * 32
    values, mask = branches["attributes"]
    assert values[:, :6].argmax(axis=1).tolist() == [1, 1, 0, 4, 5, 0]
    assert (values[:, :6].sum(axis=1) == 1).all()
    # Sizes, HOMLEN, PE and SRQ; None where the call has none.
    expected = [
        (30, 0, 3, -0.5), (400, None, 7, None), (25, None, 0, None), (None, None, 2, None), (50, 12, 1, None),
        (60, None, None, None),
    ]  # fmt: skip
    for row, told in enumerate(expected):
        assert mask[row, 6:].tolist() == [value is None for value in told]
        size, *others = (0 if value is None else value for value in told)
        row_values = [math.log10(1 + size), *(math.copysign(math.log1p(abs(value)), value) for value in others)]
        np.testing.assert_array_equal(values[row, 6:], np.asarray(row_values, np.float32))
    assert not mask[:, :6].any()
    deleted = SEQUENCES["chr1"][100:130]
    held(branches["alleles"], [slow_shares([deleted]), None, slow_shares([CONSENSUS[3][:25]]), None, None, None])
    held(branches["consensus"], [slow_shares([one]) if one else None for one in (*CONSENSUS[:1], "", CONSENSUS[1], "", "", CONSENSUS[2])])  # fmt: skip
    assert (facts["task"], facts["target"]) == ("classification", "true call")
    assert (facts["unit"], facts["source"]) == ("k-mer shares and call attributes", "tp-comp.vcf.gz, fp.vcf.gz")
    assert list(samples) == [*COLUMNS, "has_sequence", "trivial_size", "trivial_quality"]


def test_the_table_tells_where_calls_are(tmp_path):
    samples = made(bench_of(tmp_path), tmp_path / "dataset.h5")[2]
    rows = [
        ("d1", "1", "chr1", 100, 130, "DEL", 30, "bench", "PASS"),
        ("d2", "1", "chr1", 200, 600, "DEL", 400, "bench", "LowQual"),
        ("i1", "2", "chr2", 900, 900, "INS", 25, "bench", "PASS"),
        ("b1", "X", "chrX", 950, 950, "BND", NO_SIZE, "bench", "PASS"),
        ("c1", "1", "chr1", 40, 90, "CNV", 50, "bench", "PASS"),
        ("i2", "1", "chr1", 50, 50, "INS", 60, "bench", "PASS"),
    ]
    assert list(samples[COLUMNS].itertuples(index=False, name=None)) == rows
    assert samples["has_sequence"].tolist() == [1, 0, 1, 0, 0, 1]
    assert samples["trivial_quality"].tolist() == [60, 12.5, 60, 60, 60, 60]
    np.testing.assert_allclose(samples["trivial_size"], [math.log10(1 + max(row[6], 0)) for row in rows], rtol=1e-12)


def test_the_audit_tells_what_is_used(tmp_path):
    folder = bench_of(
        tmp_path, false=[*FALSE, deletion("d3", 300, quality=".", explicit=True, sequences=SEQUENCES, size=150)]
    )
    write_vcf(folder / "fn.vcf", [deletion(f"m{row}", 100 + row) for row in range(3)])
    *_, samples, _, _, audit = made(folder, tmp_path / "dataset.h5", SETTINGS | {"attributes": ["PE", "CN", "SR"]})
    counts = {(row.step, row.rule): (row.samples_before, row.samples_after) for row in audit.itertuples()}
    assert counts["missed truths", "fn.vcf: no calls, left out"] == (3, 0)
    assert counts["labels", "true calls"] == (7, 4)
    types = {rule: after for (step, rule), (_, after) in counts.items() if step == "types"}
    assert types == {"DEL": 3, "INS": 2, "BND": 1, "CNV": 1, "DUP": 0, "INV": 0}
    assert counts["attributes", "INFO/PE"] == (7, 5)
    assert counts["attributes", "INFO/CN is left out: the header of no file declares it"] == (7, 0)
    assert counts["attributes", "INFO/SR is left out: no call has a value"] == (7, 0)
    assert counts["sequences", "an allele with bases"] == (7, 3)
    assert counts["sequences", "an allele cut to 100 bases"] == (7, 1)
    assert counts["sequences", "a consensus"] == (7, 3)
    assert counts["trivial_quality", "left out: calls without QUAL"] == (7, 1)
    assert "trivial_quality" not in samples
    assert audit["note"].iloc[0] == "bench/tp-comp.vcf.gz 4, bench/fp.vcf.gz 3"
    assert (audit["features_after"] == 6 + 1 + 1 + 2 * 32).all()


def test_plain_and_bgzipped_files_make_the_same_dataset(tmp_path):
    one = made(bench_of(tmp_path / "a"), tmp_path / "a.h5")
    other = made(bench_of(tmp_path / "b", suffix=".vcf"), tmp_path / "b.h5")
    same(one, other)
    assert other[4]["source"] == "tp-comp.vcf, fp.vcf"


def test_a_preparation_repeats_byte_by_byte(tmp_path):
    folder = bench_of(tmp_path)
    for name in "ab":
        made(folder, tmp_path / f"{name}.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize("memory", [1, 400])
def test_the_size_of_blocks_changes_nothing(tmp_path, memory):
    folder = bench_of(tmp_path)
    same(made(folder, tmp_path / "a.h5"), made(folder, tmp_path / "b.h5", memory=memory))


def test_the_other_strand_of_a_consensus_is_the_same(tmp_path):
    turned = [
        line.replace(CONSENSUS[0], partner(CONSENSUS[0])).replace(CONSENSUS[1], partner(CONSENSUS[1])) for line in TRUE
    ]
    assert turned != TRUE
    same(made(bench_of(tmp_path / "a"), tmp_path / "a.h5"), made(bench_of(tmp_path / "b", turned), tmp_path / "b.h5"))


def without_truvari(line):
    *columns, info = line.split("\t")
    return "\t".join([*columns, ";".join(part for part in info.split(";") if part.partition("=")[0] not in TRUVARI)])


def with_truvari(line, number):
    return f"{without_truvari(line)};TruScore={number};PctSeqSimilarity=0.{number};MatchId={number}.0;Multi"


@pytest.mark.parametrize("how", ["removed", "permuted", "not declared"])
def test_what_truvari_writes_never_matters(tmp_path, how):
    lines, fields = [*TRUE, *FALSE], FIELDS
    if how == "permuted":
        lines = [with_truvari(line, number) for number, line in enumerate(lines, start=1)]
    else:
        lines = [without_truvari(line) for line in lines]
    if how == "not declared":
        fields = {name: kind for name, kind in FIELDS.items() if name not in TRUVARI}
    other = bench_of(tmp_path / "b", lines[: len(TRUE)], lines[len(TRUE) :], fields=fields)
    same(made(bench_of(tmp_path / "a"), tmp_path / "a.h5"), made(other, tmp_path / "b.h5"))


def test_an_attribute_that_gives_the_answer_away_is_refused(tmp_path):
    settings = SETTINGS | {"attributes": ["PE", "TruScore"]}
    refused(
        tmp_path,
        bench_of(tmp_path),
        "TruScore is written by the comparison with the truth and gives the answer",
        settings,
    )


def test_an_attribute_that_is_no_number_is_refused(tmp_path):
    settings = SETTINGS | {"attributes": ["PRECISE"]}
    refused(
        tmp_path, bench_of(tmp_path), r"tp-comp\.vcf\.gz: INFO/PRECISE is declared as Number=0, Type=Flag", settings
    )


def test_calls_without_unique_names_are_named_by_their_place(tmp_path):
    calls = [deletion(".", 100), deletion(".", 100, 90), deletion("d", 100)]
    samples = made(bench_of(tmp_path, calls, [deletion("d", 70)]), tmp_path / "dataset.h5")[2]
    assert samples["id"].tolist() == ["chr1:100:.", "chr1:100:.#2", "chr1:100:d", "chr1:70:d"]


def test_benches_follow_each_other_and_name_their_calls(tmp_path):
    folders = [bench_of(tmp_path / name, suffix=suffix) for name, suffix in (("a", ".vcf"), ("b", ".vcf.gz"))]
    two = {"dataset": "two", "tp": str(folders[1] / "tp-comp.vcf.gz"), "fp": str(folders[1] / "fp.vcf.gz")}
    benches = [{"dataset": "one", "path": str(folders[0])}, two]
    branches, target, samples, *_ = made({"benches": benches}, tmp_path / "dataset.h5")
    assert target.tolist() == [1, 1, 1, 1, 0, 0] * 2
    assert samples["dataset"].tolist() == ["one"] * 6 + ["two"] * 6
    assert samples["id"].iloc[[0, 6]].tolist() == ["one:d1", "two:d1"]
    for values, _ in branches.values():
        np.testing.assert_array_equal(values[:6], values[6:])
    refused(tmp_path / "c", {"benches": [benches[0]] * 2}, "benches: the dataset 'one' repeats")


def test_truvari_before_4_called_them_otherwise(tmp_path):
    folder = bench_of(tmp_path)
    (folder / "tp-comp.vcf.gz").rename(folder / "tp-call.vcf.gz")
    assert len(made(folder, tmp_path / "dataset.h5")[1]) == 6
    write_vcf(folder / "tp-comp.vcf", TRUE)
    refused(tmp_path / "b", folder, r"bench: both tp-comp\.vcf and tp-call\.vcf\.gz; expected one of them")


def test_a_folder_without_one_file_of_each_is_refused(tmp_path):
    folder = bench_of(tmp_path)
    write_vcf(folder / "fp.vcf", FALSE)
    refused(tmp_path, folder, r"bench: both fp\.vcf and fp\.vcf\.gz; expected one of them")
    for path in folder.glob("fp.*"):
        path.unlink()
    refused(tmp_path, folder, r"bench: no fp\.vcf\.gz; expected a bench")
    refused(tmp_path, tmp_path / "nowhere", "nowhere: no such folder")


@pytest.mark.parametrize("name", ["tp-comp", "fp"])
def test_a_file_without_calls_is_refused(tmp_path, name):
    kind = {"tp-comp": "true", "fp": "false"}[name]
    folder = bench_of(tmp_path, [] if kind == "true" else TRUE, [] if kind == "false" else FALSE)
    refused(tmp_path, folder, rf"{name}\.vcf\.gz: no calls; expected {kind} calls")


@pytest.mark.parametrize("memory", [1, 2**24])
def test_the_false_copy_of_a_true_call_is_left_out(tmp_path, memory):
    twin = TRUE[1].replace("\td2\t", "\tother\t").replace("PE=7", "PE=8")
    other = made(bench_of(tmp_path / "b", false=[FALSE[0], twin, FALSE[1], twin]), tmp_path / "b.h5", memory=memory)
    same(made(bench_of(tmp_path / "a"), tmp_path / "a.h5"), other)
    row = other[-1].set_index("step").loc["duplicates"]
    assert row["rule"] == "false calls that are true calls of their bench too: left out"
    assert (row["samples_before"], row["samples_after"]) == (8, 6)
    assert other[-1]["samples_after"].iloc[-1] == 6
    for single in (twin.replace("SVLEN=-400", "SVLEN=-401"), twin.replace("\t200\t", "\t201\t")):
        assert len(made(bench_of(tmp_path / "c", false=[single]), tmp_path / "c.h5")[1]) == 5
    message = r"fp\.vcf\.gz: no calls: all 2 are true calls of the bench too, or flagged Multi; expected false calls"
    refused(tmp_path / "d", bench_of(tmp_path / "d", false=[twin, twin]), message)


def test_a_call_that_another_bench_has_as_true_is_kept(tmp_path):
    folders = [bench_of(tmp_path / "a"), bench_of(tmp_path / "b", true=TRUE[:1], false=TRUE[1:])]
    benches = [{"dataset": folder.parent.name, "path": str(folder)} for folder in folders]
    assert made({"benches": benches}, tmp_path / "dataset.h5")[1].tolist() == [1, 1, 1, 1, 0, 0, 1, 0, 0, 0]


def test_a_failure_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("no space left")

    folder, output = bench_of(tmp_path), tmp_path / "out" / "dataset.h5"
    output.parent.mkdir()
    monkeypatch.setattr(DatasetWriter, "append", broken)
    with pytest.raises(OSError, match="no space left"):
        made(folder, output)
    assert list(output.parent.iterdir()) == []


def test_the_real_calls_are_read_whole(shared_data, tmp_path):
    folder = shared_data / "variants"
    if not all((folder / name).is_file() for name in ("tp-comp.vcf.gz", "fp.vcf.gz")):
        pytest.skip("the calls of the Truvari bench are not here")
    branches, target, samples, features, _, audit = made(folder, tmp_path / "dataset.h5", SETTINGS | {"k": 4})
    assert (len(target), target.sum(), len(features)) == (9019, 6236, 5 + 1 + 3 + 2 * 136)
    records = [
        (file, record)
        for file in ("tp-comp.vcf.gz", "fp.vcf.gz")
        for record in itertools.islice(pysam.VariantFile(str(folder / file)), 40)
    ]
    by_name = samples.set_index("id")
    for file, record_ in records:
        row = by_name.index.get_loc(record_.id)
        told = by_name.iloc[row]
        assert target[row] == (file == "tp-comp.vcf.gz")
        assert (told["position"], told["end"], told["size"]) == (record_.pos, record_.stop, record_.info["SVLEN"])
        expected = slow_shares([record_.info["CONSENSUS"]], 4) if "CONSENSUS" in record_.info else None
        held([part[row : row + 1] for part in branches["consensus"]], [expected])
        explicit = not record_.alts[0].startswith("<")
        held(
            [part[row : row + 1] for part in branches["alleles"]],
            [slow_shares([record_.ref[1:101], record_.alts[0][1:101]], 4) if explicit else None],
        )
    assert samples["chromosome"].nunique() == 22
    assert samples["type"].value_counts().to_dict() == {"DEL": 8752, "INS": 267}
    assert samples["has_sequence"].sum() == 7525
    assert (~branches["consensus"][1]).all(axis=1).sum() == 7525
    rows = audit.set_index("step")
    assert rows.loc["duplicates", ["samples_before", "samples_after"]].tolist() == [9019, 9019]
    assert rows.loc["sizes", "samples_after"] == 0
    assert rows.loc["multi", ["rule", "samples_after"]].tolist() == ["false calls flagged Multi: kept", 212]


def test_the_real_mapping_qualities_are_those_of_reads(shared_data, tmp_path):
    folder = shared_data / "variants"
    if not all((folder / name).is_file() for name in ("tp-comp.vcf.gz", "fp.vcf.gz")):
        pytest.skip("the calls of the Truvari bench are not here")
    settings = SETTINGS | {"multi": "drop", "attributes": ["MAPQ", "SRMAPQ"]}
    branches, target, _, _, _, audit = made(folder, tmp_path / "dataset.h5", settings)
    # Counted by grep: 212 false calls are flagged Multi; 5,239 calls have PE=0;MAPQ=0, and 7 of these are flagged.
    assert (len(target), target.sum()) == (9019 - 212, 6236)
    values, mask = branches["attributes"]
    assert mask[:, 6].sum() == 5239 - 7
    assert (values[~mask[:, 6], 6] > 0).all()
    counts = audit.set_index("rule")["samples_after"]
    assert counts["INFO/MAPQ is absent where PE is 0 or absent"] == 5239 - 7
    assert counts["INFO/MAPQ"] == 9019 - 212 - (5239 - 7)
    assert counts["INFO/SRMAPQ"] == (~mask[:, 7]).sum()
    assert "INFO/SRMAPQ is absent where SR is 0 or absent" not in counts
