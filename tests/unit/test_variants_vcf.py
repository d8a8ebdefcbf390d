"""Calls are read as VCF tells them, without a word from htslib; what is no whole call file is refused in one line."""

import gzip

import pysam
import pytest

from consilience.domains.variants.calls import LABEL_FIELDS, NO_SIZE, chromosome_of
from consilience.domains.variants.vcf import count_calls, declared, read_calls, refuse_answers
from consilience.errors import ConsilienceError
from tests.unit.variants_examples import FIELDS, record, write_vcf

# The text of a call, and what is expected of it: type, end, size.
CALLS = {
    "told by SVLEN": (record("a", SVTYPE="DEL", SVLEN=-50, END=151), ("DEL", 151, 50)),
    "positive SVLEN": (record("a", SVTYPE="DEL", SVLEN=50, END=150), ("DEL", 150, 50)),
    "told by END": (record("a", SVTYPE="DUP", alt="<DUP>", END=400), ("DUP", 400, 300)),
    "told by alleles": (record("a", ref="ACGTA", alt="A", SVTYPE="DEL"), ("DEL", 104, 4)),
    "no extent": (record("a", SVTYPE="INV", alt="<INV>"), ("INV", 100, NO_SIZE)),
    "END before POS": (record("a", SVTYPE="DEL", END=50), ("DEL", 100, NO_SIZE)),
    "SVLEN without END": (record("a", SVTYPE="DEL", SVLEN=-50), ("DEL", 150, 50)),
    "missing SVLEN": (record("a", SVTYPE="DEL", SVLEN=".", END=130), ("DEL", 130, 30)),
    "symbolic insertion": (record("a", alt="<INS>", SVTYPE="INS", SVLEN=300, END=100), ("INS", 100, 300)),
    "insertion by INSLEN": (record("a", alt="<INS>", SVTYPE="INS", INSLEN=70), ("INS", 100, 70)),
    "insertion by alleles": (record("a", alt="AACGT", SVTYPE="INS"), ("INS", 100, 4)),
    "insertion of unknown size": (record("a", alt="<INS>", SVTYPE="INS"), ("INS", 100, NO_SIZE)),
    "breakend": (record("a", alt="N[chr2:50[", SVTYPE="BND", SVLEN=80, END=300), ("BND", 100, NO_SIZE)),
    "mate elsewhere": (record("a", alt="<TRA>", SVTYPE="TRA", CHR2="chr2", END=20), ("BND", 100, NO_SIZE)),
    "subtype": (record("a", alt="<DUP:TANDEM>", SVTYPE="DUP:TANDEM", SVLEN=30, END=130), ("DUP", 130, 30)),
    "copy number": (record("a", alt="<CNV>", SVTYPE="CNV", END=180), ("CNV", 180, 80)),
    "another type": (record("a", alt="<CPX>", SVTYPE="CPX", END=180), ("CPX", 180, NO_SIZE)),
    # Up to VCF 4.3, SVLEN is the difference of lengths.
    "no difference": (record("a", alt="<INV>", SVTYPE="INV", SVLEN=0, END=400), ("INV", 400, 300)),
    "no difference in copies": (record("a", alt="<CNV>", SVTYPE="CNV", SVLEN=0, END=180), ("CNV", 180, 80)),
    "no difference, no reach": (record("a", SVTYPE="DEL", SVLEN=0, END=100), ("DEL", 100, NO_SIZE)),
    "duplication by alleles": (record("a", alt="ACGTA", SVTYPE="DUP"), ("DUP", 100, 4)),
    "duplication of what REF spells": (record("a", ref="ACG", alt="ACGCG", SVTYPE="DUP"), ("DUP", 102, 2)),
    "insertion of 0": (record("a", alt="AACGT", SVTYPE="INS", SVLEN=0, INSLEN=0), ("INS", 100, 4)),
    "insertion of 0, unknown": (record("a", alt="<INS>", SVTYPE="INS", SVLEN=0, END=100), ("INS", 100, NO_SIZE)),
}  # fmt: skip
FINE = record("fine", SVTYPE="DEL", END=200)


def only(path, attributes=()):
    (call,) = read_calls(path, attributes)
    return call


def refused(path, message, attributes=()):
    with pytest.raises(ConsilienceError, match=message) as caught:
        list(read_calls(path, attributes))
    told = str(caught.value)
    assert told.startswith(f"{path}: ")
    assert "\n" not in told


@pytest.mark.parametrize("kind", CALLS)
def test_type_end_and_size_are_as_told(tmp_path, kind):
    text, expected = CALLS[kind]
    call = only(write_vcf(tmp_path / "calls.vcf", [text]))
    assert (call.type, call.end, call.size) == expected
    assert (call.contig, call.position, call.name) == ("chr1", 100, "a")


