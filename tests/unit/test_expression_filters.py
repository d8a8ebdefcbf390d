"""Keywords match names and not what a text denies; every filter tells the audit what it left."""

import numpy as np
import pytest
import yaml

from consilience.audit import Audit
from consilience.domains.expression.archs4 import inspect
from consilience.domains.expression.filters import choose_genes, choose_samples
from consilience.domains.expression.keywords import mentions, read_keywords
from consilience.errors import ConsilienceError
from tests.unit.expression_examples import MYELOID, ROOT, archive, settings

SHIPPED = read_keywords(MYELOID)
NAMED = [
    *("HL-60", "HL60 cells", "hl 60", "hl_60 rep1", "HL–60", "MV4-11", "MV4;11", "mv411", "NB-4", "U-937", "MOLM13"),
    *("THP-1", "THP1", "THP_1 control", "human THP monocytic line", "Monocytes", "MONOCYTE-derived", "macrophages"),
    *("AML_patient_3", "(AML)", "MDS/AML", "acute myeloid leukemia", "CD14+ cells", "CD14-positive", "CD14-sorted"),
    *("CD34-CD14+ cells", "CD14 - replicate 1", "anti-CD14 beads", "dendritic cells", "MUTZ-3"),
    *("MV4:11", "MV4/11", "HL.60", "OCI/AML3"),
    *("THP-1 negative control", "THP1_negative_control_siRNA_rep1", "U937_neg_ctrl_rep1", "THP-1: negative-control"),
    *("HL60 cells negative control", "monocytes negative control siRNA", "NB4 neg. ctrl", "monocytes negative siRNA"),
    *("MOLM-13 depleted of BRD4", "THP-1 depleted for KDM1A", "HL-60 depletion of CTCF", "AML depleted for CD3"),
    *(
        "AML neg. for NPM1",
        "AML negative FLT3",
        "AML_neg_NPM1",
        "macrophages free of serum",
        "monocytes negative in PCR",
    ),
    *("THP-1 minus doxycycline", "CD14+ CD3-negative cells", "CD14+ CD33-negative cells", "AML (negative for FLT3)"),
]
NOT_NAMED = [
    "CD141+ cells",
    "AML12 hepatocytes",
    "amlodipine",
    "myeloma",
    "nonmyeloid",
    "thpx",
    "HEK293",
    "CD14neg",
    "",
]
DENIED = [
    *("non-myeloid", "Non myeloid cells", "NON-MYELOID", "myeloid-depleted", "myeloid depleted PBMC", "not AML"),
    *("myeloid cell-depleted", "monocyte/macrophage-depleted", "monocyte-free", "without monocytes"),
    *("depleted of CD14+ monocytes", "depleted of monocytes and macrophages", "negative for CD14"),
    *(
        "CD14-negative",
        "CD14 negative cells",
        "CD14 neg",
        "CD14(neg)",
        "CD14-",
        "CD14-, CD3+",
        "CD14-CD16-",
        "CD14 (-)",
    ),
    *("CD14-ve", "CD14−CD3+", "CD33-CD14-", "non-monocyte/macrophage"),
    *("CD14+ depleted", "CD14+-depleted PBMCs", "CD14(+)-depleted", "CD14+ cell depleted PBMC", "CD14 minus"),
    *("CD14+ monocyte-depleted PBMC", "CD16+ monocyte-depleted", "depletion of CD14 monocytes", "CD14: negative"),
    *("depleted of CD14+ and CD33+ cells", "depleted of CD14(+) monocytes", "negative for CD14/CD33", "neg. for CD14"),
    *("not a monocyte", "without any macrophages", "neither AML nor MDS", "neither monocytes, nor macrophages"),
    *("monocytes were depleted", "macrophage-free FCS", "CD14 negative CD3 cells", "AML-negative FLT3"),
    *("monocyte/CD14-negative", "CD14_negative_rep1", "myeloid depleted CD34 cells", "monocyte negative rep1"),
    *("myeloid-depleted in vivo", "CD14-negative in FACS"),
]
DENIED_BESIDE = [
    *("AML negative for FLT3-ITD", "AML, CD14-negative fraction", "AML and CD14-negative cells", "CD14- monocytes"),
    *("monocytes, negative selection", "monocyte negative selection", "non-classical monocytes", "CD14+CD33- cells"),
    *("non-adherent monocytes", "non-myeloid and AML", "depleted of T cells; monocytes"),
]


