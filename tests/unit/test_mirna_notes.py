"""What the summary is told of a miRNA study."""

import numpy as np
import pandas as pd
import pytest

from consilience.domains.mirna.evidence import DRIVER_COLUMNS, METRIC_COLUMNS, METRICS
from consilience.domains.mirna.notes import LOW, SIGNIFICANT, note_lines
from consilience.domains.mirna.positions import NUCLEOTIDE_FALLS
from consilience.domains.mirna.tables import COLUMNS

METRICS_JSON = {
    name: {
        "test": {
            "matthews_corrcoef": {"value": level, "low": 0.276, "high": 0.62},
            "f1": {"value": 0.71, "low": 0.592, "high": 0.816},
            "specificity": {"value": 0.746, "low": None, "high": None},
            "average_precision": {"value": None, "low": None, "high": None},
            "accuracy": {"value": 0.5, "low": 0.4, "high": 0.6},
        }
    }
    for name, level in (("wide", 0.437), ("small", 0.1))
}


def enrichment_table(p_mirna=0.001, p_site=0.3, **changes):
    """Rows of one of two models, and others with the best p values that must not be told."""
    told = {
        "model": "small",
        "method": NUCLEOTIDE_FALLS,
        "label": "pair",
        "expected": 0.3,
        "ratio": 1.2,
        "low": 1.1,
        "high": 1.4,
        "p_value_less": 0.004,
        "samples": 20,
    }
    rows = [
        {**told, "method": "saliency", "branch": "mirna", "share": 0.98, "p_value": 0.0001},
        {**told, "label": "no pair", "branch": "mirna", "share": 0.97, "p_value": 0.0001},
        {**told, "branch": "mirna", "share": 0.344, "p_value": p_mirna},
        {**told, "branch": "site", "share": 0.151, "p_value": p_site},
    ]
    return pd.DataFrame(rows).assign(**changes)


def agreement_table(chance=0.0, **levels):
    """How methods agree with mutagenesis in two models, 0.1 below and above the level; `chance` is 0 for below all."""
    rows = []
    for model, shift in (("wide", 0.1), ("small", -0.1)):
        for place, (name, level) in enumerate(levels.items()):
            pair = ("mutagenesis", name) if place % 2 else (name, "mutagenesis")
            rows.append((model, *pair, "spearman", level + shift, level + shift - 0.15, level - 0.26 + chance))
            rows.append((model, *pair, "pearson", -0.9, -1.0, 0.9))
        rows.append((model, "deeplift", "saliency", "spearman", -0.5, -0.6, 0.9))
    return pd.DataFrame(rows, columns=["model", "method", "other", "metric", "value", "low", "chance"])


def interactions_table(p_value=0.01, parallel=0.02, at_parallel=0.2):
    rows = [
        ("small", "pair-1", 3, 0.9, 0.3, 0.1, 0.5, np.nan),
        ("small", "pair-2", 0, np.nan, np.nan, 0.2, np.nan, np.nan),
        ("small", "all", 1, 0.9, at_parallel, 0.1, p_value, parallel),
    ]
    columns = ["model", "sample", "complementary", "at_complementary", "at_parallel", "elsewhere", "p_value"]
    return pd.DataFrame(rows, columns=[*columns, "parallel_p_value"])


def stability_table(low=0.5, chance=0.2):
    rows = [("site", "sequence", 0.7, 0.6, 0.1, 0.8), ("mirna", "image", 0.61, low, chance, 0.9)]
    return pd.DataFrame(rows, columns=["branch", "kind", "stability", "low", "chance", "chance_high"])


def lines_of(**changes):
    tables = {
        "enrichment": enrichment_table(), "agreement": agreement_table(deeplift=0.5, saliency=0.4),
        "interactions": interactions_table(), "cluster_stability": stability_table(),
        "metrics": pd.DataFrame(columns=list(METRIC_COLUMNS)), "drivers": pd.DataFrame(columns=list(DRIVER_COLUMNS)),
    }  # fmt: skip
    return note_lines(tables | changes, METRICS_JSON, "wide", "small", "deeplift")


