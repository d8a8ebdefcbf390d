"""Multinomial logistic regression with an L2 penalty that is chosen over folds of groups."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from consilience.errors import ConsilienceError
from consilience.linear.folds import group_folds
from consilience.linear.gram import CenteredGram
from consilience.progress import following

# From strong to weak, times a quarter of the Gram's mean eigenvalue: the most that the loss can curve on the average.
RELATIVE_PENALTIES = np.logspace(3, -3, 13)
SELECTION_TOLERANCE = 1e-4
TOLERANCE = 1e-6
ITERATIONS = 2000
# Penalties in a row without a better loss, after which weaker ones are not tried.
PATIENCE = 2


@dataclass(frozen=True)
class LogisticFit:
    """A logistic regression: `logits = X coefficientsᵀ + intercepts`.

    With two classes `coefficients` (1, features) and `intercepts` (1,) are of the log-odds of the second; with more
    they are (classes, features) and (classes,), centered over classes. `C` is the inverse penalty, in scikit-learn's
    sense for weights of mean one. `losses` are the held-out log losses at `penalties` (descending; untried ones are
    left out), and `at_edge` says that the penalty chosen is the first or last of the grid.
    """

    coefficients: np.ndarray
    intercepts: np.ndarray
    C: float
    penalties: np.ndarray
    losses: np.ndarray
    at_edge: bool

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        """Class probabilities (rows, classes)."""
        return softmax(_logits(X @ self.coefficients.T + self.intercepts), axis=1)


def fit(
    X: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    groups: np.ndarray,
    seed: int,
    folds: int = 5,
) -> LogisticFit:
    """Fit by scikit-learn, with the penalty of the smallest log loss over `folds` folds of `groups`.

    X (rows, features); target (rows,) class indices, or (rows, classes) fractions, which count as one weighted row a
    class; weight (rows,), of which only the ratios matter. A fold is predicted by a fit to the other folds; rows of a
    class that those lack are not scored. Where features outnumber rows, the fit runs in the space the rows span: the
    penalty does not change under rotation, and its solution lies in that space (Hastie & Tibshirani 2004,
    Biostatistics 5:329, section 2). Raises ConsilienceError for a class without rows, and where no fold can be scored.
    """
    fractions = _fractions(target)
    weight = weight / np.mean(weight)
    space = _Space(X)
    penalties = RELATIVE_PENALTIES * space.scale / 4
    losses = _held_out_losses(space.X, fractions, weight, group_folds(groups, folds, seed), penalties)
    best = int(np.argmin(losses))
    rows, labels, weights = _expanded(fractions, weight)
    model = _model(penalties[best], TOLERANCE).fit(space.X[rows].astype(np.float64), labels, weights)
    coefficients, intercepts = space.back(model.coef_, model.intercept_)
    return LogisticFit(
        coefficients - coefficients.mean(axis=0) if len(coefficients) > 1 else coefficients,
        intercepts - intercepts.mean() if len(intercepts) > 1 else intercepts,
        float(1 / penalties[best]),
        penalties[: len(losses)],
        losses,
        best in (0, len(penalties) - 1),
    )


def _fractions(target: np.ndarray) -> np.ndarray:
    target = np.asarray(target)
    fractions = np.eye(target.max() + 1)[target] if target.ndim == 1 else target
    empty = np.flatnonzero(fractions.sum(axis=0) == 0)
    if len(empty) or fractions.shape[1] < 2:
        raise ConsilienceError(f"logistic regression: class {empty[0] if len(empty) else 1} has no training sample")
    return fractions


class _Space:
    """The rows of X, in coordinates of the space they span where features outnumber them."""

    def __init__(self, X: np.ndarray) -> None:
        self.gram = CenteredGram(X) if len(X) < X.shape[1] else None
        if self.gram is None:
            self.X = X
            self.scale = len(X) * float(np.mean([column.var(dtype=np.float64) for column in X.T])) or 1.0
        else:
            values, vectors = self.gram.eigen
            self.vectors, self.lengths = vectors[:, self.gram.regular], np.sqrt(values[self.gram.regular])
            self.X = (self.vectors * self.lengths).astype(X.dtype)
            self.scale = self.gram.scale or 1.0

    def back(self, coefficients: np.ndarray, intercepts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients (outputs, features) and intercepts on X of those in this space."""
        if self.gram is None:
            return coefficients, intercepts
        original = self.gram.transposed_times(self.vectors @ (coefficients / self.lengths).T).T
        return original, intercepts - original @ self.gram.center


def _expanded(fractions: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, label and weight of every fraction that is not zero."""
    rows, labels = np.nonzero(fractions)
    return rows, labels, weight[rows] * fractions[rows, labels]


def _model(penalty: float, tolerance: float) -> LogisticRegression:
    return LogisticRegression(C=1 / penalty, tol=tolerance, max_iter=ITERATIONS, warm_start=True)


def _logits(scores: np.ndarray) -> np.ndarray:
    """Scores (rows, outputs) as logits (rows, classes): one output is the log-odds of the second class."""
    return np.column_stack([np.zeros(len(scores)), scores]) if scores.shape[1] == 1 else scores


class _Fold:
    """A path of fits to all folds but one, which is predicted; every fit starts from the one before."""

    def __init__(self, X: np.ndarray, fractions: np.ndarray, weight: np.ndarray, held: np.ndarray) -> None:
        present = fractions[~held].sum(axis=0) > 0
        scored = held & (fractions[:, ~present].sum(axis=1) == 0)
        rows, self.labels, self.weights = _expanded(fractions[~held], weight[~held])
        self.X, self.X_held = X[np.flatnonzero(~held)[rows]], X[scored]
        self.shares = fractions[np.ix_(scored, present)] * weight[scored, None]
        self.model = _model(1.0, SELECTION_TOLERANCE)
        self.usable = present.sum() > 1 and bool(scored.any())

    def loss(self, penalty: float) -> float:
        """Return the summed log loss of the held-out rows."""
        self.model.C = 1 / penalty
        self.model.fit(self.X, self.labels, self.weights)
        scores = self.X_held @ self.model.coef_.T + self.model.intercept_
        return -float(np.sum(self.shares * log_softmax(_logits(scores), axis=1)))


def _held_out_losses(
    X: np.ndarray, fractions: np.ndarray, weight: np.ndarray, folds: np.ndarray, penalties: np.ndarray
) -> np.ndarray:
    """Mean log loss (penalties tried,) over the rows of all folds, each predicted without itself."""
    paths = [_Fold(X, fractions, weight, folds == fold) for fold in np.unique(folds)]
    paths = [path for path in paths if path.usable]
    if not paths:
        raise ConsilienceError(
            "logistic regression: no fold of groups can be predicted, as the others lack its classes; "
            "every class needs two groups in the training role"
        )
    total = sum(path.shares.sum() for path in paths)
    losses: list[float] = []
    # A fit that stops short of its tolerance is still judged by what it predicts; the final one warns.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for penalty in following(penalties, "fitting logistic regression", "penalty"):
            losses.append(sum(path.loss(penalty) for path in paths) / total)
            if len(losses) - int(np.argmin(losses)) > PATIENCE:
                break
    return np.asarray(losses)
