"""The outputs of the systems that the slices come from, and how ours are written under their old names."""
