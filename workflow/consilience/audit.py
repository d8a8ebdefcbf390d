"""The audit of a preparation: what every step kept of the samples and the features."""

from __future__ import annotations

import pandas as pd

COLUMNS = ("step", "rule", "samples_before", "samples_after", "features_before", "features_after", "note")


class Audit:
    """Rows in the order of the steps; each step starts from what the one before left."""

    def __init__(self, samples: int, features: int, rule: str, note: str = "") -> None:
        self.samples = samples
        self.features = features
        self.rows = [("source", rule, samples, samples, features, features, note)]

    def step(
        self, step: str, rule: str, samples: int | None = None, features: int | None = None, note: str = ""
    ) -> None:
        """Add a step that leaves `samples` samples and `features` features (None: all there were)."""
        samples_after = self.samples if samples is None else int(samples)
        features_after = self.features if features is None else int(features)
        self.rows.append((step, rule, self.samples, samples_after, self.features, features_after, note))
        self.samples, self.features = samples_after, features_after

    def detail(self, step: str, rule: str, samples: int, before: int, note: str = "") -> None:
        """Add a row that explains a step, such as one keyword's share, and changes no count."""
        self.rows.append((step, rule, before, int(samples), self.features, self.features, note))

    def frame(self) -> pd.DataFrame:
        """Return the table `step, rule, samples_before, samples_after, features_before, features_after, note`."""
        return pd.DataFrame(self.rows, columns=list(COLUMNS))

    def text(self) -> str:
        """Return the table as aligned text."""
        return self.frame().to_string(index=False)
