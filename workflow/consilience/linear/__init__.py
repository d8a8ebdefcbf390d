"""Linear models on the same features as the networks: minimum-norm least squares, ridge and logistic regression."""
