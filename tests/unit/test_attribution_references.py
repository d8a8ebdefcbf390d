import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter1d

from consilience.attribution.references import background, blur, blurred, partners, reference_source
from consilience.attribution.selection import explained_rows, showcase_rows
from consilience.errors import ConsilienceError
from consilience.scaling import identity, scaled_inputs
from tests.unit.attribution_examples import opened, regression_study, votes_study


def training_rows(study):
    return np.flatnonzero(study.split["role"] == "train")


def source_of(study, dataset, name, own=None, seed=0):
    return reference_source(name, dataset, study.ensemble.scalings, training_rows(study), own, seed)


def test_zero_is_zero_in_the_inputs_own_unit(tmp_path):
    study = votes_study(tmp_path)
    with opened(study) as dataset:
        references = source_of(study, dataset, "zero")(np.arange(4))
    for reference, name in zip(references, ("image", "vector"), strict=True):
        scaling = study.ensemble.scalings[name]
        assert len(reference) == 1
        np.testing.assert_allclose(reference[0] * scaling.scale + scaling.center, 0, atol=1e-5)


def test_the_mean_is_that_of_what_is_present_in_training(tmp_path):
    study = votes_study(tmp_path)
    rows = training_rows(study)
    with opened(study) as dataset:
        references = source_of(study, dataset, "mean")(np.arange(4))
        image = np.ma.array(dataset.inputs("image", rows), mask=dataset.mask("image", rows)).mean(axis=0)
        vector = dataset.inputs("vector", rows).mean(axis=0)
    for reference, name, expected in zip(references, ("image", "vector"), (image, vector), strict=True):
        scaling = study.ensemble.scalings[name]
        np.testing.assert_allclose(reference[0] * scaling.scale + scaling.center, expected, atol=1e-5)


def test_the_mean_is_the_center_where_each_element_is_scaled_by_itself(tmp_path):
    study = regression_study(tmp_path)
    with opened(study) as dataset:
        (reference,) = source_of(study, dataset, "mean")(np.arange(3))
        mean = dataset.inputs("genes", training_rows(study)).mean(axis=0)
    np.testing.assert_allclose(reference, 0, atol=1e-6)
    np.testing.assert_allclose(study.ensemble.scalings["genes"].center, mean, rtol=1e-5)


def test_the_mean_of_imported_weights_is_this_study_s(tmp_path):
    study = regression_study(tmp_path)
    with opened(study) as dataset:
        rows = training_rows(study)
        unscaled = {"genes": identity(dataset.branches["genes"].shape)}
        (reference,) = reference_source("mean", dataset, unscaled, rows)(np.arange(3))
        mean = dataset.inputs("genes", rows).mean(axis=0)
    np.testing.assert_allclose(reference[0], mean, rtol=1e-5)


def test_a_slice_brings_its_own_reference(tmp_path):
    def shuffled(dataset, rows, seed):
        order = np.random.default_rng(seed).permutation(6)
        return {"image": np.ones((1, 1, 4, 4)), "vector": dataset.inputs("vector", rows)[:, order]}

    study = votes_study(tmp_path)
    rows = np.array([5, 2, 9])
    with opened(study) as dataset:
        image, vector = source_of(study, dataset, "shuffled", {"shuffled": shuffled}, seed=3)(rows)
        raw = dataset.inputs("vector", rows)[:, np.random.default_rng(3).permutation(6)]
    scaling = study.ensemble.scalings["vector"]
    assert image.shape == (1, 1, 4, 4)
    np.testing.assert_allclose(vector * scaling.scale + scaling.center, raw, atol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": np.ones((1, 1, 4, 4))}, "reference 'own': branch vector has no array"),
        ({"image": np.ones((1, 4, 4)), "vector": np.ones((1, 6))}, r"branch image has shape \(1, 4, 4\)"),
        ({"image": np.ones((2, 1, 4, 4)), "vector": np.ones((1, 6))}, r"expected \(1 or 3, \*\(1, 4, 4\)\)"),
        ({"image": np.ones((1, 1, 4, 4)), "vector": np.full((1, 6), np.nan)}, "branch vector has values that are not"),
    ],
)
def test_an_own_reference_that_does_not_fit_is_refused(tmp_path, arrays, message):
    study = votes_study(tmp_path)
    with opened(study) as dataset:
        source = source_of(study, dataset, "own", {"own": lambda *_: arrays})
        with pytest.raises(ConsilienceError, match=message):
            source(np.arange(3))