def test_a_study_without_weakness_has_these_notes():
    assert lines_of() == [
        "wide: MCC 0.437 [0.276, 0.620], F1 0.710 [0.592, 0.816], specificity 0.746, AUPRC undefined",
        "nucleotides 2-8 of the miRNA, share of what mutations change by what their place gives (20 pairs): small 1.200 "
        "[1.100, 1.400], more than chance (p = 0.001)",
        "the site's match of the seed, share of what mutations change by what their place gives (20 pairs): small 1.200 "
        "[1.100, 1.400], no more than chance (p = 0.3)",
        "agree with mutagenesis (Spearman on a pair's own k-mers): deeplift 0.500, saliency 0.400",
        "complementary windows of miRNA and site in small interact more than others (p = 0.01) and more than the same "
        "letters on parallel strands (p = 0.02): the network holds the sequences against each other; 0.9 beside 0.1, 0.2 "
        "on parallel strands, 1 pairs",
    ]


@pytest.mark.parametrize(
    ("p_value", "said"), [(SIGNIFICANT - 0.001, ", more than chance"), (SIGNIFICANT, ", no more than chance")]
)
def test_p_says_whether_it_is_chance(p_value, said):
    seed, match = lines_of(enrichment=enrichment_table(p_value, p_value))[1:3]
    assert seed.startswith("nucleotides 2-8")
    assert match.startswith("the site's match")
    assert said in seed
    assert said in match
    interactions = lines_of(interactions=interactions_table(p_value))[4]
    assert ("interact no more than others" in interactions) == (p_value >= SIGNIFICANT)


@pytest.mark.parametrize(
    ("p_value", "high", "said"),
    [
        (0.99, 0.99, "less than chance (p = 0.004)"),
        (0.99, 1.0, "no more than chance (p = 0.99)"),
        (0.99, np.nan, "no more than chance (p = 0.99)"),
        (0.01, 0.99, "more than chance (p = 0.01)"),
    ],
)
def test_depletion_is_said(p_value, high, said):
    lines = lines_of(enrichment=enrichment_table(p_value, p_value, high=high))
    assert lines[1].endswith(f", {said}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parallel": SIGNIFICANT}, "others (p = 0.01), but not clearly more than the same letters on parallel strands "
         "(p = 0.05): composition could explain it; 0.9 beside 0.1, 0.2 on parallel strands, 1 pairs"),
        ({"parallel": np.nan, "at_parallel": np.nan}, "interact more than others (p = 0.01); none are complementary on "
         "parallel strands, which would tell pairing from composition; 0.9 beside 0.1, 1 pairs"),
        ({"p_value": 0.3}, "interact no more than others (p = 0.3); 0.9 beside 0.1, 0.2 on parallel strands, 1 pairs"),
    ],
)  # fmt: skip
def test_interactions_that_composition_explains_are_no_pairing(changes, said):
    lines = lines_of(interactions=interactions_table(**changes))
    assert lines[4].endswith(said)
    assert "against each other" not in lines[4]


def test_what_is_not_known_of_an_enrichment_is_not_told():
    few = enrichment_table(low=None, high=np.nan)
    assert ": small 1.200, more" in lines_of(enrichment=few)[1]
    assert ": small undefined, more" in lines_of(enrichment=few.assign(ratio=np.nan))[1]
    table = enrichment_table()
    lines = lines_of(enrichment=table[table["branch"] == "mirna"])
    assert len(lines) == 4
    assert not any("match of the seed" in line for line in lines)
    # Rows of other methods and labels say nothing of it; other models are told beside it.
    assert len(lines_of(enrichment=table.iloc[:2])) == 3
    both = pd.concat([table, table.assign(model="wide", p_value=0.4)])
    assert lines_of(enrichment=both)[1].endswith(
        "(20 pairs): wide 1.200 [1.100, 1.400], no more than chance (p = 0.4); small 1.200 [1.100, 1.400], more than "
        "chance (p = 0.001)"
    )


