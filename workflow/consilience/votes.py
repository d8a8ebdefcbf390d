"""Fractions of votes: how far a prediction is from them, and how far they are from one voice; needs no torch."""

from __future__ import annotations

import numpy as np
from scipy.special import entr


def divergence(votes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the Kullback-Leibler divergence, the sum over classes of t log(t / p) in nats, (...).

    `votes` are fractions t and `probabilities` p, (..., classes); a probability of 0 counts as float64's epsilon.
    """
    clipped = np.clip(probabilities, np.finfo(np.float64).eps, 1)
    return (votes * np.log(np.where(votes > 0, votes, 1) / clipped)).sum(axis=-1)


def disagreement(votes: np.ndarray) -> np.ndarray:
    """Return the entropy of fractions (..., classes) over that of equal ones, (...): from 0, one voice, to 1."""
    return entr(votes).sum(axis=-1) / np.log(votes.shape[-1])
