"""Least squares where features may outnumber rows: the minimum-norm solution, and ridge with its penalty chosen.

Both work on X and y less their means, so that the intercept is neither penalized nor part of the norm, and both may
share one `CenteredGram`, which is most of the work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve

from consilience.errors import ConsilienceError
from consilience.linear.gram import CenteredGram

# Times the Gram's mean diagonal, so that one grid serves any number of rows and features.
RELATIVE_PENALTIES = np.logspace(-4, 4, 25)


def minimum_norm(
    X: np.ndarray, y: np.ndarray, gram: CenteredGram | None = None
) -> tuple[float | np.ndarray, np.ndarray]:
    """Return intercept and coefficients of least squares; of all solutions those of the smallest norm.

    X (rows, features); y (rows,) gives a float and (features,), y (rows, outputs) gives (outputs,) and
    (outputs, features). `gram` is that of the same X, where it exists already. Directions of X whose singular value is
    below the square root of `gram.tolerance` of the largest (about 1e-6) count as absent.
    """
    gram, targets, means = _prepare(X, y, gram)
    coefficients = gram.minimum_norm(targets).T
    return _shaped(means - coefficients @ gram.center, coefficients, y)


@dataclass(frozen=True)
class RidgePath:
    """A ridge fit with the penalty of the smallest held-out error.

    `penalty`, `intercept` and `at_edge` are scalars and `coefficients` (features,) for y (rows,); for y
    (rows, outputs) all have a leading axis of outputs, as has `errors`: the mean squared held-out error
    (penalties,) at each of `penalties`. `held_out`, of the shape of y, are the predictions at the penalty chosen for
    rows that were left out. `at_edge`: the penalty chosen is the first or last, the best may lie beyond.
    """

    penalty: float | np.ndarray
    intercept: float | np.ndarray
    coefficients: np.ndarray
    penalties: np.ndarray
    errors: np.ndarray
    held_out: np.ndarray
    at_edge: bool | np.ndarray


def ridge_path(
    X: np.ndarray,
    y: np.ndarray,
    penalties: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    gram: CenteredGram | None = None,
) -> RidgePath:
    """Fit ridge regression, |y - b - Xw|² + penalty |w|², at the penalty with the smallest exact held-out error.

    `groups` (rows,) are left out together, one after the other; None leaves out single rows. All penalties (ascending;
    by default `RELATIVE_PENALTIES` times the Gram's mean diagonal) share one eigendecomposition: with H the matrix
    that takes y to its fit, intercept included, the errors of rows g predicted without them are (I - H_gg)⁻¹ r_g, r
    the residuals of the full fit (Golub, Heath & Wahba 1979, section 2, for single rows; the block form by the
    Woodbury identity). Equal errors choose the larger penalty; with several outputs each has a penalty of its own.
    """
    gram, targets, means = _prepare(X, y, gram)
    if penalties is None:
        penalties = RELATIVE_PENALTIES * (gram.scale or 1.0)
    penalties = np.asarray(penalties, dtype=np.float64)
    if len(penalties) == 0 or not (penalties > 0).all() or (np.diff(penalties) <= 0).any():
        raise ConsilienceError(f"ridge: penalties must be positive and ascending, not {penalties}")
    smoother = _Smoother(gram)
    folds = None if groups is None else _folds(groups, gram.rows)
    errors = np.stack(
        [np.mean(_held_out(smoother, targets, penalty, folds) ** 2, axis=0) for penalty in penalties], axis=1
    )
    best = errors.shape[1] - 1 - errors[:, ::-1].argmin(axis=1)
    coefficients = smoother.coefficients(targets, penalties[best]).T
    intercept, coefficients = _shaped(means - coefficients @ gram.center, coefficients, y)
    at_edge = (best == 0) | (best == len(penalties) - 1)
    left = {place: _held_out(smoother, targets, penalties[place], folds) for place in np.unique(best)}
    missed = np.column_stack([left[place][:, output] for output, place in enumerate(best)])
    held_out = (targets + means - missed).reshape(np.shape(y))
    if np.ndim(y) == 1:
        chosen = float(penalties[best[0]])
        return RidgePath(chosen, intercept, coefficients, penalties, errors[0], held_out, bool(at_edge[0]))
    return RidgePath(penalties[best], intercept, coefficients, penalties, errors, held_out, at_edge)


def _prepare(X: np.ndarray, y: np.ndarray, gram: CenteredGram | None) -> tuple[CenteredGram, np.ndarray, np.ndarray]:
    """Return the Gram, centered targets (rows, outputs) and their means (outputs,)."""
    y = np.asarray(y, dtype=np.float64)
    if len(X) != len(y) or not len(y) or not np.isfinite(y).all():
        raise ConsilienceError(f"linear model: y of shape {y.shape} for X of {X.shape}, expected a finite row a row")
    targets = y.reshape(len(y), -1)
    means = targets.mean(axis=0)
    return gram or CenteredGram(X), targets - means, means


def _shaped(intercept: np.ndarray, coefficients: np.ndarray, y: np.ndarray) -> tuple[float | np.ndarray, np.ndarray]:
    return (float(intercept[0]), coefficients[0]) if np.ndim(y) == 1 else (intercept, coefficients)


def _folds(groups: np.ndarray, rows: int) -> list[np.ndarray]:
    groups = np.asarray(groups)
    if len(groups) != rows or len(np.unique(groups)) < 2:
        raise ConsilienceError(
            f"ridge: {len(groups)} rows in {len(np.unique(groups))} groups for X of {rows} rows; "
            "expected a group a row, and two groups at least"
        )
    return [np.flatnonzero(groups == group) for group in np.unique(groups)]


class _Smoother:
    """The matrix I - H of a ridge fit with intercept, for any penalty, from one eigendecomposition.

    Dual: I - H = V diag(penalty / (s + penalty)) Vᵀ, over all directions but the vector of ones, which the intercept
    takes. Primal: I - H = I - 11ᵀ/n - U diag(s / (s + penalty)) Uᵀ with U = Xc V s^(-1/2).
    """

    def __init__(self, gram: CenteredGram) -> None:
        self.gram = gram
        values, vectors = gram.eigen
        if gram.dual:
            self.values, self.vectors = values, vectors
        else:
            self.values = values[gram.regular]
            self.vectors = gram.times(vectors[:, gram.regular]) / np.sqrt(self.values)

    def shares(self, penalty: float) -> np.ndarray:
        """Return the share of each direction that is left to the residual (dual) or taken by the fit (primal)."""
        return (penalty if self.gram.dual else self.values) / (self.values + penalty)

    def residuals(self, targets: np.ndarray, penalty: float) -> np.ndarray:
        """(I - H) times centered targets (rows, outputs)."""
        part = self.vectors @ (self.shares(penalty)[:, None] * (self.vectors.T @ targets))
        return part if self.gram.dual else targets - part

    def diagonal(self, penalty: float) -> np.ndarray:
        """Return the diagonal of I - H (rows,)."""
        part = np.einsum("ij,ij,j->i", self.vectors, self.vectors, self.shares(penalty))
        return part if self.gram.dual else 1 - 1 / self.gram.rows - part

    def solve(self, rows: np.ndarray, residuals: np.ndarray, penalty: float) -> np.ndarray:
        """(I - H)_gg⁻¹ times residuals (g, outputs), for the block of `rows` g."""
        basis = self.vectors[rows] * np.sqrt(self.shares(penalty))
        if self.gram.dual:
            return solve(basis @ basis.T, residuals, assume_a="pos")
        basis = np.column_stack([np.full(len(rows), self.gram.rows**-0.5), basis])
        if len(rows) <= basis.shape[1]:
            return solve(np.eye(len(rows)) - basis @ basis.T, residuals, assume_a="pos")
        inner = np.eye(basis.shape[1]) - basis.T @ basis
        return residuals + basis @ solve(inner, basis.T @ residuals, assume_a="pos")

    def coefficients(self, targets: np.ndarray, penalties: np.ndarray) -> np.ndarray:
        """Ridge coefficients (features, outputs) with a penalty (outputs,) each."""
        values, vectors = self.gram.eigen
        right = targets if self.gram.dual else self.gram.transposed_times(targets)
        solution = vectors @ ((vectors.T @ right) / (values[:, None] + penalties))
        return self.gram.transposed_times(solution) if self.gram.dual else solution


def _held_out(smoother: _Smoother, targets: np.ndarray, penalty: float, folds: list[np.ndarray] | None) -> np.ndarray:
    """Return the errors (rows, outputs) of predictions for rows, or folds of rows, without themselves."""
    residuals = smoother.residuals(targets, penalty)
    if folds is None:
        return residuals / smoother.diagonal(penalty)[:, None]
    errors = np.empty_like(residuals)
    for rows in folds:
        errors[rows] = smoother.solve(rows, residuals[rows], penalty)
    return errors
