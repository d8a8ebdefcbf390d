"""Paths that a person asks for: those that are known, those that are made on request, and names that are nearly right."""

from types import SimpleNamespace

import pytest

from consilience.errors import ConsilienceError
from consilience.targets import check_targets

STUDY = SimpleNamespace(name="toy", models=["small", "large"], methods=["saliency"], simulated=False, encoded=False)
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
