"""What the summary is told of a study of structural variants, by words, when all is well and when it is not."""

import pytest

from consilience.domains.variants.notes import (
    AGAIN,
    DEAD,
    bias_lines,
    dictionary_line,
    headline,
    note_lines,
    recovery_lines,
    weaknesses,
)
from consilience.domains.variants.report_text import summary_text
from tests.unit.variants_findings_examples import good, performance, recovery_rows


def test_notes_of_a_good_study():
    assert note_lines(good()) == [
        "wide: test AUROC 0.900 [0.850, 0.940], QUAL alone 0.650 [0.600, 0.700], size alone 0.620 [0.580, 0.660]",
        "20 of 45 (44 %) tested atoms are biased (q < 0.05) (3 more are active in too few training calls): 12 toward "
        "true and 8 toward false calls; 15 of 20 (75 %) are confirmed on calls of the test role",
        "within strata of type, size and dataset (Cochran-Mantel-Haenszel, q < 0.05) 18 of 20 (90 %) biased atoms stay "
        "so",
        "dictionary 24to48_k8: it explains 71.0 % of the variance of test calls (8 principal components 61.0 %) with "
        "8.3 atoms a call (k = 8), 75.0 % of its atoms come again from another random start",
        "strongest raw features (mean of the networks): +alleles ACG, -type INV",
        "planted raw features, average precision (chance 0.080): voters 0.410, by slope 0.520 (signs right: 90.0 %); "
        "logistic 0.410, by slope 0.520 (signs right: 90.0 %); difference of class means, without atoms 0.990",
    ]


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ((0.9, 0.66, 0.95), None),
        ((0.9, 0.64, 0.95), "is not clearly better than QUAL alone"),
        ((0.7, 0.5, 0.8), "is not clearly better than QUAL alone and size alone"),
        ((0.9, None, None), None),
        ((0.6, None, None), "is not clearly better than QUAL alone and size alone"),
        ((None, None, None), "is not clearly better than QUAL alone and size alone"),
    ],
)
def test_the_headline_says_where_the_network_is_not_clearly_better(network, told):
    line = headline(performance(network))
    assert line.endswith(told) if told else "clearly" not in line


def test_the_headline_without_qual_says_so():
    line = headline(performance(quality=None))
    assert "QUAL alone not known, size alone 0.620 [0.580, 0.660]" in line and "clearly" not in line


def test_no_biased_atom_is_one_line():
    bias = good()["bias"] | {"significant": 0}
    expected = (
        "no atom is biased toward true or false calls (q < 0.05) among 45 tested (3 more are active in too few training "
        "calls)"
    )
    assert list(bias_lines(bias)) == [expected]


def test_atoms_that_strata_turn_round_are_told():
    bias = good()["bias"]
    assert "turn" not in list(bias_lines(bias))[1]
    assert list(bias_lines(bias | {"turned_within_strata": 1}))[1].endswith("stay so, 1 of them turns round")
    assert list(bias_lines(bias | {"turned_within_strata": 2}))[1].endswith("stay so, 2 of them turn round")


def test_without_untested_atoms_nothing_is_said_of_them():
    assert "too few" not in next(bias_lines(good()["bias"] | {"alive": 45}))


def weakened(**changes):
    """The dictionary of a good study with other numbers, by role and name."""
    own = good()["dictionary"]
    for place, value in changes.items():
        role, _, name = place.partition("_")
        if role in own["by_role"]:
            own["by_role"][role][name] = value
        else:
            own["stability"]["matched_share"] = value
    return list(weaknesses(own))


def test_a_good_dictionary_has_no_weakness():
    assert weakened() == []
    assert weakened(train_dead_share=DEAD, test_l0=8.79, test_explained_variance=0.61, again=AGAIN) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_dead_share": 0.051}, "no training call excites 5.1 % of its atoms"),
        ({"test_l0": 8.9}, "test calls excite 8.9 atoms rather than 8"),
        ({"test_l0": 7.1}, "test calls excite 7.1 atoms rather than 8"),
        ({"test_explained_variance": 0.6}, "it explains less than 8 principal components do"),
        ({"again": 0.3}, "70.0 % of its atoms do not come again from another random start (cosine below 0.7)"),
    ],
)
def test_every_weakness_of_a_dictionary_is_said(changes, words):
    (told,) = weakened(**changes)
    assert told.startswith(words)


def test_dead_atoms_of_the_test_role_are_no_weakness_and_undefined_variance_neither():
    assert weakened(test_dead_share=0.9) == []
    assert weakened(test_explained_variance=None) == []


def test_weaknesses_are_one_note():
    found = good()
    found["dictionary"]["by_role"]["train"]["dead_share"] = 0.2
    found["dictionary"]["by_role"]["test"]["l0"] = 12.0
    line = next(line for line in note_lines(found) if "weak" in line)
    expected = (
        "the dictionary is weak: no training call excites 20.0 % of its atoms; test calls excite 12.0 atoms rather"
    )
    assert line.startswith(expected)


def test_an_imported_dictionary_has_no_other_start():
    own = good()["dictionary"] | {"imported": True, "stability": None}
    line = dictionary_line(own)
    assert line.startswith("dictionary 24to48_k8 (imported): it explains") and "again" not in line
    assert list(weaknesses(own)) == []


def test_signals_that_are_not_found_are_named_where_neither_size_nor_slope_finds_them():
    assert list(recovery_lines([])) == []
    assert len(list(recovery_lines(recovery_rows()))) == 1
    assert len(list(recovery_lines(recovery_rows(p_value=0.2)))) == 1
    _, lost = recovery_lines(recovery_rows(p_value=0.2, slope_p_value=None))
    assert lost.endswith("rank no higher than others in the networks: element, size")


def test_planted_features_without_signs_have_none_right():
    (line,) = recovery_lines(recovery_rows(sign_accuracy=None))
    assert line.count("without signs") == 2 and "signs right" not in line


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
        "  Strongest toward false calls: atom 7 odds ratio 0.2 [0.1, 0.4] in 31 training calls, not confirmed.",
        "  Confirmed are 10 of 12 (83 %) toward true and 5 of 8 (62 %) toward false calls.",
        "  Atom 8: 90.0 % of its calls are INS, of all 20.0 %.",
        "  Atoms 1 and 5: together in 8 calls, 2.08 by chance.",
        "  By wide, strongest are +alleles ACG, -type INV; by branch attributes 40.0 %, alleles 60.0 %.",
        "  By wide, of size: average precision 0.410, by slope 0.520 (chance 0.080), signs right: 90.0 %, 10 planted, 1 of",
    ):
        assert told in text, told


def test_the_text_says_what_is_not_known():
    found = good() | {"recovery": None}
    found["dictionary"] |= {"negative_share": 0.031, "stability": None}
    found["bias"] |= {"significant": 0}
    text = summary_text("example", found)
    assert "The data are not simulated: what truly drives the labels is not known." in text
    assert "3.1 % of the k largest pre-activations of test calls are not positive: 0 now." in text
    assert "Strongest toward" not in text and "random start" not in text
