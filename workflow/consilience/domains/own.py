"""What a slice adds to attribution, for those who use the library without the workflow."""

from __future__ import annotations

from consilience.attribution.methods import Own
from consilience.configuration import own_methods
from consilience.domains import has_module, slice_module


def own(domain: str) -> Own:
    """Return a slice's own references and methods of attribution."""
    explain = slice_module(domain, "explain") if has_module(domain, "explain") else None
    return Own.of(explain, own_methods(domain))
