"""miRNA-target pairs: which k-mers of the miRNA and of the site make a pair, by frequency chaos game images."""
