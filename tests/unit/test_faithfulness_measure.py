import hashlib
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from consilience.attribution.explain import explain_model
from consilience.attribution.function import EnsembleFunction
from consilience.attribution.methods import method_named
from consilience.errors import ConsilienceError
from consilience.faithfulness import collect, measure, subject
from consilience.faithfulness.agreement import chance_jaccard
from consilience.faithfulness.curves import counts_of, places_of
from consilience.metrics import draws, percentiles
from consilience.scaling import scaled_inputs
from consilience.training.members import enumerate_members
from tests.unit.attribution_examples import (
    IMAGE_UNITS,
    VECTOR_UNITS,
    Linear,
    opened,
    regression_study,
    votes_study,
)

METHODS = ["gradient_x_input", "saliency", "integrated_gradients"]
SETTINGS = {"steps": 8}


def checked(
    study, methods=METHODS, settings=SETTINGS, resamples=30, top=2, seed=0, split=None, samples_of_file=None, **changes
):
    changes |= {} if samples_of_file is None else {"samples": samples_of_file}
    with opened(study) as dataset:
        files = explain_model(dataset, study.split, study.ensemble, study.module, methods, settings, 0)
        files = [replace(one, **changes) for one in files.values()]
        return measure.measure(
            dataset, study.split if split is None else split, study.ensemble, study.module, files, settings,
            samples=64, resamples=resamples, top=top, seed=seed,
        )  # fmt: skip


def score(found, check, method, metric, other=""):
    rows = found.scores.query("check == @check and method == @method and metric == @metric and other == @other")
    assert len(rows) == 1
    return rows.iloc[0]


def curve(found, kind, method):
    return found.curves.query("curve == @kind and method == @method")["value"].to_numpy()


def close(first, second, tolerance=1e-5):
    """Compare both tables, all but the numbers exactly."""
    for name in ("scores", "curves"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name), rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def votes(tmp_path_factory):
    return votes_study(tmp_path_factory.mktemp("votes"), samples=60)


@pytest.fixture(scope="module")
def found(votes):
    return checked(votes)


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    return regression_study(tmp_path_factory.mktemp("linear"), samples=60, features=12, make=lambda: Linear(12))


def test_every_check_has_its_rows(found):
    counts = found.scores.groupby(["check", "metric"]).size().to_dict()
    assert counts == {
        ("completeness", "median_gap"): 1, ("completeness", "relative_gap"): 1, ("completeness", "worst_relative_gap"): 1,
        ("deletion", "area"): 5, ("deletion", "area_minus_random"): 4,
        ("insertion", "area"): 5, ("insertion", "area_minus_random"): 4,
        ("randomization", "rank_correlation"): 3,
        ("methods", "spearman"): 3, ("methods", "jaccard_top_2"): 3, ("seeds", "spearman"): 3, ("seeds", "jaccard_top_2"): 3,
    }  # fmt: skip
    intervals = found.scores[found.scores["check"] != "completeness"]
    assert (intervals["low"] <= intervals["high"]).all()
    agreement = intervals[intervals["check"].isin(["methods", "seeds"])]
    assert agreement["value"].between(agreement["low"], agreement["high"]).all()
    assert set(agreement["chance"]) == {0.0, chance_jaccard(6, 2)}


def test_a_run_gives_the_same_again_and_leaves_the_network_as_it_was(votes, found):
    def digest():
        states = {**votes.ensemble.states, **{k: v.numpy() for k, v in votes.module.state_dict().items()}}
        return hashlib.sha256(b"".join(np.ascontiguousarray(v).tobytes() for v in states.values())).hexdigest()

    before = digest()
    again = checked(votes)
    assert digest() == before
    pd.testing.assert_frame_equal(found.scores, again.scores)
    pd.testing.assert_frame_equal(found.curves, again.curves)


def test_the_order_of_samples_changes_nothing(tmp_path, votes, found):
    order = np.random.default_rng(1).permutation(60)
    shuffled = votes_study(tmp_path, samples=60, order=order)
    shuffled = replace(shuffled, ensemble=replace(shuffled.ensemble, scalings=votes.ensemble.scalings))
    close(checked(shuffled), found)


