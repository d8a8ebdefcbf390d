"""CPU time of the linear models against scikit-learn and NumPy, at 1,500 samples of 20,000 features.

Run as `OMP_NUM_THREADS=1 python tests/benchmarks/bench_linear.py [samples features]`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

from sklearn.linear_model import LinearRegression, RidgeCV

from consilience.linear.least_squares import RELATIVE_PENALTIES, minimum_norm, ridge_path


def simulate(samples: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Standardized features in correlated blocks of five, as genes are, and a target that some of them drive."""
    generator = np.random.default_rng(0)
    modules = np.repeat(generator.normal(size=(samples, features // 5)), 5, axis=1)
    X = 0.8 * modules + 0.6 * generator.normal(size=(samples, features))
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return X, X[:, :100:5].sum(axis=1) + 4 * generator.normal(size=samples) + 3


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return a result and the CPU-seconds it took."""
    start = time.process_time()
    return work(), time.process_time() - start


def disagreement(mine: np.ndarray, peer: np.ndarray) -> float:
    """Return the largest difference of coefficients, relative to the largest coefficient."""
    return float(np.abs(mine - peer).max() / np.abs(peer).max())


def main() -> None:
    """Print CPU-seconds, ratios and agreement."""
    samples, features = (int(value) for value in sys.argv[1:3]) if len(sys.argv) > 2 else (1500, 20000)
    X, y = simulate(samples, features)
    print(f"{samples} samples, {features} features, CPU-seconds")
    (_, mine), seconds = timed(lambda: minimum_norm(X, y))
    print(f"minimum_norm                     {seconds:8.2f}")
    peer, others = timed(lambda: LinearRegression().fit(X, y))
    print(
        f"scikit-learn LinearRegression    {others:8.2f}  {others / seconds:5.1f}x  {disagreement(mine, peer.coef_):.0e}"
    )
    # X has mean zero, so that its pseudo-inverse alone is the same solution; its rank is one less than its rows.
    pinv, others = timed(lambda: np.linalg.pinv(X, rcond=1e-10) @ (y - y.mean()))
    print(f"numpy pinv, rcond 1e-10          {others:8.2f}  {others / seconds:5.1f}x  {disagreement(mine, pinv):.0e}")
    path, seconds = timed(lambda: ridge_path(X, y))
    print(f"ridge_path, leave one out        {seconds:8.2f}")
    penalties = RELATIVE_PENALTIES * np.mean(np.einsum("ij,ij->i", X, X))
    peer, others = timed(lambda: RidgeCV(alphas=penalties).fit(X, y))
    agree = disagreement(path.coefficients, peer.coef_)
    same = "same penalty" if np.isclose(path.penalty, peer.alpha_, rtol=1e-9) else "ANOTHER PENALTY"
    print(f"scikit-learn RidgeCV             {others:8.2f}  {others / seconds:5.1f}x  {agree:.0e}, {same}")
    _, seconds = timed(lambda: ridge_path(X, y, groups=np.arange(samples) % 5))
    print(f"ridge_path, 5 folds of groups    {seconds:8.2f}  {others / seconds:5.1f}x RidgeCV, which leaves one out")


if __name__ == "__main__":
    main()
