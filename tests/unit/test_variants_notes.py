"""What the summary is told of a study of structural variants, by words, when all is well and when it is not."""

import pytest

from consilience.domains.variants.notes import (
    AGAIN,
    DEAD,
    bias_lines,
    dictionary_line,
    headline,
    is_lost,
    note_lines,
    raw_line,
    recovery_line,
    weaknesses,
)
from tests.unit.variants_findings_examples import good, performance, recovery_rows

ALL_WORDS = "logistic regression on the same atoms, QUAL alone and size alone"


def test_notes_of_a_good_study():
    assert note_lines(good()) == [
        "wide: test AUROC 0.900 [0.850, 0.940], logistic regression on the same atoms 0.640 [0.600, 0.700], QUAL alone "
        "0.650 [0.600, 0.700], size alone 0.620 [0.580, 0.660]",
        "the best without a dictionary: boosted trees on the raw features 0.840 [0.800, 0.880], logistic regression on the "
        "attributes alone 0.720 [0.620, 0.820]; wide is better than boosted trees on the raw features, by 0.060 [0.020, "
        "0.100]",
        "20 of 45 (44 %) tested atoms are biased (q < 0.05) (3 more are active in too few training calls): 12 toward "
        "true and 8 toward false calls; 15 of 20 (75 %) are confirmed on calls of the test role",
        "within strata of type, size, consensus and dataset (Cochran-Mantel-Haenszel, q < 0.05) 18 of 20 (90 %) biased "
        "atoms stay significant; 12 of 18 (67 %) are confirmed within those of the test role",
        "11 of 20 (55 %) biased atoms hold in every test: significant within strata too and confirmed by the test role, in all "
        "its calls and within strata, in one direction",
        "dictionary 24to48_k8: it explains 71.0 % of the variance of test calls (8 principal components 61.0 %) with "
        "8.3 atoms a call (k = 8), 75.0 % of its atoms come again from another random start",
        "strongest raw features (mean of the networks): +alleles ACG, -type INV; by branch, each summed first: "
        "alleles 60.0 %, attributes 40.0 %",
        "planted raw features: average precision 0.410 by magnitude, 0.520 by slope (chance 0.080; difference of class "
        "means, without atoms, 0.990), signs right: 90.0 %; by signal, the better of both, and how many atoms stand for "
        "it: element 0.520 (3 atoms), size 0.520 (3 atoms)",
    ]


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ((0.9, 0.66, 0.95), None),
        ((0.9, 0.645, 0.95), "is not clearly better than QUAL alone"),
        ((0.7, 0.5, 0.8), f"is not clearly better than {ALL_WORDS}"),
        ((0.9, None, None), None),
        ((0.6, None, None), f"is not clearly better than {ALL_WORDS}"),
        ((None, None, None), f"is not clearly better than {ALL_WORDS}"),
    ],
)
def test_the_headline_says_where_the_network_is_not_clearly_better(network, told):
    line = headline(performance(network))
    assert line.endswith(told) if told else "clearly" not in line


def test_the_headline_without_qual_says_so():
    line = headline(performance(quality=None))
    assert (
        "QUAL alone not known (no QUAL in this source, or not of every call: audit.tsv), size alone 0.620 [0.58" in line
        and "clearly" not in line
    )


def test_the_headline_says_where_a_linear_model_of_the_atoms_does_as_well():
    line = headline(performance(linear=(0.86, 0.8, 0.9)))
    assert "logistic regression on the same atoms 0.860 [0.800, 0.900], QUAL" in line
    assert line.endswith(": the network is not clearly better than logistic regression on the same atoms")


def test_no_biased_atom_is_one_line():
    bias = good()["bias"] | {"significant": 0}
    expected = (
        "no atom is biased toward true or false calls (q < 0.05) among 45 tested (3 more are active in too few training "
        "calls)"
    )
    assert list(bias_lines(bias)) == [expected]


def test_atoms_that_strata_reverse_are_told():
    bias = good()["bias"]
    assert "reversed" not in list(bias_lines(bias))[1]
    assert "significant, of which 1 is reversed (lean" in list(bias_lines(bias | {"turned_within_strata": 1}))[1]
    assert "significant, of which 2 are reversed (lean" in list(bias_lines(bias | {"turned_within_strata": 2}))[1]


COUNTED = ("significant", "confirmed", "within_strata", "confirmed_within_strata", "confirmed_both")


def test_one_of_a_thing_has_the_singular():
    bias = good()["bias"] | dict.fromkeys(COUNTED, 1)
    first, second, third = bias_lines(bias | {"alive": 46})
    assert "1 of 45 (2 %) tested atoms is biased (q < 0.05) (1 more is active in" in first
    assert "1 of 1 (100 %) is confirmed on" in first
    assert "1 of 1 (100 %) biased atoms stays significant; 1 of 1 (100 %) is confirmed within" in second
    assert third.startswith("1 of 1 (100 %) biased atoms holds in every test")
    own = good()["dictionary"] | {"k": 1}
    assert "(the first principal component 61.0 %)" in dictionary_line(own)
    own["by_role"]["test"]["explained_variance"] = 0.5
    assert "it explains less than the first principal component does" in list(weaknesses(own))