@pytest.mark.parametrize("limit", ["settings", "batch"])
def test_the_size_of_batches_changes_nothing(votes, found, limit, monkeypatch):
    if limit == "batch":
        monkeypatch.setattr(subject, "BATCH_NUMBERS", 650)
    close(checked(votes, settings={**SETTINGS, "internal_batch": 9} if limit == "settings" else SETTINGS), found)


def explained(study):
    """The samples that are checked, their inputs, and F (members, samples, targets) of the whole file, by loops."""
    with opened(study) as dataset:
        chosen = subject.Subject.of(dataset, study.split, study.ensemble, study.module, METHODS, SETTINGS, 64, 0)
        inputs, auxiliary = scaled_inputs(dataset, study.ensemble.scalings, chosen.rows)
        sources = zip(chosen.reader.source(chosen.rows), inputs, strict=True)
        references = [np.broadcast_to(part, own.shape) for part, own in sources]
    inputs = [torch.as_tensor(part) for part in inputs]
    auxiliary = {name: torch.as_tensor(part) for name, part in auxiliary.items()}
    references = [torch.as_tensor(part.copy()) for part in references]
    references[0] = torch.where(auxiliary["mask_image"], inputs[0], references[0])

    @torch.no_grad()
    def values(parts):
        found = []
        for member in range(len(study.ensemble.members)):
            state = {name: torch.as_tensor(array[member]) for name, array in study.ensemble.states.items()}
            outputs = torch.func.functional_call(study.module, state, tuple(parts), auxiliary).double()
            found.append((outputs - outputs.mean(dim=1, keepdim=True)).numpy())
        return np.stack(found)

    return chosen, inputs, references, values


def test_deletion_and_insertion_are_those_of_a_plain_loop(votes, found):
    """Two branches, a mask, elements of no feature, three classes of which the predicted one is explained."""
    _, inputs, references, values = explained(votes)
    mean = values(inputs).mean(axis=0)
    target, own = mean.argmax(axis=1), np.arange(len(mean))
    at, base = mean[own, target], values(references).mean(axis=0)[own, target]
    sign, counts = np.sign(at - base), counts_of(6)
    with opened(votes):
        for method in METHODS:
            scores = attributions(votes, method).mean(axis=0)[target, own]
            places = places_of(scores if method == "saliency" else sign[:, None] * scores)
            for kind, start, end in (("deletion", inputs, references), ("insertion", references, inputs)):
                curves = []
                for count in counts:
                    changed = [part.clone() for part in start]
                    for part, new, unit in zip(changed, end, (IMAGE_UNITS, VECTOR_UNITS), strict=True):
                        for sample in own:
                            for place in np.ndindex(*unit.shape):
                                feature = unit[place]
                                if (feature >= 0 and places[sample, feature] < count) or count == 6:
                                    part[(sample, *place)] = new[(sample, *place)]
                    curves.append(sign * (values(changed).mean(axis=0)[own, target] - base))
                expected = np.sum(curves, axis=1) / np.abs(at - base).sum()
                np.testing.assert_allclose(curve(found, kind, method), expected, atol=2e-5)
                row = score(found, kind, method, "area")
                assert row["value"] == pytest.approx(np.trapezoid(expected, counts / 6), abs=2e-5)
                random = score(found, kind, "random", "area")["value"]
                assert row["chance"] == pytest.approx(random)
                assert score(found, kind, method, "area_minus_random")["value"] == pytest.approx(row["value"] - random)


def attributions(study, method):
    """Sums over features (members, targets, samples, features) of the checked samples."""
    with opened(study) as dataset:
        chosen = subject.Subject.of(dataset, study.split, study.ensemble, study.module, METHODS, SETTINGS, 64, 0)
        (batch,) = [batch for _, batch in chosen.batches(64)]
        tensors = batch.attribute(method_named(method), chosen.reader.settings)
        found = np.zeros((*tensors[0].shape[:3], 6))
        for tensor, unit in zip(tensors, (IMAGE_UNITS, VECTOR_UNITS), strict=True):
            for place in np.ndindex(*unit.shape):
                if unit[place] >= 0:
                    found[..., unit[place]] += tensor[(..., *place)].double().numpy()
        return found


