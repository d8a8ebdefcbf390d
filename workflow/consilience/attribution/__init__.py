"""Attribution: how much each input feature moves an ensemble's prediction, and which way.

Light to import: `names` and `store` need no torch; `function`, `methods`, `references`, `statistics` and `explain` do.
"""
