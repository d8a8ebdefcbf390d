"""Attributions by branch: what features say one against the other cancels, and the sum is held against the classes."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from consilience.domains.variants.raw_branches import BranchSums


def of(contributions, labels, branches, parts=1):
    sums = BranchSums(np.array(branches))
    for rows in np.array_split(np.arange(len(labels)), parts):
        sums.add(contributions[rows], labels[rows])
    return sums.rows("m").set_index("branch")


def test_many_features_that_cancel_weigh_less_than_one():
    """Summed by size, the k-mers would have 98 % of the attribution."""
    k_mers = np.tile([1.0, -1.0], (6, 50)) + np.array([[0.001]] * 6)
    contributions = np.column_stack([np.array([2.0, -2, 2, -2, 2, -2]), k_mers])
    found = of(contributions, np.array([1, 0, 1, 0, 1, 0]), ["attributes", *["consensus"] * 100])
    assert found["magnitude"].to_list() == pytest.approx([2.0, 0.1])
    assert found["share"].to_list() == pytest.approx([2 / 2.1, 0.1 / 2.1])
    assert found["features"].to_list() == [1, 100]
    assert found["auroc"].to_list() == [1.0, 0.5]  # the same for all calls


@pytest.mark.parametrize("parts", [1, 4])
def test_areas_are_scikit_learn_s_whatever_the_blocks(parts):
    random = np.random.default_rng(0)
    labels = random.integers(2, size=40)
    contributions = random.integers(-2, 3, (40, 5)) + 0.5 * labels[:, None] * np.array([1, 1, 0, 0, -1])
    found = of(contributions, labels, ["a", "a", "b", "c", "c"], parts)
    for name, columns in (("a", [0, 1]), ("b", [2]), ("c", [3, 4])):
        assert found.loc[name, "auroc"] == pytest.approx(roc_auc_score(labels, contributions[:, columns].sum(axis=1)))
    assert found["share"].sum() == pytest.approx(1)


def test_nothing_attributed_has_no_share_and_one_class_no_area():
    found = of(np.zeros((3, 2)), np.ones(3, int), ["a", "b"])
    assert found["share"].eq(0).all() and found["auroc"].isna().all()