def test_agreement_of_methods_and_members_is_that_of_the_means_over_samples(votes, found):
    def measures(one, two):
        spearman = [stats.spearmanr(a, b)[0] for a, b in zip(one, two, strict=True)]
        lists = [[set(np.argsort(-part)[:2]) for part in parts] for parts in (one, two)]
        return np.mean(spearman), np.mean([len(a & b) / len(a | b) for a, b in zip(*lists, strict=True)])

    every = {method: attributions(votes, method) for method in METHODS}
    means = {method: np.abs(one.mean(axis=0)).mean(axis=1) for method, one in every.items()}
    for first, second in combinations(METHODS, 2):
        expected = measures(means[first], means[second])
        values = [score(found, "methods", first, metric, second)["value"] for metric in ("spearman", "jaccard_top_2")]
        assert values == pytest.approx(expected, abs=1e-6)
    for method, one in every.items():
        members = np.abs(one).mean(axis=2)
        expected = measures(*members)
        values = [score(found, "seeds", method, metric)["value"] for metric in ("spearman", "jaccard_top_2")]
        assert values == pytest.approx(expected, abs=1e-6)


def test_randomization_compares_each_sample_and_member_with_the_trained(votes, found, monkeypatch):
    """The last stage is everything, by its own states; the level without a network is that of the input."""
    chosen, inputs, references, values = explained(votes)
    target, own = values(inputs).mean(axis=0).argmax(axis=1), np.arange(len(inputs[0]))
    few = own[: collect.RANDOMIZED_SAMPLES]
    trained = np.abs(attributions(votes, "integrated_gradients")[:, target, own])[:, few]
    function = chosen.function
    *_, (_, states) = collect.cascade(function.module.state_dict(), function.states, 0)
    randomized = EnsembleFunction(function.module, states, function.target_map, function.offset)
    with opened(votes) as dataset:
        reader = replace(chosen.reader, dataset=dataset, function=randomized, _split=None)
        batch = reader.read(chosen.rows)
        tensors = batch.attribute(method_named("integrated_gradients"), reader.settings)
        other = np.abs(reader.sums(tensors).double().numpy()[:, target, own])[:, few]
    pairs = [pair for members in zip(trained, other, strict=True) for pair in zip(*members, strict=True)]
    expected = np.mean([stats.spearmanr(*pair)[0] for pair in pairs])
    row = score(found, "randomization", "integrated_gradients", "rank_correlation")
    assert row["value"] == pytest.approx(expected, abs=1e-6)
    assert curve(found, "randomization", "integrated_gradients")[-1] == pytest.approx(expected, abs=1e-6)
    assert curve(found, "randomization", "integrated_gradients")[0] == 1
    magnitude = np.zeros((len(own), 6))
    for tensor, reference, unit in zip(inputs, references, (IMAGE_UNITS, VECTOR_UNITS), strict=True):
        for place in np.ndindex(*unit.shape):
            if unit[place] >= 0:
                magnitude[:, unit[place]] += (tensor - reference).abs()[(slice(None), *place)].numpy()
    level = np.mean(
        [[stats.spearmanr(a, b)[0] for a, b in zip(one, magnitude[: len(one)], strict=True)] for one in trained]
    )
    assert row["chance"] == pytest.approx(level, abs=1e-6)
    assert row["samples"] == len(few)


