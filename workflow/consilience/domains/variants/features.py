"""What the networks read of calls: their attributes, and k-mer spectra of alleles, consensus and flanks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from consilience.domains.variants.calls import NO_SIZE
from consilience.domains.variants.references import Reference
from consilience.domains.variants.spectrum import BREAK, kmers, spectra
from consilience.domains.variants.vcf import SPANNING, Call


@dataclass(frozen=True)
class Features:
    """Which features there are: those of `types` and of the INFO fields `attributes`, and the k-mers of sequences.

    Of an allele the first `maximum` bases are read; flanks, of `flank` bases, only where there is a `reference`.
    """

    types: tuple[str, ...]
    attributes: tuple[str, ...]
    k: int
    flank: int
    maximum: int
    reference: bool

    @property
    def names(self) -> dict[str, list[str]]:
        """The names of the features by branch, in the order of the branches."""
        told = [f"type {kind}" for kind in self.types]
        told += ["log10 size", *(f"log1p {name}" for name in self.attributes)]
        branches = ["alleles", "consensus", *(["flanks"] if self.reference else [])]
        return {"attributes": told} | {branch: [f"{branch} {kmer}" for kmer in kmers(self.k)] for branch in branches}

    def frame(self) -> pd.DataFrame:
        """Return the features, a row each: name, branch."""
        pairs = [(name, branch) for branch, names in self.names.items() for name in names]
        return pd.DataFrame(pairs, columns=["name", "branch"])

    def block(self, calls: Sequence[Call], reference: Reference | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return values and mask (calls, features of the branch) by branch; the mask is true where absent."""
        sequences = {
            "alleles": [self._allele(call, reference) for call in calls],
            "consensus": [call.consensus for call in calls],
        }
        if reference is not None:
            sequences["flanks"] = [reference.around(call, self.flank) for call in calls]
        blocks = {"attributes": self._attributes(calls)}
        for branch, texts in sequences.items():
            shares, empty = spectra(texts, self.k)
            blocks[branch] = (shares, np.repeat(empty[:, None], shares.shape[1], axis=1))
        return blocks

    def _attributes(self, calls: Sequence[Call]) -> tuple[np.ndarray, np.ndarray]:
        types = np.asarray([[call.type == kind for kind in self.types] for call in calls], np.float64)
        sizes = np.asarray([call.size for call in calls], np.float64)
        told = np.asarray([call.attributes for call in calls], np.float64).reshape(len(calls), len(self.attributes))
        sizes, absent = np.log10(1 + np.maximum(sizes, 0)), sizes == NO_SIZE
        values = np.column_stack([types, sizes, np.sign(told) * np.log1p(np.abs(told))])
        mask = np.column_stack([np.zeros(types.shape, bool), absent, np.isnan(told)])
        return values.astype(np.float32), mask

    def _allele(self, call: Call, reference: Reference | None) -> str:
        """Return the bases that a call takes away and those it puts in, or the span of a symbolic allele."""
        if call.explicit:
            removed, added = (allele[: self.maximum] for allele in call.alleles)
            return f"{removed}{BREAK}{added}"
        if reference is not None and call.type in SPANNING:
            return reference.within(call, self.maximum)
        return ""
