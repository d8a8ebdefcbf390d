"""The Gram matrix of centered features, in the smaller of its two forms, and what is solved with it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from scipy.linalg import blas, eigh, lapack

from consilience.errors import ConsilienceError

BLOCK_ELEMENTS = 2**20
# Eigenvalues below RANK · size · epsilon of the largest are rounding: the error of a Gram matrix and its eigenvalues.
RANK = 10
REFINEMENTS = 3
CONVERGED = 1e-13


class CenteredGram:
    """The Gram matrix of X (rows, features) less its column means.

    `matrix` is the dual form Xc Xcᵀ (rows, rows) where rows ≤ features, else the primal form Xcᵀ Xc; only its lower
    triangle is filled. Centering leaves the dual form one null direction, the vector of ones; it is given the
    eigenvalue `shift` (larger than all others), so that the matrix can be regular and that direction stays apart.

    X, float32 or float64, is neither copied nor changed: blocks of it are centered in float64. Memory beside X, with
    m = min(rows, features): 8 m² bytes for the matrix, as much again for a Cholesky factor, 24 m² for `eigen`, and
    blocks of 8 MiB or one row.
    """

    def __init__(self, X: np.ndarray) -> None:
        self.X = X
        self.rows, self.features = X.shape
        self.dual = self.rows <= self.features
        # Relative to the first row, so that a constant column has its own value as its mean, without rounding.
        self.center = X[0].astype(np.float64)
        with np.errstate(invalid="ignore"):
            self.center = self.center + sum(block.sum(axis=0) for block in self._row_blocks()) / self.rows
        if not np.isfinite(self.center).all():
            column = int(np.flatnonzero(~np.isfinite(self.center))[0])
            raise ConsilienceError(f"linear model: feature column {column} holds a value that is not finite")
        size = min(self.rows, self.features)
        self.matrix = np.zeros((size, size), order="F")
        for block in self._columns() if self.dual else self._row_blocks():
            blas.dsyrk(1.0, block.T, beta=1.0, c=self.matrix, trans=int(self.dual), lower=1, overwrite_c=1)
        self.trace = float(np.trace(self.matrix))
        self.shift = (2 * self.trace or 1.0) if self.dual else 0.0
        if self.dual:
            self.matrix += self.shift / self.rows

    def _columns(self) -> Iterator[np.ndarray]:
        width = max(1, BLOCK_ELEMENTS // self.rows)
        for start in range(0, self.features, width):
            yield np.subtract(self.X[:, start : start + width], self.center[start : start + width], order="C")

    def _row_blocks(self) -> Iterator[np.ndarray]:
        height = max(1, BLOCK_ELEMENTS // self.features)
        for start in range(0, self.rows, height):
            yield np.subtract(self.X[start : start + height], self.center, order="C")

    @property
    def scale(self) -> float:
        """The mean diagonal of the matrix before the shift: the mean eigenvalue, what penalties are relative to."""
        return self.trace / len(self.matrix)

    def times(self, coefficients: np.ndarray) -> np.ndarray:
        """Xc times (features, k): (rows, k)."""
        return np.concatenate([block @ coefficients for block in self._row_blocks()])

    def transposed_times(self, values: np.ndarray) -> np.ndarray:
        """Xcᵀ times (rows, k): (features, k)."""
        product, start = np.zeros((self.features, values.shape[1])), 0
        for block in self._row_blocks():
            product += block.T @ values[start : start + len(block)]
            start += len(block)
        return product

    @property
    def tolerance(self) -> float:
        """The share of the largest eigenvalue below which an eigenvalue is zero."""
        return RANK * len(self.matrix) * np.finfo(np.float64).eps

    @cached_property
    def eigen(self) -> tuple[np.ndarray, np.ndarray]:
        """All eigenvalues (m,), ascending, none negative, and vectors (rows or features, m); the shifted one left out.

        m is rows - 1 in the dual form, features in the primal.
        """
        values, vectors = eigh(self.matrix, lower=True, driver="evd", check_finite=False)
        if self.dual:
            values, vectors = values[:-1], vectors[:, :-1]
        return np.maximum(values, 0), vectors

    @cached_property
    def regular(self) -> np.ndarray:
        """Which eigenvalues are not zero, by `tolerance`."""
        values = self.eigen[0]
        return values > self.tolerance * values.max(initial=0)

    @cached_property
    def _factor(self) -> np.ndarray | None:
        """The Cholesky factor, or None where the matrix is singular to working precision."""
        factor, failed = lapack.dpotrf(self.matrix, lower=1)
        if failed:
            return None
        absolute = np.abs(self.matrix)
        lower = np.tril(absolute, -1)
        norm = (lower.sum(axis=0) + lower.sum(axis=1) + absolute.diagonal()).max()
        reciprocal_condition, _ = lapack.dpocon(factor, norm, uplo="L")
        return factor if reciprocal_condition > self.tolerance else None

    def solve(self, values: np.ndarray) -> np.ndarray:
        """Pseudo-inverse times (m, k): by Cholesky where the matrix is regular, else on its regular eigenvectors."""
        if self._factor is not None:
            return lapack.dpotrs(self._factor, values, lower=1)[0]
        eigenvalues, vectors = self.eigen
        vectors = vectors[:, self.regular]
        return vectors @ ((vectors.T @ values) / eigenvalues[self.regular, None])

    def minimum_norm(self, targets: np.ndarray) -> np.ndarray:
        """Return the minimum-norm solution (features, k) of Xc w = targets (rows, k), in the sense of least squares.

        The condition number enters a Gram matrix squared; the corrected seminormal equations (Björck 1987, Linear
        Algebra and its Applications 88/89, section 3) undo that, as their residual is taken with X itself.
        """
        solution = np.zeros((self.features, targets.shape[1]))
        for _ in range(REFINEMENTS):
            residual = targets - self.times(solution) if solution.any() else targets
            step = (
                self.transposed_times(self.solve(residual))
                if self.dual
                else self.solve(self.transposed_times(residual))
            )
            solution += step
            if np.abs(step).max(initial=0) <= CONVERGED * np.abs(solution).max(initial=0):
                break
        return solution
