"""What independent models agree on: their lists, the matrix of those lists, and the scores of every driver."""