def test_intervals_resample_groups(linear):
    """Of an area and its difference to the random one, by a plain loop over the rows of each resample."""
    split = linear.split.assign(group=[f"group {row % 4}" for row in range(60)])
    found = checked(linear, split=split)
    assert set(found.scores.loc[found.scores["check"] == "deletion", "groups"]) == {4}
    with opened(linear) as dataset:
        chosen = subject.Subject.of(dataset, split, linear.ensemble, linear.module, METHODS, SETTINGS, 64, 0)
        trained = collect.explain_trained(chosen, np.zeros(len(chosen.rows), int), 0, lambda count: None)
    area = {
        name: np.trapezoid(trained.curves["insertion"][name], counts_of(12) / 12, axis=1)
        for name in (METHODS[0], "random")
    }
    (counts,) = draws(4, len(chosen.rows), 30, 0)
    values = []
    for column in counts.T:
        rows = [np.tile(np.flatnonzero(chosen.groups == f"group {g}"), int(n)) for g, n in enumerate(column)]
        rows = np.concatenate(rows)
        values.append([area[name][rows].sum() / trained.change[rows].sum() for name in area])
    values = np.array(values)
    for metric, one in {"area": values[:, 0], "area_minus_random": values[:, 0] - values[:, 1]}.items():
        row = score(found, "insertion", METHODS[0], metric)
        assert [row["low"], row["high"]] == pytest.approx(list(np.percentile(one, percentiles(4))))
    one_group = checked(linear, split=linear.split.assign(group="same"))
    assert one_group.scores["low"].isna().all()
    assert one_group.scores["value"].notna().all()
    close_value = found.scores["value"] - one_group.scores["value"]
    assert close_value.abs().max() < 1e-9
    none = checked(linear, split=split, resamples=0)
    assert none.scores["low"].isna().all()


def test_a_linear_network_is_explained_better_than_by_chance(linear):
    found = checked(linear, top=4)
    for method in ("gradient_x_input", "integrated_gradients"):
        assert score(found, "deletion", method, "area_minus_random")["high"] < -0.2
        assert score(found, "insertion", method, "area_minus_random")["low"] > 0.2
        best = {kind: score(found, kind, method, "area")["value"] for kind in ("deletion", "insertion")}
        for control in ("random", "magnitude_of_input", "saliency"):
            assert best["deletion"] < score(found, "deletion", control, "area")["value"]
            assert best["insertion"] > score(found, "insertion", control, "area")["value"]
    # One layer, shuffled: what is left is what the input alone gives.
    assert list(found.curves.query("curve == 'randomization' and method == 'saliency'")["label"]) == [
        "trained",
        "layer",
    ]
    assert abs(score(found, "randomization", "saliency", "rank_correlation")["value"]) < 0.6


def test_a_method_without_knowledge_of_the_network_shows_in_randomization(votes, monkeypatch):
    """An attribution that is the input itself stays as it is when all parameters are randomized."""
    name = "gradient_x_input"

    def itself(self, batch, method):
        tensors = tuple(part.expand(2, 3, *part.shape).clone() for part in batch.inputs)
        return self.reader.sums(tensors).double().numpy()

    monkeypatch.setattr(subject.Subject, "by_feature", itself)
    found = checked(votes, methods=[name])
    assert curve(found, "randomization", name) == pytest.approx(np.ones(4))
    row = score(found, "randomization", name, "rank_correlation")
    assert (row["low"], row["high"]) == pytest.approx((1, 1))


def test_features_that_both_networks_leave_at_nothing_are_left_out(linear, monkeypatch):
    """By a method that gives 0 to all but a sample's own features, trained and randomized networks are unrelated."""
    absent, random = np.arange(12) >= 7, np.random.default_rng(0)
    given = []

    def sparse(self, batch, method):
        members, samples = self.function.members, len(batch.inputs[0])
        given.append(np.where(absent, 0, random.gamma(1, size=(members, 1, samples, 12))))
        return given[-1]

    monkeypatch.setattr(subject.Subject, "by_feature", sparse)
    found = checked(linear, methods=METHODS[:1], top=4)
    trained, randomized = (one[:, 0, : collect.RANDOMIZED_SAMPLES, :7] for one in given)
    pairs = zip(trained.reshape(-1, 7), randomized.reshape(-1, 7), strict=True)
    expected = np.mean([stats.spearmanr(*pair)[0] for pair in pairs])
    assert score(found, "randomization", METHODS[0], "rank_correlation")["value"] == pytest.approx(expected, abs=1e-6)
    seeds = score(found, "seeds", METHODS[0], "jaccard_top_4")
    assert seeds["chance"] == chance_jaccard(7, 4)


