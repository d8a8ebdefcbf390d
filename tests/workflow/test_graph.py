"""The drawing in README.md is what `make graph` draws now."""

import importlib.util
import re

import pytest
from run_workflow import ROOT

pytestmark = pytest.mark.workflow
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def graph():
    specification = importlib.util.spec_from_file_location("graph", ROOT / "workflow" / "rules" / "graph.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_readme_shows_the_rules_as_they_are(graph):
    assert graph.drawn(README) == README, "run make graph"


def test_an_outdated_drawing_is_replaced(graph):
    outdated = README.replace("train --> attribute", "attribute --> train")
    assert outdated != README
    assert graph.drawn(outdated) == README


def test_what_is_drawn_stands_for_the_chain():
    drawing = README.split("```mermaid\n")[1].split("```")[0]
    assert set(re.findall(r"(\w+)\[", drawing)) >= {"simulate", "split", "train", "attribute", "consensus", "summary"}
    assert "expression_" not in drawing
    assert set(re.findall(r"(\w+)\[.*:::gpu", drawing)) == {"train", "attribute", "faithfulness"}
