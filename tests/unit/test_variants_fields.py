"""What only one file of a bench can have, or what a caller writes for want of a value, is no attribute of a call."""

import numpy as np
import pysam
import pytest

from consilience.configuration import load_study
from consilience.dataset import Dataset
from consilience.domains.variants.prepare import prepare
from consilience.domains.variants.simulate import simulate
from consilience.domains.variants.vcf import read_calls
from tests.unit.test_variants_prepare import CONSENSUS, FALSE, SETTINGS, TRUE, bench_of, made, same
from tests.unit.variants_examples import FIELDS, deletion, record, write_vcf

# PE, MAPQ, SR and SRMAPQ of a call, and the mapping qualities that are kept of it.
QUALITIES = {
    "both": ((3, 40, 5, 60), (40, 60)),
    "none, as Delly writes it": ((0, 0, 5, 60), (None, 60)),
    "no pair, but a quality": ((0, 37, 0, 20), (None, None)),
    "pairs of quality 0": ((2, 0, 4, 0), (0, 0)),
    "no count": ((None, 40, ".", 60), (None, None)),
    "no quality": ((3, None, 5, "."), (None, None)),
}


def call_of(name, position, values):
    told = dict(zip(("PE", "MAPQ", "SR", "SRMAPQ"), values, strict=True))
    return deletion(name, position, **told)


def column(result, name):
    """The values of an attribute, None where masked."""
    branches, features = result[0], result[3]
    place = features["name"].tolist().index(name)
    values, mask = (part[:, place] for part in branches["attributes"])
    return [None if absent else float(value) for value, absent in zip(values, mask, strict=True)]


def rules(result):
    audit = result[-1]
    return dict(zip(audit["rule"], audit["samples_after"], strict=True))


@pytest.mark.parametrize("attributes", [["MAPQ", "SRMAPQ"], ["SR", "SRMAPQ", "PE", "MAPQ"]])
def test_a_mapping_quality_of_no_read_is_absent(tmp_path, attributes):
    calls = [call_of(f"d{row}", 100 + row, values) for row, (values, _) in enumerate(QUALITIES.values())]
    result = made(
        bench_of(tmp_path, calls[:3], calls[3:]), tmp_path / "dataset.h5", SETTINGS | {"attributes": attributes}
    )
    for place, name in enumerate(("MAPQ", "SRMAPQ")):
        expected = [kept[place] for _, kept in QUALITIES.values()]
        assert column(result, f"log1p {name}") == [
            None if value is None else float(np.float32(np.log1p(value))) for value in expected
        ]
        told = rules(result)
        assert told[f"INFO/{name}"] == sum(value is not None for value in expected)
    assert told["INFO/MAPQ is absent where PE is 0 or absent"] == 3
    assert told["INFO/SRMAPQ is absent where SR is 0 or absent"] == 2


@pytest.mark.parametrize("kind", ["not declared", "text"])
def test_a_mapping_quality_whose_support_no_file_counts_is_kept(tmp_path, kind):
    fields = {name: told for name, told in FIELDS.items() if name != "PE"}
    if kind == "text":
        fields["PE"] = "1,String"
    calls = [deletion(f"d{row}", 100 + row, MAPQ=row, PE="none" if kind == "text" else None) for row in range(3)]
    folder = bench_of(tmp_path, calls[:2], calls[2:], fields=fields)
    result = made(folder, tmp_path / "dataset.h5", SETTINGS | {"attributes": ["MAPQ"]})
    np.testing.assert_array_equal(column(result, "log1p MAPQ"), np.log1p(np.arange(3)).astype(np.float32))


def one_sided(folder, name, lacks):
    """The bench of the other tests, one file of which does not declare a field, and has none."""
    folder = bench_of(folder)
    lines = {"fp": FALSE, "tp-comp": TRUE}[lacks]
    plain = [
        "\t".join([*columns, ";".join(part for part in info.split(";") if part.partition("=")[0] != name)])
        for *columns, info in (line.split("\t") for line in lines)
    ]
    fields = {own: kind for own, kind in FIELDS.items() if own != name}
    write_vcf(folder / f"{lacks}.vcf.gz", plain, fields=fields)
    return folder


