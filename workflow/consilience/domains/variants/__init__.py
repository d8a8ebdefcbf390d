"""Structural-variant calls: which atoms of a sparse dictionary tell true calls from false ones."""
