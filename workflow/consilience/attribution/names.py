"""The names of attribution methods and references, and the settings' defaults, for those who need no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from consilience.errors import ConsilienceError, nearest


@dataclass(frozen=True)
class MethodFacts:
    """What is known of a method without running it.

    `needs_reference`: it compares the input with another; `complete`: it promises that the attributions of a sample
    sum to F(x) - F(reference), so that its gap is always reported.
    """

    needs_reference: bool
    complete: bool


METHOD_FACTS: Mapping[str, MethodFacts] = MappingProxyType(
    {
        "gradient_x_input": MethodFacts(needs_reference=False, complete=False),
        "saliency": MethodFacts(needs_reference=False, complete=False),
        "integrated_gradients": MethodFacts(needs_reference=True, complete=True),
    }
)
METHOD_NAMES = tuple(METHOD_FACTS)
REFERENCE_NAMES = ("mean", "zero")
ROLES = ("train", "validation", "test")
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "primary": "integrated_gradients",
        "methods": METHOD_NAMES,
        "roles": ROLES,
        "maximum_samples": 2000,
        "showcase": 8,
        "reference": "mean",
        "steps": 50,
        "internal_batch": 512,
    }
)


def check_name(kind: str, name: str, known: tuple[str, ...]) -> None:
    """Refuse a `name` that is not among `known`, with the nearest ones."""
    if name not in known:
        raise ConsilienceError(f"{kind} {name!r} is not known; known: {', '.join(known)}{nearest(name, known)}")


def complete_settings(settings: Mapping[str, Any], references: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a study's attribution section with the defaults filled in; `references` are the slice's own.

    Unknown keys, methods, roles and references, and counts out of range, are refused.
    """
    for key in settings:
        check_name("attribution setting", key, tuple(DEFAULTS))
    filled = {**DEFAULTS, **settings}
    for name in (filled["primary"], *filled["methods"]):
        check_name("attribution method", name, METHOD_NAMES)
    for role in filled["roles"]:
        check_name("attribution role", role, ROLES)
    check_name("attribution reference", filled["reference"], (*REFERENCE_NAMES, *references))
    for key, least in {"maximum_samples": 1, "showcase": 0, "steps": 1, "internal_batch": 1}.items():
        if not isinstance(filled[key], int) or filled[key] < least:
            raise ConsilienceError(f"attribution.{key} is {filled[key]!r}; expected a whole number of at least {least}")
    return filled
