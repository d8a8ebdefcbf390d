"""Checks the paths a person asks for, before Snakemake says only that no rule makes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from consilience.configuration import Study
from consilience.errors import ConsilienceError, nearest

PATTERN = re.compile(r"results/(?P<study>[^/]+)/(?:(?P<stage>models|attributions)/(?P<model>[^/]+)/)?(?P<file>[^/]+)$")


def check_targets(targets: Iterable[str], studies: Mapping[str, Study]) -> None:
    """Refuse a path under results/ whose study, model or method does not exist, with the nearest names."""
    for match in filter(None, map(PATTERN.match, sorted(targets))):
        path, name, model = match[0], match["study"], match["model"]
        if name not in studies:
            raise ConsilienceError(f"{path}: {_unknown('study', name, studies)}")
        if model and model not in studies[name].models:
            raise ConsilienceError(f"{path}: {_unknown('model', model, studies[name].models)} in study {name}")
        method = match["file"].removesuffix(".h5")
        if match["stage"] == "attributions" and method not in studies[name].methods:
            raise ConsilienceError(f"{path}: {_unknown('method', method, studies[name].methods)} in study {name}")


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    return f"no {kind} {name!r} among {', '.join(known)}{nearest(name, known)}"