def test_an_unknown_reference_is_refused_with_the_nearest(tmp_path):
    study = regression_study(tmp_path)
    with opened(study) as dataset, pytest.raises(ConsilienceError, match=r"'men' is not known.*nearest: mean"):
        source_of(study, dataset, "men")


def blurred_by_hand(image, present, share):
    """Return the weighted mean (height, width) of what is present, one axis after the other; 0 where it is absent."""

    def smooth(block):
        for axis, length in enumerate(block.shape):
            block = gaussian_filter1d(block, share * length, axis=axis, mode="nearest")
        return block

    weight = smooth(present.astype(float))
    return np.where(present, smooth(np.where(present, image, 0)) / weight, 0)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_a_blurred_reference_leaves_out_what_is_masked(tmp_path, share):
    study = votes_study(tmp_path)
    rows = np.array([3, 0, 11])
    scaling = study.ensemble.scalings["image"]
    with opened(study) as dataset:
        own = blurred(dataset, study.ensemble.scalings, "image", rows, share)
        images, masks = dataset.inputs("image", rows)[:, 0], dataset.mask("image", rows)[:, 0]
    assert own.shape == (3, 1, 4, 4)
    assert own.dtype == np.float32
    assert masks.any(axis=(1, 2)).all()
    for part, image, mask in zip(own[:, 0], images, masks, strict=True):
        expected = blurred_by_hand(image.astype(float), ~mask, share)
        scaled = (expected - np.broadcast_to(scaling.center, (1, 4, 4))[0]) / scaling.scale.ravel()[0]
        np.testing.assert_allclose(part, np.where(mask, 0, scaled), atol=1e-5)


def test_a_blur_keeps_channels_apart_and_constants_as_they_are():
    block = np.random.default_rng(0).normal(size=(2, 3, 8, 6)).astype(np.float32)
    block[:, 1] = 5
    own = blur(identity((3, 8, 6)), block, None, 0.2)
    for sample in range(2):
        for channel in (0, 2):
            expected = blurred_by_hand(block[sample, channel].astype(float), np.ones((8, 6), bool), 0.2)
            np.testing.assert_allclose(own[sample, channel], expected, atol=1e-6)
    np.testing.assert_allclose(own[:, 1], 5, atol=1e-6)
    # The blur takes away what varies fast.
    assert own[:, [0, 2]].std() < 0.6 * block[:, [0, 2]].std()


def test_what_is_masked_has_no_influence_on_the_blur():
    block = np.random.default_rng(0).normal(size=(1, 5, 5)).astype(np.float32)
    mask = np.zeros((1, 5, 5), bool)
    mask[0, 1:3, 2] = True
    other = np.where(mask, 1e6, block).astype(np.float32)
    own, moved = (blur(identity((5, 5)), part, mask, 0.2) for part in (block, other))
    np.testing.assert_array_equal(own, moved)
    assert not own[mask].any()
    np.testing.assert_array_equal(blur(identity((5, 5)), block, np.ones_like(mask), 0.2), 0)


def test_a_blur_needs_two_axes(tmp_path):
    study = votes_study(tmp_path)
    with opened(study) as dataset, pytest.raises(ConsilienceError, match=r"vector has shape \(6,\)"):
        source_of(study, dataset, "blurred")


def test_a_sample_reference_is_a_training_sample_and_never_the_sample_itself(tmp_path):
    study = regression_study(tmp_path)
    training = training_rows(study)
    rows = np.arange(30)
    with opened(study) as dataset:
        chosen = partners(dataset, rows, training, 3)
        (own,) = source_of(study, dataset, "sample", seed=3)(rows)
        ((everything,), _) = scaled_inputs(dataset, study.ensemble.scalings, rows)
        again = partners(dataset, rows, training, 4)
        (pair,) = {tuple(partners(dataset, training[:2], training[:2], seed)) for seed in range(5)}
    assert np.isin(chosen, training).all()
    assert (chosen != rows).all()
    np.testing.assert_array_equal(own, everything[chosen])
    assert (again != chosen).any()
    assert len(set(chosen)) > 5
    assert pair == (training[1], training[0])