def found(texts, keywords=SHIPPED):
    return mentions(np.array(texts, dtype=object), keywords)


@pytest.mark.parametrize("text", [*NAMED, *DENIED_BESIDE])
def test_the_shipped_list_finds_what_a_reader_would(text):
    assert found([text])[0].any()


@pytest.mark.parametrize("text", [*NOT_NAMED, *DENIED])
def test_the_shipped_list_finds_no_more_than_a_reader_would(text):
    assert not found([text])[0].any()


def test_only_the_denied_of_two_mentions_counts_for_nothing():
    names = ["AML", "CD14", "CD33", "monocyte", "THP-1"]
    texts = ["THP-1 depleted of CD14", "CD14+ CD33-negative cells", "AML neg. for CD33", "AML CD14 negative FLT3"]
    assert [[names[column] for column in np.flatnonzero(row)] for row in found(texts, names)[0]] == [
        *(["THP-1"], ["CD14"], ["AML"], ["AML"])
    ]
    assert found(["monocyte-depleted AML", "AML12"], ["AML", "monocyte"])[0].tolist() == [[True, False], [False] * 2]


def test_denied_mentions_are_told_apart_from_none():
    assert found(DENIED)[1].all()
    assert not found(NOT_NAMED)[1].any()


def test_every_keyword_finds_itself_whatever_its_case_and_spelling():
    for spelling in (
        str,
        str.upper,
        str.lower,
        lambda name: name.replace("-", " "),
        lambda name: name.replace("-", ""),
    ):
        hits = found([f"x {spelling(keyword)} y" for keyword in SHIPPED])[0]
        assert hits.diagonal().all()


def test_each_keyword_is_counted_on_its_own():
    hits = found(["THP-1 and U937", "THP", "CD14- AML", "nothing", "U937"], ["THP", "THP-1", "AML", "U937", "CD14"])[0]
    assert hits.astype(int).tolist() == [[1, 1, 0, 1, 0], [1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0] * 5, [0, 0, 0, 1, 0]]


def test_the_order_of_the_keywords_and_of_the_texts_does_not_matter():
    texts = [*NAMED, *DENIED, *NOT_NAMED, *DENIED_BESIDE]
    hits = found(texts)[0]
    np.testing.assert_array_equal(found(texts[::-1], SHIPPED[::-1])[0][::-1, ::-1], hits)
    each = np.column_stack([found(texts, [keyword])[1] for keyword in SHIPPED])
    assert (hits <= each).all()


def test_the_shipped_list_has_what_the_cohort_is_known_by():
    needed = "monocyte macrophage myeloid dendritic neutrophil AML MDS CD14 CD33 U937 THP-1 HL-60 MOLM NB4 MV4-11 MUTZ"
    assert set(needed.split()) <= set(SHIPPED)
    assert MYELOID.read_text().startswith("#")