def test_without_atoms_within_strata_none_is_confirmed_there():
    _, line = bias_lines(good()["bias"] | {"within_strata": 0, "confirmed_within_strata": 0})
    assert line.endswith("0 of 20 (0 %) biased atoms stay significant")


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
    assert weakened(train_dead_share=DEAD, train_l0=7.21, test_l0=8.0, test_explained_variance=0.61, again=AGAIN) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_dead_share": 0.051}, "no training call excites 5.1 % of its atoms"),
        ({"test_l0": 8.9, "train_l0": 8.2}, "it gives test calls 8.9 atoms rather than 8"),
        ({"test_l0": 7.1}, "it gives test calls 7.1 atoms rather than 8 (codes are denser where networks learn than"),
        ({"test_l0": 8.9}, "it gives test calls 8.9 atoms rather than 8 (codes are sparser where networks learn than"),
        ({"train_l0": 8.9}, "it gives training calls 8.9 atoms rather than 8"),
        (
            {"train_l0": 9.1, "test_l0": 6.0},
            "it gives training calls 9.1 and test calls 6.0 atoms rather than 8 (codes are denser where networks learn",
        ),
        ({"test_explained_variance": 0.6}, "it explains less than 8 principal components do"),
        (
            {"again": 0.3},
            "70.0 % of its atoms do not come again from another random start (cosine below 0.7): what single "
            "atoms say depends on the random start of the fit",
        ),
    ],
)
def test_every_weakness_of_a_dictionary_is_said(changes, words):
    (told,) = weakened(**changes)
    assert told.startswith(words)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"with": 9.0, "without": 4.4}, "calls with a consensus have 9.0 active atoms, calls without 4.4 (absent"),
        ({"with": 4.4, "without": 9.0}, "calls with a consensus have 4.4 active atoms, calls without 9.0 (absent"),
        ({"with": 9.0, "without": 4.5}, None),
        ({"with": 0.0, "without": 0.0}, None),
        (None, None),
    ],
)
def test_codes_that_tell_of_a_consensus_are_a_weakness(counts, told):
    own = good()["dictionary"] | {
        "codes_by_sequence": counts and {"train": {"with": 9.0, "without": 0.1}, "test": counts}
    }
    lines = list(weaknesses(own))
    assert [line.startswith(told) for line in lines] == [True] if told else lines == []
    assert list(weaknesses(own | {"codes_by_sequence": {}})) == []


def test_dead_atoms_of_the_test_role_are_no_weakness_and_undefined_variance_neither():
    assert weakened(test_dead_share=0.9) == []
    assert weakened(test_explained_variance=None) == []


def test_weaknesses_are_one_note():
    found = good()
    found["dictionary"]["by_role"]["train"]["dead_share"] = 0.2
    found["dictionary"]["by_role"]["test"]["l0"] = 12.0
    line = next(line for line in note_lines(found) if "weak" in line)
    expected = "the dictionary is weak: no training call excites 20.0 % of its atoms; it gives test calls 12.0 atoms"
    assert line.startswith(expected)


def test_an_imported_dictionary_has_no_other_start():
    own = good()["dictionary"] | {"imported": True, "stability": None}
    line = dictionary_line(own)
    assert (
        line.startswith("dictionary 24to48_k8 (imported: nobody here knows which calls it has seen, so that")
        and "again" not in line
    )
    assert list(weaknesses(own)) == []


@pytest.mark.parametrize(
    ("p_values", "lost"),
    [
        ((0.001, 0.9), False),
        ((0.9, 0.001), False),
        ((0.03, 0.9), True),  # alone it would count, but either of two tests may find it
        ((0.03, 0.03), True),
        ((0.024, 0.9), False),
        ((0.03, None), False),
        ((None, 0.06), True),
        ((None, None), True),
    ],
)
def test_a_signal_is_lost_where_neither_ranking_finds_it_corrected_for_both(p_values, lost):
    assert is_lost(dict(zip(("p_value", "slope_p_value"), p_values, strict=True))) is lost
    (line,) = recovery_line(recovery_rows(**dict(zip(("p_value", "slope_p_value"), p_values, strict=True))))
    assert line.endswith(f"size 0.520 (3 atoms{', no higher than others' if lost else ''})")


def test_signals_are_told_by_their_better_ranking_and_those_without_atoms_are_named():
    assert list(recovery_line([])) == []
    (line,) = recovery_line(recovery_rows(average_precision=0.7, atoms=0))
    assert line.endswith("element 0.700 (no atom), size 0.700 (no atom)")
    (line,) = recovery_line(recovery_rows(slope_precision=None, atoms=1))
    assert line.endswith("element 0.410 (1 atom), size 0.410 (1 atom)")


def test_planted_features_without_signs_have_none_right():
    (line,) = recovery_line(recovery_rows(sign_accuracy=None))
    assert "without signs" in line and "signs right" not in line


def test_notes_are_few_even_where_all_is_weak():
    found = good()
    found["dictionary"]["by_role"]["train"] |= {"dead_share": 0.2, "l0": 12.0}
    lines = note_lines(found)
    assert len(lines) == 9 and not any("\n" in line for line in lines)
    assert raw_line(found["raw_attributions"]["models"]["voters"] | {"strongest": []}).startswith(
        "strongest raw features (mean of the networks): none; by branch"
    )