def test_a_call_holds_what_the_line_says(tmp_path):
    text = record(
        ".", 7, "chr2", "ac", "acgtt", "12.5", "LowQual;weak",
        SVTYPE="INS", SVLEN=3, PE=4, SRQ=-0.5, CONSENSUS="acgnT", IMPRECISE=True,
    )  # fmt: skip
    call = only(write_vcf(tmp_path / "calls.vcf", [text], filters=["LowQual", "weak"]), ["SRQ", "MAPQ", "PE", "absent"])
    assert (call.name, call.place) == (".", "chr2:7:.")
    assert (call.ref, call.alt, call.explicit) == ("AC", "ACGTT", True)
    assert (call.quality, call.filter, call.consensus) == (12.5, "LowQual;weak", "ACGNT")
    assert call.attributes == (-0.5, None, 4, None)


def test_what_a_line_leaves_open_is_absent(tmp_path):
    call = only(
        write_vcf(tmp_path / "calls.vcf", [record("a", quality=".", filters=".", SVTYPE="DEL", PE=".", CONSENSUS=".")]),
        ["PE"],
    )
    assert (call.quality, call.filter, call.consensus, call.attributes) == (None, ".", "", (None,))
    assert (call.alt, call.explicit) == ("<DEL>", False)


@pytest.mark.parametrize("alt", ["<DEL>", "N[chr2:50[", "]chr2:50]ACG", "ACG.", "*"])
def test_only_a_sequence_is_an_explicit_allele(tmp_path, alt):
    call = only(write_vcf(tmp_path / "calls.vcf", [record("a", alt=alt, SVTYPE="BND")]))
    assert (call.alt, call.explicit) == (alt, False)


def test_svlen_of_each_allele_is_that_of_the_only_one(tmp_path):
    path = write_vcf(
        tmp_path / "calls.vcf", [FINE.replace("END", "SVLEN=70;END")], fields=FIELDS | {"SVLEN": "A,Integer"}
    )
    assert only(path).size == 70


def test_plain_and_bgzipped_files_hold_the_same_calls(tmp_path):
    records = [text.replace("\ta\t", f"\t{row}\t") for row, (text, _) in enumerate(CALLS.values())]
    plain, packed = (write_vcf(tmp_path / name, records) for name in ("calls.vcf", "calls.vcf.gz"))
    assert packed.read_bytes()[:2] == b"\x1f\x8b"
    assert list(read_calls(plain, ["PE"])) == list(read_calls(packed, ["PE"]))
    assert count_calls(plain) == count_calls(packed) == len(records)


def test_a_header_tells_which_attributes_there_are(tmp_path):
    path = write_vcf(tmp_path / "calls.vcf", [FINE])
    sizes_and_sequence = {"SVLEN", "INSLEN", "CONSENSUS"}
    assert declared(path, ["PE", "nothing", "SRQ"]) == {"PE", "SRQ"} | sizes_and_sequence
    assert declared(path, ["SRMAPQ"]) == {"SRMAPQ", "SR"} | sizes_and_sequence
    for name, kind in (("PRECISE", "Number=0, Type=Flag"), ("CHR2", "Number=1, Type=String")):
        with pytest.raises(ConsilienceError, match=rf"calls\.vcf: INFO/{name} is declared as {kind}; an attribute is"):
            declared(path, ["PE", name])
    path = write_vcf(tmp_path / "two.vcf", [FINE], fields=FIELDS | {"PE": "2,Integer"})
    with pytest.raises(ConsilienceError, match="INFO/PE is declared as Number=2, Type=Integer"):
        declared(path, ["PE"])
    assert declared(path, ["MAPQ"]) == {"MAPQ"} | sizes_and_sequence


@pytest.mark.parametrize(
    ("ref", "alt", "expected"),
    [
        ("A", "ACGT", ("", "CGT")),
        ("acgt", "A", ("CGT", "")),
        ("AAC", "AAG", ("AC", "AG")),
        ("N", "ACGT", ("N", "ACGT")),
        ("ACGT", "N", ("ACGT", "N")),
        ("C", "GTT", ("C", "GTT")),
    ],
)
def test_alleles_lose_the_first_base_only_where_they_share_it(tmp_path, ref, alt, expected):
    path = write_vcf(tmp_path / "calls.vcf", [record("a", ref=ref, alt=alt, SVTYPE="DEL", SVLEN=3)])
    assert only(path).alleles == expected


@pytest.mark.parametrize(
    ("contig", "expected"),
    [
        ("chr1", "1"), ("1", "1"), ("chrX", "X"), ("chrM", "MT"), ("MT", "MT"), ("chr17", "17"),
        ("chr1_KI270706v1_random", "1"), ("22_KI270731v1_random", "22"), ("chrUn_KI270302v1", "Un"), ("chrY_x_y", "Y"),
        ("NC_000001.11", "NC_000001.11"), ("scaffold_12", "scaffold_12"), ("contig_5", "contig_5"),
        ("HLA-A*01:01", "HLA-A*01:01"), ("chr2L_extra", "2L_extra"), ("chr", "chr"), ("_1", "_1"),
    ],
)  # fmt: skip
def test_only_a_chromosome_takes_in_its_contigs(contig, expected):
    assert chromosome_of(contig) == expected