def test_keyword_files(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# cells\nmonocyte  # CD14+\n\nHL-60\nmonocyte\n")
    assert read_keywords(path) == ["monocyte", "HL-60"]
    for content, message in (("# none\n", r"list\.txt: no keyword"), ("ok\n--\n", "keyword '--' has neither")):
        path.write_text(content)
        with pytest.raises(ConsilienceError, match=message):
            read_keywords(path)
    with pytest.raises(ConsilienceError, match=r"absent\.txt: no such keyword file"):
        read_keywords(tmp_path / "absent.txt")


def cohort(tmp_path, **changes):
    """Nine samples: two single cells, one without a probability, one denied, two of other tissue, three that pass."""
    fields = {
        "meta/samples/singlecellprobability": np.array([0.5, 0.1, 0.9, np.nan, 0, 0.6, 0, 0, 0.2], np.float32),
        "meta/samples/source_name_ch1": ["THP-1", "liver", "AML", "AML", "non-myeloid", "x", "x", "liver", "AML, U937"],
        "meta/samples/title": ["a", "b", "c", "d", "e", "f", "CD14+ monocytes", "h", "AML"],
    }
    opened = inspect(archive(tmp_path / "a.h5", fields={**fields, **changes.pop("fields", {})}))
    audit = Audit(opened.samples, 12, "a.h5")
    return opened, settings(**changes)["filter"], audit


def test_samples_are_filtered_and_the_audit_tells(tmp_path):
    opened, chosen, audit = cohort(tmp_path)
    assert choose_samples(opened, chosen, audit).tolist() == [0, 6, 8]
    table = audit.frame().set_index("rule")
    cells = table.loc["singlecellprobability <= 0.5"]
    assert (cells["samples_before"], cells["samples_after"]) == (9, 6)
    assert cells["note"] == "1 without a probability are left out"
    last = audit.frame().iloc[-1]
    assert (last["step"], last["samples_before"], last["samples_after"]) == ("keywords", 6, 3)
    assert last["note"] == "52 of 58 keywords occur nowhere; 1 samples mention keywords in denial only"
    admitted = table[(table["step"] == "keyword") & (table["samples_after"] > 0)]
    expected = {"monocyte": 1, "AML": 1, "CD14": 1, "U937": 1, "THP": 1, "THP-1": 1}
    assert admitted["samples_after"].to_dict() == expected
    assert set(admitted["note"]) == {"0 of them by this keyword alone"}


def test_a_keyword_alone_is_told(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("AML\nU937\nliver\n")
    opened, chosen, audit = cohort(tmp_path, keywords=str(words))
    assert choose_samples(opened, chosen, audit).tolist() == [1, 7, 8]
    table = audit.frame().set_index("rule")
    assert table.loc["AML", "note"] == "0 of them by this keyword alone"
    assert table.loc["liver", ["samples_after", "note"]].tolist() == [2, "2 of them by this keyword alone"]


def test_filters_can_be_switched_off(tmp_path):
    opened, chosen, audit = cohort(
        tmp_path,
        max_single_cell_probability=None,
        keywords=None,
        fields={"meta/samples/singlecellprobability": None, "meta/samples/characteristics_ch1": None},
    )
    assert len(choose_samples(opened, chosen, audit)) == 9
    assert len(audit.frame()) == 1


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"max_single_cell_probability": -1.0}, r"single cells \(singlecellprobability <= -1\)"),
        ({"metadata_fields": ["characteristics_ch1"]}, r"keywords \(myeloid.txt in characteristics_ch1\)"),
    ],
)
def test_where_no_sample_passes_the_audit_is_printed(tmp_path, changes, rule):
    opened, chosen, audit = cohort(tmp_path, **changes)
    with pytest.raises(ConsilienceError, match=rf"a\.h5: no sample is left after the filter {rule}") as caught:
        choose_samples(opened, chosen, audit)
    assert "\n" not in str(caught.value)
    assert "samples_before" in caught.value.__notes__[0]
    assert "singlecellprobability" in caught.value.__notes__[0]


@pytest.mark.parametrize("field", ["singlecellprobability", "source_name_ch1", "characteristics_ch1"])
def test_a_field_the_filters_need_must_be_there(tmp_path, field):
    opened, chosen, audit = cohort(tmp_path, fields={f"meta/samples/{field}": None})
    with pytest.raises(ConsilienceError, match=rf"no field meta/samples/{field}; meta/samples has .*geo_accession"):
        choose_samples(opened, chosen, audit)


def genes(tmp_path, symbols, biotypes, target="TGT", biotype="protein_coding", ids=None, level="genes"):
    fields = {f"meta/{level}/symbol": symbols, f"meta/{level}/biotype": biotypes}
    if ids:
        fields[f"meta/{level}/ensembl_gene"] = ids
    values = np.ones((len(symbols), 4), np.uint32)
    opened = inspect(archive(tmp_path / "a.h5", values, fields=fields, level=level))
    audit = Audit(4, len(symbols), "a.h5")
    return choose_genes(opened, target, biotype, audit), audit


def test_rows_of_one_symbol_share_a_column_and_the_target_gets_the_last(tmp_path):
    coding = ["protein_coding", "protein_coding", "lncRNA", "protein_coding", "protein_coding", "lncRNA"]
    chosen, audit = genes(tmp_path, ["B", "TGT", "B", "A", "B", "C"], coding)
    assert chosen.rows.tolist() == [0, 1, 3, 4]
    assert chosen.columns.tolist() == [0, 2, 1, 0]
    assert chosen.features["name"].tolist() == ["B", "A"]
    assert chosen.features["ensembl_gene"].tolist() == ["ENSG00000,ENSG00004", "ENSG00003"]
    assert audit.frame()["features_after"].tolist() == [6, 4, 3, 2]


