"""Alleles and flanks are read from the reference the calls were made on, and from no other."""

import gzip

import numpy as np
import pytest

from consilience.dataset import Dataset
from consilience.domains.variants.prepare import prepare
from consilience.domains.variants.simulate import simulate
from consilience.errors import ConsilienceError
from tests.unit.test_variants_prepare import SETTINGS, held, made, refused, same, slow_shares
from tests.unit.variants_examples import deletion, drawn_reference, record, write_bench, write_fasta

SEQUENCES = drawn_reference(seed=4)
ONE, TWO, THREE = (SEQUENCES[name] for name in ("chr1", "chr2", "chrX"))
TRUE = [
    deletion("d1", 100, 30, SEQUENCES),
    record("v1", 2000, "chr2", TWO[1999], "<INV>", SVTYPE="INV", END=2080),
    record("i1", 3000, "chr2", TWO[2999], TWO[2999] + "ACGGT", SVTYPE="INS", SVLEN=5),
    # What an insertion's END is, callers do not agree on: its flanks lie around its position.
    record("i3", 4000, "chr2", TWO[3999], "<INS>", SVTYPE="INS", SVLEN=30, END=4030),
]
FALSE = [
    deletion("d2", 500, 400, SEQUENCES),
    record("b1", 7, "chrX", THREE[6], "N[chr2:50[", SVTYPE="BND", CHR2="chr2"),
    record("i2", 5000, "chr2", TWO[4999], "<INS>", SVTYPE="INS", SVLEN=70, END=5000),
]


def source_of(folder, sequences=SEQUENCES, true=TRUE, false=FALSE):
    fasta = write_fasta(folder / "genome" / "reference.fa", sequences)
    return {"path": str(write_bench(folder / "bench", true, false)), "reference": str(fasta)}


def test_alleles_and_flanks_are_those_of_the_reference(tmp_path):
    branches, *_, features, _, _ = made(source_of(tmp_path), tmp_path / "dataset.h5")
    assert list(branches) == ["attributes", "alleles", "consensus", "flanks"]
    assert features["name"].tolist()[-32:] == [
        name.replace("alleles", "flanks") for name in features["name"] if "alleles" in name
    ]
    spans = [[ONE[100:130]], [TWO[2000:2080]], ["ACGGT"], None, [ONE[500:600]], None, None]
    held(branches["alleles"], [parts and slow_shares(parts) for parts in spans])
    # 20 bases up to the position, and 20 beyond the end; fewer where the contig begins or ends.
    flanks = [
        [ONE[80:100], ONE[130:150]], [TWO[1980:2000], TWO[2080:2100]], [TWO[2980:3000], TWO[3000:3020]],
        [TWO[3980:4000], TWO[4000:4020]], [ONE[480:500], ONE[900:920]], [THREE[:7], THREE[7:27]], [TWO[4980:5000]],
    ]  # fmt: skip
    held(branches["flanks"], [slow_shares(parts) for parts in flanks])


def test_no_flank_is_left_where_the_contig_begins_and_ends(tmp_path):
    whole = record("w", 2, "chrX", THREE[1], "<DUP>", SVTYPE="DUP", END=2998)
    branches, *_ = made(source_of(tmp_path, true=[whole]), tmp_path / "dataset.h5")
    assert branches["flanks"][1].all(axis=1).tolist() == [True, False, False, False]


def test_a_symbolic_deletion_is_the_one_that_is_spelled_out(tmp_path):
    # The second is longer than the bases that are read.
    places = [(100, 30), (700, 250), (1500, 60)]
    tables = []
    for explicit in (False, True):
        calls = [deletion(f"d{place}", place, size, SEQUENCES, explicit=explicit) for place, size in places]
        source = source_of(tmp_path / str(explicit), true=calls[:2], false=calls[2:])
        tables.append(made(source, tmp_path / f"{explicit}.h5"))
    same(*tables)
    assert tables[0][-1].equals(tables[1][-1])


def test_lower_case_in_the_reference_changes_nothing(tmp_path):
    masked = {name: sequence[:200] + sequence[200:].lower() for name, sequence in SEQUENCES.items()}
    one = made(source_of(tmp_path / "a"), tmp_path / "a.h5")
    same(one, made(source_of(tmp_path / "b", masked), tmp_path / "b.h5"))