@pytest.mark.parametrize("lacks", ["fp", "tp-comp"])
def test_an_attribute_that_one_file_declares_is_left_out(tmp_path, lacks):
    settings = SETTINGS | {"attributes": ["PE", "HOMLEN"]}
    other = made(one_sided(tmp_path / "a", "PE", lacks), tmp_path / "a.h5", settings)
    same(other, made(bench_of(tmp_path / "b"), tmp_path / "b.h5", SETTINGS | {"attributes": ["HOMLEN"]}))
    rule = f"INFO/PE is left out: bench/{lacks}.vcf.gz does not declare it, the other file of the bench does"
    assert [told for told in rules(other) if "INFO/PE" in told] == [rule]


@pytest.mark.parametrize("lacks", ["fp", "tp-comp"])
def test_a_consensus_that_one_file_declares_is_not_read(tmp_path, lacks):
    other = made(one_sided(tmp_path, "CONSENSUS", lacks), tmp_path / "a.h5")
    assert other[0]["consensus"][1].all()
    assert (other[2]["has_sequence"] == 0).all()
    assert rules(other)["a consensus"] == 0
    rule = f"INFO/CONSENSUS is left out: bench/{lacks}.vcf.gz does not declare it, the other file of the bench does"
    assert rule in rules(other)


def test_a_size_that_one_file_declares_is_not_read(tmp_path):
    lines = [record(f"i{row}", 100 + row, alt="<INS>", SVTYPE="INS", SVLEN=50, END=100 + row) for row in range(2)]
    folder = bench_of(tmp_path, [*TRUE, lines[0]], [*FALSE, lines[1]])
    assert column(made(folder, tmp_path / "a.h5"), "log10 size")[4] is not None
    short = [line.replace("SVLEN=50;", "").replace("SVLEN=60;", "") for line in (*FALSE, lines[1])]
    write_vcf(folder / "fp.vcf.gz", short, fields={name: kind for name, kind in FIELDS.items() if name != "SVLEN"})
    sizes = column(made(folder, tmp_path / "b.h5"), "log10 size")
    assert [sizes[place] for place in (4, -1)] == [None, None]


def test_support_that_one_file_declares_takes_no_mapping_quality_away(tmp_path):
    calls = [call_of(f"d{row}", 100 + row, (0, 30 + row, None, None)) for row in range(4)]
    folder = bench_of(tmp_path, calls[:2], calls[2:])
    plain = [line.replace("PE=0;", "") for line in calls[2:]]
    write_vcf(folder / "fp.vcf.gz", plain, fields={name: kind for name, kind in FIELDS.items() if name != "PE"})
    result = made(folder, tmp_path / "dataset.h5", SETTINGS | {"attributes": ["MAPQ"]})
    assert None not in column(result, "log1p MAPQ")


def test_an_attribute_that_a_whole_bench_lacks_is_absent_there(tmp_path):
    fields = {name: kind for name, kind in FIELDS.items() if name != "PE"}
    calls = [deletion("d1", 100), deletion("d2", 300)]
    folders = [bench_of(tmp_path / "a"), bench_of(tmp_path / "b", calls[:1], calls[1:], fields=fields)]
    benches = [{"dataset": folder.parent.name, "path": str(folder)} for folder in folders]
    told = column(made({"benches": benches}, tmp_path / "dataset.h5"), "log1p PE")
    assert [value is None for value in told] == [False] * 5 + [True] * 3