def test_a_target_of_another_biotype_is_taken_from_all_genes(tmp_path):
    chosen, audit = genes(tmp_path, ["A", "TGT", "B"], ["protein_coding", "lncRNA", "protein_coding"])
    assert chosen.rows.tolist() == [0, 1, 2]
    assert chosen.columns.tolist() == [0, 2, 1]
    assert audit.frame().iloc[-1]["note"] == "not of this biotype, but found among all genes"


def test_all_biotypes_can_be_taken(tmp_path):
    chosen, _ = genes(tmp_path, ["A", "TGT", "B"], ["x", "y", "z"], biotype=None)
    assert chosen.features["name"].tolist() == ["A", "B"]


def test_a_row_without_a_symbol_goes_by_its_ensembl_id(tmp_path):
    chosen, audit = genes(tmp_path, ["A", "", "TGT"], ["protein_coding"] * 3)
    assert chosen.features["name"].tolist() == ["A", "ENSG00001"]
    assert "1 rows" in audit.frame()["note"].tolist()
    with pytest.raises(ConsilienceError, match="row 1 of meta/genes has no symbol and no Ensembl id"):
        genes(tmp_path, ["A", "", "TGT"], ["protein_coding"] * 3, ids=["x", "", "y"])


@pytest.mark.parametrize(
    ("symbols", "target", "message"),
    [
        (["IRF2BP1", "A"], "IRF2BP2", "target: no gene 'IRF2BP2' among 2 genes; nearest: IRF2BP1"),
        (["TGT", "A", "TGT"], "TGT", r"target: 'TGT' names 2 genes \(rows 0, 2\); expected one gene"),
        (["TGT"], "TGT", "no gene is left after the filter target"),
    ],
)
def test_a_target_must_be_one_gene_among_others(tmp_path, symbols, target, message):
    with pytest.raises(ConsilienceError, match=message):
        genes(tmp_path, symbols, ["protein_coding"] * len(symbols), target)


def test_transcripts_of_a_target_are_one_gene_unless_its_ids_differ(tmp_path):
    coding = ["protein_coding", "protein_coding", "retained_intron", "protein_coding"]
    symbols = ["TGT", "TGT", "TGT", "A"]
    chosen, _ = genes(tmp_path, symbols, coding, ids=["E1", "E1", "E1", "E2"], level="transcripts")
    assert chosen.rows.tolist() == [0, 1, 3]
    assert chosen.columns.tolist() == [1, 1, 0]
    with pytest.raises(ConsilienceError, match="names 3 transcripts"):
        genes(tmp_path, symbols, coding, ids=["E1", "E1", "E3", "E2"], level="transcripts")


def test_no_gene_of_the_biotype_tells_those_there_are(tmp_path):
    with pytest.raises(ConsilienceError, match="no gene is left after the filter biotype") as caught:
        genes(tmp_path, ["A", "TGT"], ["lncRNA", "miRNA"])
    assert "the file has lncRNA, miRNA" in caught.value.__notes__[0]


def test_the_schema_describes_every_key_and_allows_no_other():
    schema = yaml.safe_load((ROOT / "workflow/consilience/domains/expression/schema.yaml").read_text())
    open_objects, silent, undecided = [], [], []

    def walk(part, path, required):
        if "properties" in part and part.get("additionalProperties") is not False:
            open_objects.append(path)
        for key, child in part.get("properties", {}).items():
            where = f"{path}.{key}"
            shared = where in (".split", ".models")
            if not shared and "description" not in child:
                silent.append(where)
            if key not in required and "default" not in child and not shared:
                undecided.append(where)
            walk(child, where, child.get("required", []))

    for kind, source in schema["sources"].items():
        walk(source, kind, source.get("required", []))
    walk({**schema, "additionalProperties": False}, "", schema["required"])
    walk(schema["properties"]["models"]["additionalProperties"], "models", [])
    assert (open_objects, silent, undecided) == ([], [], [])
