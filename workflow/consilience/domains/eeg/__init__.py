"""Electroencephalography: recordings of a scalp montage and their spectrograms to patterns that raters voted for."""
