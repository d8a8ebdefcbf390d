"""A look at one recording: title, report and attribution speak of the same prediction, and say whose attention is shown."""

import numpy as np
import pandas as pd
import pytest
import torch

from consilience.domains.eeg import batch_of
from consilience.domains.eeg.look import attributed, explain, raters, said
from consilience.files import write_table
from consilience.training.ensemble import load_member
from tests.unit.eeg_capture_examples import network, write_study

SETTINGS = {"background": 3, "steps": 8, "draws": 2, "noise": 0.1, "blur": 0.1, "internal_batch": 64, "methods": []}
PARAMS = {"model": "tiny", "primary": "gradient_x_input", "window": 10, "stride": 5, "attribution": SETTINGS}


@pytest.fixture
def study(tmp_path):
    dataset, path, ensemble = write_study(tmp_path)
    samples = [f"segment-{place}" for place in range(6)]
    roles = ["train"] * 4 + ["validation", "test"]
    split = tmp_path / "split.tsv"
    write_table(split, pd.DataFrame({"sample": samples, "group": samples, "role": roles}))
    return {"dataset": str(dataset), "ensemble": str(path), "split": str(split)}, ensemble.on_real_labels()


def probabilities(ensemble, given, sample):
    """Of every member, by the networks themselves."""
    batch = batch_of(given["dataset"], [sample], given["ensemble"])
    auxiliary = {name: values for name, values in batch.items() if name.startswith("mask")}
    with torch.no_grad():
        return np.stack(
            [
                load_member(network(), ensemble.states, place)(batch["eeg"], batch["spectrogram"], **auxiliary)[0]
                .double()
                .softmax(dim=0)
                .numpy()
                for place in range(2)
            ]
        )


@pytest.mark.parametrize("sample", [f"segment-{place}" for place in range(6)])
def test_what_is_told_is_what_the_members_say(study, tmp_path, sample):
    given, ensemble = study
    (tmp_path / "look").mkdir()
    title = explain(tmp_path / "look", given, PARAMS, sample)
    found = probabilities(ensemble, given, sample)
    mean = found.mean(axis=0)
    pattern = "abc"[mean.argmax()]
    assert title.startswith(f"{sample}: tiny sees {pattern} (probability {mean.max():.2f}, mean of 2 members; member ")
    # Both are as near to the mean of two; the first is taken.
    assert (
        f"member 0, whose attention is shown, sees {'it too' if 'abc'[found[0].argmax()] == pattern else 'abc'[found[0].argmax()]}"
        in title
    )
    text = (tmp_path / "look" / "report.txt").read_text()
    assert f"Predicted: {found[0].argmax()} ({'abc'[found[0].argmax()]}), confidence: {found[0].max():.4f}" in text
    names = ["alignment.png", "attribution.png", "cross_attention.png", "head_contributions.png", "report.txt"]
    assert sorted(path.name for path in (tmp_path / "look").iterdir()) == names


def test_attributions_are_the_mean_over_members_of_the_pattern_asked_for(study):
    given, _ = study
    parts = {
        name: attributed(
            given["dataset"], given["ensemble"], given["split"], "segment-5", name, "gradient_x_input", SETTINGS
        )
        for name in "abc"
    }
    # Logits less their mean: what speaks for one class speaks against the others.
    for branch in ("eeg", "spectrogram"):
        np.testing.assert_allclose(sum(part[branch] for part in parts.values()), 0, atol=1e-5)
        assert np.abs(parts["a"][branch]).max() > 1e-3


def test_what_is_said_of_members_and_raters():
    assert said("m", "a", 0.5, [0], 0, "a") == "m sees a (probability 0.50, its one member)"
    assert said("m", "a", 0.5, [0, 3], 3, "b").endswith(
        "mean of 2 members; member 3, whose attention is shown, sees b)"
    )
    assert raters(np.array([0.2, 0.8]), ["x", "y"]) == "most raters see y"
    assert raters(np.array([0.4, 0.4, 0.2]), ["x", "y", "z"]) == "raters are tied between x and y"
