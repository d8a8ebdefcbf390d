"""What summary.txt tells of a study of structural variants, by words."""

import pytest

from consilience.domains.variants.report_text import summary_text
from tests.unit.variants_findings_examples import good, recovery_rows


def test_the_text_is_sentences_of_all_parts():
    text = summary_text("example", good())
    lines = text.splitlines()
    assert lines[0] == "Structural variants: example"
    titles = [line for line in lines[1:] if line and not line.startswith(" ")]
    assert titles == [
        "Calls", "Prediction", "Dictionary", "Atoms that true and false calls differ in", "Types",
        "Atoms that are active together", "Raw features", "Planted raw features",
    ]  # fmt: skip
    assert all(line.endswith(".") and not line[2].islower() for line in lines if line.startswith("  "))
    for told in (
        "  The role test has 50 calls: 20 FP, 30 TP.",
        "  The network narrow has AUROC 0.700 [0.600, 0.800]",
        "  Strong toward true calls is atom 3: odds ratio 4.5 [2.25, 9] in 31 training calls, confirmed; within strata "
        "0.78 [0.13, 4.7], not significant; mean cosine 0.82 with its partners from other random starts.",
        "  Strong toward false calls is atom 7: odds ratio 0.2 [0.1, 0.4] in 31 training calls, not confirmed; within",
        "  11 of 20 (55 %) biased atoms hold in every test",
        "  Atoms by the type they are special to: DEL 5, INS 4.",
        "  Confirmed are 10 of 12 (83 %) toward true and 5 of 8 (62 %) toward false calls.",
        "  Atom 8: 90.0 % of its calls are INS, 4.5 times the share of all calls (20.0 %).",
        "  Atoms 1 and 5: together in 8 calls, 2.08 by chance.",
        "  By wide, strongest are +alleles ACG, -type INV.",
        "  By wide, the branch attributes (1 feature) has a mean size of 0.200, 40.0 % of all branches; its sum tells true "
        "calls with AUROC 0.700.",
        "  By wide, the branch alleles (32 features) has a mean size of 0.300, 60.0 % of all branches; its sum tells true "
        "calls with AUROC undefined.",
        "  Without a dictionary, boosted trees on the attributes alone: AUROC 0.700 [0.600, 0.800]",
        "on the test role; AUROC of wide less this 0.200 [0.100, 0.300].",
        "  3 atoms stand for size.",
        "  By the mean of the networks, of size: average precision 0.410, by slope 0.520 (chance 0.080), signs right: 90.0 "
        "%, 10 planted, 1 of",
        "  By logistic regression, of size: average precision 0.410",
        "  By the difference of class means, without atoms, of size: average precision 0.990 (chance",
        "  By the mean of the networks, the branch alleles (32",
    ):
        assert told in text, told
    assert "By wide, of" not in text and "voters" not in text and "y logistic," not in text and "marginal" not in text


def test_the_text_names_atoms_that_strata_turn_and_signals_without_atoms():
    found = good() | {"recovery": recovery_rows(atoms=0, p_value=0.9, slope_p_value=0.9)}
    found["bias"]["strongest_negative"][0] |= {"reversed": True, "cmh_q": 0.01}
    text = summary_text("example", found)
    assert "not confirmed; within strata 0.78 [0.13, 4.7], the other way; " in text
    assert "  No atom stands for element." in text
    assert "10 planted, 1 of them filtered out, no higher than others." in text


def test_the_text_says_what_is_not_known():
    found = good() | {"recovery": None}
    found["dictionary"] |= {"negative_share": 0.031, "stability": None}
    found["dictionary"] |= {"codes_by_sequence": {"train": {"with": 8.0, "without": 7.04}}}
    found["bias"] |= {"significant": 0}
    found["performance"]["quality"] = None
    text = summary_text("example", found)
    assert "The data are not simulated: what truly drives the labels is not known." in text
    assert "3.1 % of the k largest pre-activations of test calls are not positive: 0 now." in text
    assert "On the role train, calls with a consensus have 8.0 active atoms, calls without 7.0." in text
    assert "QUAL alone is not known (no QUAL in this source, or not of every call: audit.tsv)." in text
    assert "Strong toward" not in text and "random start" not in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cmh_q": 0.01}, "within strata 0.78 [0.13, 4.7]; cosine"),
        ({"cmh_q": 0.05}, "within strata 0.78 [0.13, 4.7], not significant; cosine"),
        ({"strata": 0, "cmh_odds": None, "cmh_low": None, "cmh_high": None, "cmh_q": None}, "no stratum tells; cosine"),
        (
            {"cmh_odds": None, "cmh_low": 0.0, "cmh_high": None},
            "within strata infinite [0, infinite], not significant;",
        ),
        ({"stability": None}, "[0.13, 4.7], not significant."),
    ],
)
def test_an_atom_of_the_lists_is_told_with_what_strata_and_other_starts_say(changes, told):
    found = good()
    found["dictionary"]["stability"]["seeds"] = 2
    found["bias"]["strongest_positive"][0] |= changes
    (line,) = [line for line in summary_text("example", found).splitlines() if "atom 3" in line]
    assert told in line
    assert ("cosine" in line) == ("stability" not in changes) and "mean cosine" not in line


def test_lists_without_atoms_say_so_and_unlike_strata_are_counted_where_there_are_several():
    found = good()
    found["bias"] |= {"strongest_positive": [], "several_strata": 0}
    text = summary_text("example", found)
    assert "  Strong toward true calls is no atom: none is significant with an interval that excludes 1." in text
    assert "Breslow" not in text
    lines = summary_text("example", good())
    assert "of which two strata or more tell, 2 of 17 (12 %) have an odds ratio that differs from stratum" in lines


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (0.0, "all 48 atoms are active."),
        (1 / 48, "1 of 48 (2 %) atoms is active in none of its calls."),
        (14 / 48, "14 of 48 (29 %) atoms are active in none of its calls."),
    ],
)
def test_dead_atoms_are_counted(share, told):
    found = good()
    found["dictionary"]["by_role"]["test"]["dead_share"] = share
    assert f"  On the role test it explains 71.0 % of the variance with 8.3 atoms a call; {told}" in summary_text(
        "x", found
    )
