"""The names of attribution methods and references, and the settings' defaults, for those who need no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from consilience.errors import ConsilienceError, nearest

COMPARED_WITH = ("", "reference", "background")


@dataclass(frozen=True)
class MethodFacts:
    """What is known of a method without running it.

    `compares_with`: nothing (empty), a `reference`, or a `background` of training samples. `complete`: it promises that
    the attributions of a sample sum to F(x) less F(reference), or less the background's mean F, so that its gap is
    always reported. `signed`: attributions are contributions, whose sign says which way the feature moves the
    prediction; sizes and slopes are not.
    """

    compares_with: str = ""
    complete: bool = False
    signed: bool = True

    def __post_init__(self) -> None:
        """Refuse what a method cannot be compared with."""
        if self.compares_with not in COMPARED_WITH:
            raise ConsilienceError(
                f"compares_with: {self.compares_with!r} is not one of {', '.join(COMPARED_WITH[1:])}, or empty"
                f"{nearest(self.compares_with, COMPARED_WITH[1:])}"
            )


METHOD_FACTS: Mapping[str, MethodFacts] = MappingProxyType(
    {
        "gradient_x_input": MethodFacts(),
        "saliency": MethodFacts(signed=False),
        "integrated_gradients": MethodFacts("reference", complete=True),
        "smoothgrad": MethodFacts(signed=False),
        "expected_gradients": MethodFacts("background", complete=True),
        "deeplift": MethodFacts("reference", complete=True),
        "deeplift_shap": MethodFacts("background", complete=True),
        "occlusion": MethodFacts("reference"),
        "shap_deep_explainer": MethodFacts("background", complete=True),
        "shap_gradient_explainer": MethodFacts("background", complete=True),
    }
)
METHOD_NAMES = tuple(METHOD_FACTS)
# `integrated_gradients_from_blurred` compares with that reference, whatever the study's own is.
FROM = "_from_"
# Of the completeness gap, relative to the change it should sum to: more is said where people look.
TOLERANCE = 0.01
REFERENCE_NAMES = ("mean", "zero", "blurred", "sample")
ROLES = ("train", "validation", "test")
CLASS_OF = ("label", "prediction")
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "primary": "integrated_gradients",
        "methods": ("gradient_x_input", "saliency", "integrated_gradients"),
        "roles": ROLES,
        "maximum_samples": 2000,
        "showcase": 8,
        "showcase_confidence": None,
        "class_of": "label",
        "reference": "mean",
        "background": 50,
        "blur": 0.1,
        "steps": 50,
        "draws": 25,
        "noise": 0.15,
        "internal_batch": 512,
    }
)

COUNTS = {"maximum_samples": 1, "showcase": 0, "background": 1, "steps": 1, "draws": 1, "internal_batch": 1}


def check_name(kind: str, name: str, known: tuple[str, ...]) -> None:
    """Refuse a `name` that is not among `known`, with the nearest ones."""
    if name not in known:
        raise ConsilienceError(f"{kind} {name!r} is not known; known: {', '.join(known)}{nearest(name, known)}")


def parts_of_method(
    name: str, own: Mapping[str, MethodFacts] = MappingProxyType({}), references: tuple[str, ...] = ()
) -> tuple[str, str]:
    """Return a method's name and the reference that goes with it: "" where that is the study's.

    `own` are the facts of the slice's methods, `references` the names of its references. An unknown name is refused,
    and a reference for a method that compares with none.
    """
    facts = {**METHOD_FACTS, **own}
    if name in facts:
        return name, ""
    base, _, reference = name.partition(FROM)
    if base not in facts:
        check_name("attribution method", name, tuple(facts))
    if facts[base].compares_with != "reference":
        raise ConsilienceError(f"attribution method {name!r}: {base} compares with no reference")
    known = tuple(dict.fromkeys((*REFERENCE_NAMES, *references)))
    check_name(f"attribution method {name!r}: reference", reference, known)
    return base, reference


def signed_methods(names: Sequence[str], own: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    """Say of methods by name whether they give contributions with a sign.

    `own` are the facts of the slice's methods, as its schema has them.
    """
    facts = {name: MethodFacts(**parts) for name, parts in own.items()}
    return {name: {**METHOD_FACTS, **facts}[parts_of_method(name, facts)[0]].signed for name in names}


def complete_settings(
    settings: Mapping[str, Any],
    references: tuple[str, ...] = (),
    own: Mapping[str, MethodFacts] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return a study's attribution section with the defaults filled in.

    `references` and `own` are the slice's references and methods. Unknown keys, methods, roles and references, and
    counts out of range, are refused.
    """
    for key in settings:
        check_name("attribution setting", key, tuple(DEFAULTS))
    filled = {**DEFAULTS, **settings}
    for name in (filled["primary"], *filled["methods"]):
        parts_of_method(name, own, references)
    for role in filled["roles"]:
        check_name("attribution role", role, ROLES)
    check_name("attribution reference", filled["reference"], (*REFERENCE_NAMES, *references))
    check_name("attribution.class_of", filled["class_of"], CLASS_OF)
    for key in ("blur", "noise"):
        if not isinstance(filled[key], int | float) or not filled[key] > 0:
            raise ConsilienceError(f"attribution.{key} is {filled[key]!r}; expected a number above 0")
    confidence = filled["showcase_confidence"]
    if confidence is not None and not (isinstance(confidence, int | float) and 0 <= confidence < 1):
        raise ConsilienceError(
            f"attribution.showcase_confidence is {confidence!r}; expected a number in [0, 1) or null"
        )
    for key, least in COUNTS.items():
        if not isinstance(filled[key], int) or filled[key] < least:
            raise ConsilienceError(f"attribution.{key} is {filled[key]!r}; expected a whole number of at least {least}")
    return filled