def test_methods_that_hardly_agree_with_mutagenesis_are_named():
    lines = lines_of(agreement=agreement_table(weak=LOW - 0.01, deeplift=0.5, none=-0.2, saliency=LOW))
    assert lines[3] == (
        "agree with mutagenesis (Spearman on a pair's own k-mers): deeplift 0.500, saliency 0.300, weak 0.290, none -0.200"
    )
    said = "these hardly agree with mutagenesis (below 0.3, or no more than the chance told): "
    assert lines[4] == f"{said}weak, none"
    # By size, what branches have alone makes methods agree: one that has no more than that says nothing.
    lines = lines_of(agreement=agreement_table(0.3, grad_cam=0.5))
    assert lines[4] == f"{said}grad_cam (chance 0.540)"


def test_an_agreement_that_is_not_defined_is_low():
    table = agreement_table(deeplift=0.5, constant=0.4)
    constant = (table[["method", "other"]] == "constant").any(axis=1)
    lines = lines_of(agreement=table.assign(value=table["value"].where(~constant)))
    assert lines[3].endswith(": deeplift 0.500, constant undefined")
    assert lines[4].endswith(": constant")


def test_without_mutagenesis_nothing_is_held_against_it():
    table = agreement_table(deeplift=0.5)
    without = table[(table[["method", "other"]] != "mutagenesis").all(axis=1)]
    assert not any("mutagenesis (" in line for line in lines_of(agreement=without))
    assert len(lines_of(agreement=without)) == 4


def test_without_complementary_windows_interactions_are_not_tested():
    lines = lines_of(interactions=interactions_table().iloc[1:2])
    assert lines[4] == "no pair has complementary windows: interactions are not tested"


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ((0.21, 0.2), None),
        ((0.2, 0.2), "mirna by image 0.610 (chance 0.200, up to 0.900)"),
        ((np.nan, 0.7), "mirna by image 0.610 (chance 0.700, up to 0.900)"),
        ((0.5, np.nan), "mirna by image 0.610 (chance undefined, up to 0.900)"),
    ],
)
def test_clusters_that_come_out_not_clearly_more_than_unrelated_ones_are_told(levels, told):
    lines = lines_of(cluster_stability=stability_table(*levels))
    if told is None:
        assert len(lines) == 5
    else:
        assert lines[5] == (
            "clusters of k-mers (deeplift) that come out again not clearly more than unrelated ones (adjusted Rand "
            "index): " + told
        )


def test_empty_tables_have_the_metrics_alone_to_tell():
    every = COLUMNS | {"metrics": METRIC_COLUMNS, "drivers": DRIVER_COLUMNS}
    empty = {name: pd.DataFrame(columns=list(columns)) for name, columns in every.items()}
    lines = note_lines(empty, METRICS_JSON, "small", "small", "deeplift")
    assert lines[0].startswith("small: MCC 0.100")
    assert lines[1:] == ["no pair has complementary windows: interactions are not tested"]


def test_what_networks_are_held_against_is_told_by_the_same_metrics():
    values = {"matthews_corrcoef": (0.3, 0.2, 0.4), "f1": (0.5, None, None), "specificity": (0.9, None, None)}
    rows = [
        (predictor, kind, name, *values.get(name, (None, None, None)))
        for predictor, kind in (
            ("small", "network"),
            ("logistic", "linear"),
            ("class_prior", "trivial"),
            ("seed_match", "trivial"),
        )
        for name in METRICS
    ]
    lines = lines_of(metrics=pd.DataFrame(rows, columns=list(METRIC_COLUMNS)))
    told = "MCC 0.300 [0.200, 0.400], F1 0.500, specificity 0.900, AUPRC undefined"
    assert lines[1:3] == [f"logistic: {told}", f"seed_match: {told}"]


def test_drivers_of_two_signs_are_counted_by_branch():
    rows = [("mirna", False), ("mirna", True), ("mirna", False), ("site", True)]
    table = pd.DataFrame(rows, columns=["branch", "signs_agree"])
    lines = lines_of(drivers=table)
    assert lines[1].startswith("2 of 3 mirna drivers have a mean attribution (deeplift) of the other sign")
    assert not any("site drivers" in line for line in lines)