def test_letters_that_stand_for_several_bases_are_no_mismatch(tmp_path):
    changed = {**SEQUENCES, "chr1": ONE[:99] + "R" + ONE[100:]}
    branches, *_ = made(source_of(tmp_path, changed), tmp_path / "dataset.h5")
    held([part[:1] for part in branches["flanks"]], [slow_shares([ONE[80:99], ONE[130:150]])])


def test_another_reference_is_refused(tmp_path):
    other = {**SEQUENCES, "chr2": TWO[:1999] + {"A": "C"}.get(TWO[1999], "A") + TWO[2000:]}
    message = (
        rf"tp-comp\.vcf\.gz: record chr2:2000:v1: REF is {TWO[1999]}, and .*reference\.fa has [AC] there; expected the"
    )
    refused(tmp_path, source_of(tmp_path, other), message)


def test_a_contig_that_is_not_there_or_too_short_is_refused(tmp_path):
    lacking = {name: sequence for name, sequence in SEQUENCES.items() if name != "chrX"}
    message = r"fp\.vcf\.gz: record chrX:7:b1: the reference .*reference\.fa has no contig chrX"
    refused(tmp_path / "a", source_of(tmp_path / "a", lacking), message)
    short = {**SEQUENCES, "chr1": ONE[:899]}
    message = r"fp\.vcf\.gz: record chr1:500:d2: reaches 900, beyond the end of chr1 at 899 in .*reference\.fa"
    refused(tmp_path / "b", source_of(tmp_path / "b", short), message)


def test_a_reference_without_its_index_is_refused_and_not_indexed(tmp_path):
    source = source_of(tmp_path)
    folder = tmp_path / "genome"
    (folder / "reference.fa.fai").unlink()
    refused(
        tmp_path,
        source,
        r"reference\.fa: no index reference\.fa\.fai beside it; make it: samtools faidx .*reference\.fa",
    )
    assert [path.name for path in folder.iterdir()] == ["reference.fa"]
    source["reference"] = str(folder / "nothing.fa")
    refused(tmp_path, source, r"nothing\.fa: no such file; expected a reference in FASTA")


@pytest.mark.parametrize("kind", ["index", "gzip"])
def test_a_reference_that_cannot_be_read_is_refused(tmp_path, capfd, kind):
    source = source_of(tmp_path)
    path = tmp_path / "genome" / "reference.fa"
    if kind == "index":
        path.with_name("reference.fa.fai").write_text("chr1\tmany\n")
    else:
        content, path = path.read_bytes(), path.with_name("packed.fa.gz")
        path.write_bytes(gzip.compress(content))
        source["reference"] = str(path)
        for suffix in (".fai", ".gzi"):
            path.with_name(path.name + suffix).write_bytes(b"")
    refused(tmp_path, source, "not a FASTA file that samtools has indexed")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("reference", [True, False])
def test_simulated_calls_are_prepared_with_what_was_planted(tmp_path, reference):
    drawn = {"calls": 120, "true_share": 0.6, "chromosomes": 4, "strength": 1.0, "reference": reference}
    settings = SETTINGS | {"source": {"kind": "simulate", **drawn}, "attributes": ["PE", "SR"]}
    raw = tmp_path / "raw"
    raw.mkdir()
    truth = simulate(raw, settings, 3)
    prepare(sorted(raw.iterdir()), settings, tmp_path / "dataset.h5", 0)
    with Dataset.open(tmp_path / "dataset.h5") as data:
        assert ("flanks" in data.branches) == reference
        assert set(truth["feature"]) <= set(data.features["name"])
        assert len(data) == 120
        samples = data.samples
        alleles, absent = data.inputs("alleles"), data.mask("alleles").all(axis=1)
    assert set(samples["dataset"]) == {"simulated"}
    planted = dict(line.split("\t")[:2] for line in (raw / "planted.tsv").read_text().splitlines()[1:])
    assert samples["planted_element"].astype(str).tolist() == [planted[name] for name in samples["id"]]
    small = samples["planted_size"] == 1
    assert samples["size"][small].between(50, 90).all()
    assert (samples["planted_inversion"] == samples["type"].eq("INV")).all()
    np.testing.assert_allclose(alleles[~absent].sum(axis=1), 1, rtol=1e-5)
    table = (raw / "planted.tsv").read_text().splitlines()
    (raw / "planted.tsv").write_text("\n".join(table[:-1]) + "\n")
    with pytest.raises(ConsilienceError, match=r"planted\.tsv: no row .*; expected one for every call"):
        prepare(sorted(raw.iterdir()), settings, tmp_path / "other.h5", 0)