@pytest.mark.parametrize("name", sorted(LABEL_FIELDS))
def test_no_attribute_may_hold_the_answer(name):
    refuse_answers(["PE", "SR"])
    with pytest.raises(ConsilienceError, match=f"attributes: {name} is written by the comparison with the truth"):
        refuse_answers(["PE", name])


RECORDS = {
    "no type": (record("b", END=200), "no INFO/SVTYPE; expected the type of the call"),
    "a type without a name": (record("b", END=200) + ";SVTYPE", "no INFO/SVTYPE"),
    "no allele": (record("b", alt=".", SVTYPE="DEL"), "0 alternative alleles; expected 1"),
    "two alleles": (record("b", alt="<DEL>,<INS>", SVTYPE="DEL"), "2 alternative alleles; expected 1"),
    "beyond the end": (record("b", SVTYPE="DEL", END=10_001), "reaches 10001, beyond the end of chr1 at 10000"),
    "a consensus that is none": (record("b", SVTYPE="DEL", CONSENSUS="AC-T"), "INFO/CONSENSUS is 'AC-T'; expected"),
    "a quality that is none": (record("b", quality="inf", SVTYPE="DEL"), "QUAL is inf; expected a finite number"),
    "an attribute that is none": (record("b", SVTYPE="DEL", SRQ="nan"), "INFO/SRQ is nan; expected a finite number"),
}


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_that_is_no_call_is_named(tmp_path, kind):
    text, message = RECORDS[kind]
    refused(write_vcf(tmp_path / "calls.vcf", [FINE, text]), f"record chr1:100:b: {message}", ["SRQ"])


def test_a_contig_that_the_header_lacks_is_named(tmp_path):
    path = write_vcf(tmp_path / "calls.vcf", [FINE, record("b", contig="chrZ", SVTYPE="DEL")])
    refused(path, "record chrZ:100:b: the header names no contig chrZ")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"contigs": {}}, "the header names no contig"),
        ({"fields": {"END": "1,Integer"}}, "the header declares no INFO/SVTYPE"),
        ({"fields": FIELDS | {"SVLEN": "1,String"}}, "INFO/SVLEN is declared as String; expected Integer"),
    ],
)
def test_a_header_of_no_calls_is_refused(tmp_path, header, message):
    refused(write_vcf(tmp_path / "calls.vcf", [FINE], **header), message)


def many(path):
    """Calls that fill several blocks of bgzip."""
    return write_vcf(path, [record(f"d{row}", 1 + row % 9000, SVTYPE="DEL", SVLEN=row) for row in range(4000)])


def shortened(path, size):
    path.write_bytes(path.read_bytes()[:size])
    return path


def faulty(folder, kind):
    path = folder / "calls.vcf.gz"
    if kind == "cut short":
        return shortened(many(path), 20_000)
    if kind == "cut between blocks":
        content = many(path).read_bytes()
        return shortened(path, int.from_bytes(content[16:18], "little") + 1)
    if kind == "changed":
        content = bytearray(many(path).read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    elif kind == "gzip":
        path.write_bytes(gzip.compress(write_vcf(folder / "plain.vcf", [FINE]).read_bytes()))
    else:
        texts = {"empty": "", "text": "chromosome\tposition\nchr1\t100\n", "no columns": "##fileformat=VCFv4.2\n"}
        path.write_text(texts[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "not a VCF file with a header"),
        ("text", "not a VCF file with a header"),
        ("no columns", "not a VCF file with a header"),
        ("cut short", "truncated; expected plain or bgzipped VCF, whole"),
        ("cut between blocks", "truncated; expected plain or bgzipped VCF, whole"),
        ("changed", r"record \d+ cannot be read: truncated or malformed VCF"),
        ("gzip", "compressed by gzip; expected plain text or bgzip"),
    ],
)
def test_what_is_no_whole_file_is_refused_without_a_word_of_htslib(tmp_path, capfd, kind, message):
    path, verbosity = faulty(tmp_path, kind), pysam.get_verbosity()
    refused(path, message)
    assert capfd.readouterr() == ("", "")
    assert pysam.get_verbosity() == verbosity


@pytest.mark.parametrize("text", ["chr1\t100\ta\tA", record("b", position="far", SVTYPE="DEL")])
def test_a_line_that_is_no_record_is_counted(tmp_path, capfd, text):
    refused(write_vcf(tmp_path / "calls.vcf", [FINE, text]), "record 2 cannot be read: truncated or malformed VCF")
    assert capfd.readouterr().err == ""


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path / "calls.vcf", "no such file")
