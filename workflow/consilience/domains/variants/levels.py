"""From where on something counts: limits that tables, figures and texts share."""

FALSE_SHARE = 0.05  # of what is called significant, at most so much by chance (Benjamini and Hochberg)
DEAD = 0.05  # more dead atoms, as a share, are too many
FAR_FROM_K = 0.10  # relative: codes a call farther from k are too far
SAME = 0.7  # atoms of two dictionaries with a cosine of so much or more are one
