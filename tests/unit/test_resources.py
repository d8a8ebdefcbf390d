"""What a rule asks the cluster for: megabytes and minutes, as workflow/rules/common.smk reckons them."""

import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

COMMON = (Path(__file__).parents[2] / "workflow" / "rules" / "common.smk").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def common():
    """The two functions and the constant, cut out: the rest of the file needs Snakemake."""
    pieces = re.findall(r"^(?:def (?:memory|minutes)\(.*?\n(?=\S)|LARGEST = .*?$)", COMMON, re.MULTILINE | re.DOTALL)
    names = {}
    exec("\n".join(pieces), names)
    return SimpleNamespace(**names)


def of_size(megabytes):
    return SimpleNamespace(size_mb=megabytes)


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_memory_without_a_factor_is_known_before_the_input_is(common, attempt):
    request = common.memory(1000)
    assert "input" not in inspect.signature(request).parameters
    assert request(None, attempt=attempt) == 1000 * attempt


@pytest.mark.parametrize("attempt", [1, 2, 3])
@pytest.mark.parametrize(("megabytes", "expected"), [(0, 2000), (0.3, 2001), (500, 4000)])
def test_memory_grows_with_the_input_and_with_every_attempt(common, megabytes, expected, attempt):
    request = common.memory(2000, 4)
    found = request(None, input=of_size(megabytes), attempt=attempt)
    assert type(found) is int
    assert found == int((2000 + 4 * megabytes) * attempt)
    assert attempt > 1 or found == expected


def test_what_is_asked_for_an_input_has_a_largest_value(common):
    assert common.LARGEST == 16_000
    request = common.memory(2000, 4)
    at, beyond = (of_size(megabytes) for megabytes in (4_000, 1_000_000))
    assert request(None, input=at, attempt=1) == 18_000
    assert request(None, input=beyond, attempt=1) == 18_000
    assert request(None, input=beyond, attempt=3) == 3 * 18_000


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_minutes_grow_with_every_attempt(common, attempt):
    assert common.minutes(15)(None, attempt=attempt) == 15 * attempt