def test_a_sample_reference_depends_on_ids_alone(tmp_path):
    order = np.random.default_rng(1).permutation(40)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    study, moved = votes_study(tmp_path / "first"), votes_study(tmp_path / "second", order=order)
    with opened(study) as dataset:
        chosen = partners(dataset, np.arange(40), training_rows(study), 0)
        alone = partners(dataset, np.array([17]), training_rows(study), 0)
        drawn = background(dataset, study.ensemble.scalings, training_rows(study), 6, 0)
    with opened(moved) as dataset:
        again = partners(dataset, np.arange(40), training_rows(moved), 0)
        drawn_again = background(dataset, study.ensemble.scalings, training_rows(moved), 6, 0)
    assert alone.tolist() == [chosen[17]]
    np.testing.assert_array_equal(order[again], chosen[order])
    for part, other in zip(drawn, drawn_again, strict=True):
        np.testing.assert_array_equal(part, other)


def test_one_training_sample_cannot_be_its_own_reference(tmp_path):
    study = regression_study(tmp_path)
    with opened(study) as dataset, pytest.raises(ConsilienceError, match="needs two training samples or more"):
        partners(dataset, np.arange(3), training_rows(study)[:1], 0)


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (6, 6), (1000, 15)])
def test_a_background_is_a_seeded_choice_of_training_samples(tmp_path, count, expected):
    study = regression_study(tmp_path)
    training = training_rows(study)
    with opened(study) as dataset:
        (own,) = background(dataset, study.ensemble.scalings, training, count, 0)
        (other,) = background(dataset, study.ensemble.scalings, training, count, 1)
        (more,) = background(dataset, study.ensemble.scalings, training, count + 3, 0)
        ((rows,), _) = scaled_inputs(dataset, study.ensemble.scalings, training)
    assert own.shape == (expected, 5)
    assert own.dtype == np.float32
    places = [int(np.flatnonzero((rows == part).all(axis=1))[0]) for part in own]
    assert len(set(places)) == expected
    assert not np.array_equal(own, other)
    # A larger background holds the smaller one.
    np.testing.assert_array_equal(more[:expected], own)


def split_of(roles):
    return pd.DataFrame({"sample": [f"s{row}" for row in range(len(roles))], "role": roles})


SPLIT = split_of(["train"] * 60 + ["validation"] * 15 + ["test"] * 25)


def test_all_samples_of_the_roles_are_explained():
    assert explained_rows(SPLIT, ["test", "validation"], 1000, 0).tolist() == list(range(60, 100))


def test_a_choice_depends_on_seed_and_id_alone():
    chosen = explained_rows(SPLIT, ["train", "test"], 20, 0)
    assert len(chosen) == 20
    assert (np.diff(chosen) > 0).all()
    order = np.random.default_rng(0).permutation(100)
    moved = SPLIT.iloc[order].reset_index(drop=True)
    again = explained_rows(moved, ["train", "test"], 20, 0)
    assert set(moved["sample"][again]) == set(SPLIT["sample"][chosen])
    assert explained_rows(SPLIT, ["train", "test"], 20, 1).tolist() != chosen.tolist()


def test_nothing_to_explain_is_refused():
    with pytest.raises(ConsilienceError, match="no sample has a role among validation, test"):
        explained_rows(split_of(["train"] * 3), ["validation", "test"], 10, 0)


def test_the_showcase_takes_turns_over_the_classes_of_the_test_role():
    labels = np.array([0] * 75 + [0] * 20 + [1] * 3 + [2] * 2)
    shown = showcase_rows(SPLIT, labels, 8, 0)
    assert (SPLIT["role"][shown] == "test").all()
    assert np.bincount(labels[shown]).tolist() == [3, 3, 2]
    assert labels[shown[:3]].tolist() == [0, 1, 2]


def test_the_showcase_of_a_regression_is_a_seeded_choice():
    shown = showcase_rows(SPLIT, None, 8, 0)
    assert len(set(shown)) == 8
    assert (shown >= 75).all()
    assert showcase_rows(SPLIT, None, 8, 1).tolist() != shown.tolist()
    assert len(showcase_rows(SPLIT, None, 40, 0)) == 25
    assert len(showcase_rows(SPLIT, None, 0, 0)) == 0
