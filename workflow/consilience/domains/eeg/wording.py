"""Names that notes, figures, reports and texts of the slice share; needs neither torch nor matplotlib."""

from __future__ import annotations

NAMES = {"eeg": "EEG", "spectrogram": "spectrogram"}  # of modalities, in a sentence
HEADINGS = {"eeg": "EEG", "spectrogram": "Spectrogram"}
TITLES = {"eeg_to_spec": "EEG to spectrogram", "spec_to_eeg": "spectrogram to EEG"}  # of directions


def window_names(count: int, seconds: float, stride: float) -> list[str]:
    """Name windows by the seconds they cover, from the start of their segment."""
    return [f"{stride * place:g}-{stride * place + seconds:g} s" for place in range(count)]
