"""A dataset prepared from a folder and read again, for the tests of how EEG recordings are prepared."""

from __future__ import annotations

from consilience.dataset import Dataset
from consilience.domains.eeg.prepare import prepare
from tests.unit.eeg_examples import settings_of, write_folder

BRANCHES = ("eeg", "spectrogram")


def made(folder, output, source=None, memory=2**24, **keys):
    """Prepare; return inputs and masks by branch, target, samples, the file's attributes and the audit."""
    audit = prepare([folder], settings_of(source, **keys), output, 0, memory)
    with Dataset.open(output) as data:
        inputs = {name: (data.inputs(name), data.mask(name)) for name in BRANCHES}
        return inputs, data.target, data.samples, dict(data.file.attrs), audit, data.auxiliary()


def made_example(folder):
    """Return a folder of three recordings, its labels, and its dataset, which is made beside it."""
    folder, labels = write_folder(folder)
    return folder, labels, made(folder, folder.parent / "dataset.h5")
