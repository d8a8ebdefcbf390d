"""The normalizations of expression: what is summed over a sample's genes while reading, and what is made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from consilience.domains.expression.archs4 import Archive
from consilience.errors import ConsilienceError

UNITS = {"log1p_cpm": "log1p CPM", "log1p_tpm": "log1p TPM", "log1p_counts": "log1p counts"}
MILLION = 1e6


@dataclass(frozen=True)
class Normalization:
    """How the values of a file become inputs.

    `weights` (file rows, sums) float64 are what the reader sums each sample with: first ones, which give the library
    size, then what else the normalization divides by. `row_scale` (file rows,) multiplies values before rows of one
    symbol are added up. `divisor` is the column of the sums that a sample is divided by, None for none.
    """

    name: str
    weights: np.ndarray
    row_scale: np.ndarray | None = None
    divisor: int | None = None

    @property
    def unit(self) -> str:
        """The unit of the inputs."""
        return UNITS[self.name]

    def apply(self, values: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """Return log(1 + values), in their precision, per million of the sum where there is a divisor.

        `values` (samples, genes) are floats summed by symbol; `sums` (samples, sums) come from the reader.
        """
        if self.divisor is not None:
            values = values * (MILLION / sums[:, [self.divisor]]).astype(values.dtype)
        return np.log1p(values)


def choose(name: str, archive: Archive) -> Normalization:
    """Return the normalization `name` for a file, or raise ConsilienceError where the file cannot give it.

    `auto`: `log1p_tpm` of a transcript-TPM file, and of counts where the file has lengths; `log1p_cpm` otherwise.

    `log1p_cpm`: log(1 + 10⁶ · count / library size), the library size being the sum over all genes of the file, the
    target and those filtered out later included. `log1p_tpm`: of a transcript-TPM file the values themselves, summed
    by gene; of counts, count / length per million of their sum (Wagner et al. 2012, Theory Biosci. 131:281).
    `log1p_counts`: no normalization, as the earlier expression system had it.
    """
    if name == "auto":
        name = "log1p_tpm" if archive.tpm or "length" in archive.rows else "log1p_cpm"
    if name not in UNITS:
        raise ConsilienceError(f"normalization: {name!r}; expected one of auto, {', '.join(UNITS)}")
    ones = np.ones((archive.layout.rows, 1))
    if archive.tpm:
        if name != "log1p_tpm":
            raise ConsilienceError(
                f"{archive.path}: holds TPM ({archive.layout.dtype} values of transcripts), not the counts that "
                f"normalization: {name} needs; set normalization: log1p_tpm or auto"
            )
        return Normalization(name, ones)
    if name == "log1p_cpm":
        return Normalization(name, ones, divisor=0)
    if name == "log1p_counts":
        return Normalization(name, ones)
    per_kilobase = 1000 / _lengths(archive)
    return Normalization(name, np.column_stack([ones[:, 0], per_kilobase]), per_kilobase, divisor=1)


def _lengths(archive: Archive) -> np.ndarray:
    """Return the lengths (file rows,) in base pairs."""
    if "length" not in archive.rows:
        raise ConsilienceError(
            f"{archive.path}: normalization: log1p_tpm needs a transcript-TPM file or the field "
            f"meta/{archive.level}/length (base pairs); this file of counts has {', '.join(archive.row_fields)}"
        )
    lengths = archive.rows["length"]
    bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(bad):
        symbol = archive.rows["symbol"][bad[0]]
        raise ConsilienceError(
            f"{archive.path}: meta/{archive.level}/length of {symbol} (row {bad[0]}) is {lengths[bad[0]]:g}; "
            "expected a positive number of base pairs"
        )
    return lengths
