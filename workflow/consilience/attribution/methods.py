"""The attribution methods, through one interface: every member, target and sample at once, any number of branches.

A method is `method(batch, settings)` and returns a tensor (members, targets, samples, *shape) a branch: how much each
element of the scaled inputs contributes to F.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from consilience.attribution.deeplift import deeplift, deeplift_shap
from consilience.attribution.function import Tensors
from consilience.attribution.names import METHOD_FACTS, MethodFacts, complete_settings, parts_of_method
from consilience.attribution.occlusion import occlusion
from consilience.attribution.paths import integrated_gradients
from consilience.attribution.peers import shap_deep_explainer, shap_gradient_explainer
from consilience.attribution.references import OwnReference
from consilience.attribution.sampling import expected_gradients, smoothgrad
from consilience.errors import ConsilienceError

if TYPE_CHECKING:
    from consilience.attribution.batches import Batch

MethodFunction = Callable[["Batch", Mapping[str, Any]], Tensors]


@dataclass(frozen=True)
class Method:
    """A method with what it needs and promises; see `names.MethodFacts`.

    `reference` is what it compares with in place of the study's own reference; "" for that one.
    """

    name: str
    function: MethodFunction
    facts: MethodFacts
    reference: str = ""

    @property
    def needs_reference(self) -> bool:
        """Whether it compares a sample with a reference."""
        return self.facts.compares_with == "reference"

    @property
    def needs_background(self) -> bool:
        """Whether it compares a sample with a background of training samples."""
        return self.facts.compares_with == "background"

    @property
    def complete(self) -> bool:
        """Whether the attributions of a sample promise to sum to the change from what it is compared with."""
        return self.facts.complete

    @property
    def signed(self) -> bool:
        """Whether attributions are contributions, whose sign says which way the feature moves the prediction."""
        return self.facts.signed


def saliency(batch: Batch, _settings: Mapping[str, Any]) -> Tensors:
    """Return |dF/dz| (Simonyan, Vedaldi & Zisserman 2014, section 3): sensitivity, without a sign."""
    return tuple(gradient.abs() for gradient in batch.values_and_gradients[1])


def gradient_x_input(batch: Batch, _settings: Mapping[str, Any]) -> Tensors:
    """Return z dF/dz (Shrikumar et al. 2016, "Not just a black box"), complete for linear functions of z alone."""
    gradients = batch.values_and_gradients[1]
    return tuple(tensor * gradient for tensor, gradient in zip(batch.inputs, gradients, strict=True))


_FUNCTIONS: dict[str, MethodFunction] = {
    "gradient_x_input": gradient_x_input,
    "saliency": saliency,
    "integrated_gradients": integrated_gradients,
    "smoothgrad": smoothgrad,
    "expected_gradients": expected_gradients,
    "deeplift": deeplift,
    "deeplift_shap": deeplift_shap,
    "occlusion": occlusion,
    "shap_deep_explainer": shap_deep_explainer,
    "shap_gradient_explainer": shap_gradient_explainer,
}
METHODS: dict[str, Method] = {name: Method(name, _FUNCTIONS[name], facts) for name, facts in METHOD_FACTS.items()}


@dataclass(frozen=True)
class Own:
    """What a slice adds in its `explain.py`: `references` and `methods` by name."""

    references: Mapping[str, OwnReference] = field(default_factory=dict)
    methods: Mapping[str, Method] = field(default_factory=dict)

    @classmethod
    def of(cls, explain: ModuleType | None, facts: Mapping[str, Mapping[str, Any]]) -> Own:
        """Return what the module `explain` adds; `facts` are those of its methods, by name, from the slice's schema.

        Raises ConsilienceError where the two do not name the same methods.
        """
        functions = getattr(explain, "methods", {})
        for name in sorted(functions.keys() ^ facts.keys()):
            where = "schema.yaml, not in explain.py" if name in facts else "explain.py, not in schema.yaml"
            raise ConsilienceError(f"the slice's attribution method {name!r} stands in {where}; both must name it")
        methods = {name: Method(name, functions[name], MethodFacts(**own)) for name, own in facts.items()}
        return cls(getattr(explain, "references", {}), methods)

    @property
    def facts(self) -> dict[str, MethodFacts]:
        """What is known of its methods."""
        return {name: method.facts for name, method in self.methods.items()}

    def complete(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return a study's attribution section, checked and with the defaults filled in."""
        return complete_settings(settings, tuple(self.references), self.facts)


def method_named(name: str, own: Own | None = None) -> Method:
    """Return a method by name, `own` ones among them; an unknown one is refused with the nearest names."""
    own = own or Own()
    base, reference = parts_of_method(name, own.facts, tuple(own.references))
    method = own.methods[base] if base in own.methods else METHODS[base]
    return Method(name, method.function, method.facts, reference) if reference else method
