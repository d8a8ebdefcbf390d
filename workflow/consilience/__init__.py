"""Consilience: which features drive a prediction, and do independent models agree on them.

The library behind the workflow. Importing it is light: torch and its kin are imported by the modules that use them.
"""

__version__ = "0.1.0"
