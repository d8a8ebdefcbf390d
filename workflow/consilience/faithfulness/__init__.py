"""How far the attributions of a model can be trusted: checks that need no truth.

Torch is imported by the modules that run networks, not here.
"""