def test_false_calls_that_truvari_flags_are_kept_or_dropped_and_counted(tmp_path):
    flagged = [deletion(f"m{row}", 300 + row, MAPQ=9, PE=1, Multi=True) for row in range(3)]
    twin = TRUE[1] + ";Multi"
    folder = bench_of(tmp_path / "a", [*TRUE[:3], TRUE[3] + ";Multi"], [flagged[0], *FALSE, *flagged[1:], twin])
    kept = made(folder, tmp_path / "a.h5")
    assert kept[1].tolist() == [1] * 4 + [0] * 5
    # One of FALSE is flagged too; the copy of a true call is counted as such alone.
    assert rules(kept)["false calls flagged Multi: kept"] == 4
    dropped = made(folder, tmp_path / "b.h5", SETTINGS | {"multi": "drop"})
    same(dropped, made(bench_of(tmp_path / "c", false=FALSE[1:]), tmp_path / "c.h5"))
    steps = dropped[-1].set_index("step").loc[["source", "duplicates", "multi", "dataset"]]
    assert steps["samples_after"].tolist() == [10, 9, 5, 5]
    assert steps.loc["multi", "rule"] == "false calls flagged Multi: left out"


def test_multi_is_a_key_of_a_study(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("domain: variants\nsource: {kind: simulate}\nmodels: default\n")
    assert load_study(path).preparation["multi"] == "keep"


def test_calls_that_should_have_a_size_are_counted(tmp_path):
    lacking = [
        record("v1", 400, alt="<INV>", SVTYPE="INV", SVLEN=0), record("i3", 500, alt="<INS>", SVTYPE="INS"),
        record("i4", 501, alt="<INS>", SVTYPE="INS"), record("x1", 502, alt="<CPX>", SVTYPE="CPX"),
    ]  # fmt: skip
    row = made(bench_of(tmp_path, false=[*FALSE, *lacking]), tmp_path / "a.h5")[-1].set_index("step").loc["sizes"]
    assert (row["samples_before"], row["samples_after"], row["note"]) == (10, 3, "INV 1, INS 2")


def test_an_allele_without_an_anchor_is_read_whole(tmp_path):
    whole = [
        record("s1", 300, ref="N", alt=CONSENSUS[0], SVTYPE="INS", SVLEN=60),
        record("s2", 301, ref=CONSENSUS[0], alt="N", SVTYPE="DEL", SVLEN=-60),
        record("s3", 302, ref="G", alt="G" + CONSENSUS[0], SVTYPE="INS", SVLEN=60),
    ]
    values, mask = made(bench_of(tmp_path, true=whole), tmp_path / "dataset.h5")[0]["alleles"]
    assert not mask[:3].any()
    for row in (1, 2):
        np.testing.assert_array_equal(values[row], values[0])


def test_simulated_calls_without_pairs_have_a_quality_of_0_as_delly_writes_it(tmp_path):
    source = {"kind": "simulate", "calls": 1500, "true_share": 0.6, "chromosomes": 4, "strength": 1.0}
    settings = SETTINGS | {"source": source | {"reference": False}, "attributes": ["PE", "MAPQ", "SRMAPQ"]}
    raw = tmp_path / "raw"
    raw.mkdir()
    simulate(raw, settings, 0)
    infos = [dict(one.info) for name in ("tp-comp.vcf.gz", "fp.vcf.gz") for one in pysam.VariantFile(str(raw / name))]
    without = [info["PE"] == 0 for info in infos]
    assert 0 < sum(without) < 1500 / 20
    assert {info["MAPQ"] for info, none in zip(infos, without, strict=True) if none} == {0}
    assert all(info["SR"] > 0 for info in infos if "SRMAPQ" in info)
    prepare(sorted(raw.iterdir()), settings, tmp_path / "dataset.h5", 0)
    with Dataset.open(tmp_path / "dataset.h5") as data:
        place = data.features["name"].tolist().index("log1p MAPQ")
        assert data.mask("attributes")[:, place].tolist() == without


def test_a_file_is_read_as_if_it_had_no_such_field(tmp_path):
    path = write_vcf(tmp_path / "calls.vcf", [*TRUE, *FALSE])
    calls = list(read_calls(path, ["PE", "HOMLEN"], {"PE", "CONSENSUS"}))
    assert {call.consensus for call in calls} == {""}
    assert [call.attributes for call in calls] == [(None, 0), *[(None, None)] * 3, (None, 12), (None, None)]