def test_completeness_is_that_of_the_files(votes):
    found = checked(votes)
    with opened(votes) as dataset:
        file = explain_model(dataset, votes.split, votes.ensemble, votes.module, METHODS, SETTINGS, 0)[METHODS[2]]
    gap, change = np.median(file.gap), np.median(file.scale)
    expected = {
        "median_gap": gap,
        "relative_gap": gap / change,
        "worst_relative_gap": np.percentile(file.gap, 95) / change,
    }
    for metric, value in expected.items():
        row = score(found, "completeness", METHODS[2], metric, "mean")
        assert row["value"] == pytest.approx(value)
        assert (row["samples"], row["groups"]) == (60, 60)


def test_members_on_permuted_labels_are_left_out(votes, found):
    members = enumerate_members(2, permuted=(0, 1))
    order = [2, 0, 3, 1]
    states = {
        name: np.concatenate([values, 5 * values.astype(np.float64) + 1]).astype(values.dtype)[order]
        for name, values in votes.ensemble.states.items()
    }
    ensemble = replace(votes.ensemble, states=states, members=[members[place] for place in order])
    mixed = checked(replace(votes, ensemble=ensemble))
    close(mixed, found)
    permuted = replace(ensemble, members=[replace(member, permuted=1) for member in members])
    with pytest.raises(ConsilienceError, match="model small: no member was trained on real labels"):
        checked(replace(votes, ensemble=permuted))


def test_one_member_and_one_method_have_nobody_to_agree_with(votes):
    ensemble = votes.ensemble
    ensemble = replace(
        ensemble, members=ensemble.members[:1], states={name: part[:1] for name, part in ensemble.states.items()}
    )
    found = checked(replace(votes, ensemble=ensemble), methods=METHODS[:1])
    assert not set(found.scores["check"]) & {"methods", "seeds", "completeness"}
    assert {"deletion", "insertion", "randomization"} <= set(found.scores["check"])


def test_a_network_that_ignores_its_inputs_has_no_scores_and_no_error(linear):
    states = {name: np.zeros_like(part) for name, part in linear.ensemble.states.items()}
    found = checked(replace(linear, ensemble=replace(linear.ensemble, states=states)))
    rows = found.scores[found.scores["check"].isin(["deletion", "insertion", "randomization"])]
    assert rows["value"].isna().all()
    assert rows["low"].isna().all()
    rows = found.scores[found.scores["check"].isin(["methods", "seeds"])]
    assert rows[["value", "low", "high"]].isna().all(axis=None)


def test_more_features_than_memory_holds_take_fewer_samples(votes, monkeypatch):
    per_sample = len(METHODS) * 3 * 3 * 6
    monkeypatch.setattr(subject, "HELD_NUMBERS", 5 * per_sample)
    found = checked(votes)
    assert set(found.scores.loc[found.scores["check"] != "completeness", "samples"]) == {5}


def test_what_cannot_be_checked_is_one_line(votes, linear, tmp_path):
    with pytest.raises(ConsilienceError, match="no sample has the role test"):
        checked(votes, split=votes.split.assign(role=votes.split["role"].replace("test", "validation")))
    with pytest.raises(ConsilienceError, match="attributions by gradient_x_input are of model other; expected small"):
        checked(votes, model="other")
    with pytest.raises(ConsilienceError, match="are of other features than .*dataset.h5"):
        checked(votes, features=pd.DataFrame({"name": list("abcdex"), "branch": "image"}))
    with pytest.raises(ConsilienceError, match="explain sample 'nobody', which the split lacks"):
        checked(votes, methods=METHODS[:1], samples_of_file=["nobody"] * 60)
    with pytest.raises(ConsilienceError, match="1 feature; a ranking needs two or more"):
        checked(regression_study(tmp_path, features=1, make=lambda: Linear(1)))
    with pytest.raises(ConsilienceError, match="on other features"):
        checked_with(linear, replace(linear.ensemble, axis="0"))


def checked_with(study, ensemble):
    with opened(study) as dataset:
        files = explain_model(dataset, study.split, study.ensemble, study.module, METHODS, SETTINGS, 0)
        measure.measure(dataset, study.split, ensemble, study.module, list(files.values()), SETTINGS, 4, 5, 2, 0)
