"""Paths that a person asks for: those that are known, those that are made on request, and names that are nearly right."""

from types import SimpleNamespace

import pytest

from consilience.errors import ConsilienceError
from consilience.targets import EXPLANATIONS, MODEL_FILES, check_targets, explanations_of, targets_of

STUDY = SimpleNamespace(
    name="toy",
    models=["alone", "small", "large"],
    explained=["small", "large"],
    methods=["saliency"],
    simulated=False,
    encoded=False,
)
ON_REQUEST = {"toy": ["results/toy/numpy/small", "results/toy/looks/{sample}.png", "results/toy/a.b/{x}/{y}.tsv"]}


def check(*paths, on_request=ON_REQUEST):
    check_targets(paths, {"toy": STUDY}, {"toy": ["results/toy/own.tsv"]}, on_request)


@pytest.mark.parametrize(
    "path",
    ["drivers.csv", "own.tsv", "numpy/small", "numpy/small/", "looks/pair-00012.png", "a.b/1/2.tsv"],
)
def test_known_paths_and_those_on_request_pass(path):
    check(f"results/toy/{path}")


@pytest.mark.parametrize(
    "path", ["numpy/smal", "numpy/small/x", "looks/.pngs", "looks/a/b.png", "looks/.png", "axb/1/2.tsv", "own.tsvs"]
)
def test_others_are_refused(path):
    with pytest.raises(ConsilienceError, match="has no such file"):
        check(f"results/toy/{path}")


def test_nearest_paths_on_request_are_named():
    with pytest.raises(ConsilienceError, match="nearest: results/toy/numpy/small"):
        check("results/toy/numpy/smll")
    with pytest.raises(ConsilienceError, match=r"results/toy/looks/\{sample\}\.png"):
        check("results/toy/looks/sample.pn")


def test_nothing_need_be_on_request():
    check("results/toy/drivers.csv", on_request={})
    with pytest.raises(ConsilienceError, match="has no such file"):
        check("results/toy/numpy/small", on_request={})


def test_every_model_is_trained_and_the_explained_ones_are_explained():
    files = set(targets_of(STUDY))
    assert {f"results/toy/models/{model}/{file}" for model in STUDY.models for file in MODEL_FILES} <= files
    for model in STUDY.explained:
        assert set(explanations_of(STUDY, model)) <= files
    assert not files & set(explanations_of(STUDY, "alone"))
    folders = {path.split("/")[2] for path in explanations_of(STUDY, "small")}
    assert folders == {*EXPLANATIONS, "figures"}


@pytest.mark.parametrize("path", [*explanations_of(STUDY, "alone"), "results/toy/attributions/alone/salience.h5"])
def test_an_explanation_of_a_model_that_has_none_is_refused(path):
    message = f"^{path}: model alone of study toy is not explained; expected small, large$"
    with pytest.raises(ConsilienceError, match=message):
        check(path)


def test_what_is_asked_of_explained_models_and_of_training_passes():
    check(*explanations_of(STUDY, "small"), "results/toy/models/alone/metrics.json")
    with pytest.raises(ConsilienceError, match="no model 'lone' among alone, small, large; nearest: alone"):
        check("results/toy/attributions/lone/saliency.h5")
    with pytest.raises(ConsilienceError, match="has no such file"):
        check("results/toy/top/lone_positive.csv")
