"""What networks say when asked about single pairs, against networks that are called one by one."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from consilience.dataset import Dataset
from consilience.domains.mirna import analyze
from consilience.domains.mirna.mutagenesis import interactions
from consilience.domains.mirna.tables import Pairs, Tables
from consilience.errors import ConsilienceError
from consilience.files import read_h5, read_strings, write_table
from tests.unit.mirna_examples import BRANCHES, partner
from tests.unit.mirna_networks import K, Study, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with Dataset.open(write_study(tmp_path_factory.mktemp("mirna"))) as dataset:
        yield Study.of(dataset)


@pytest.fixture(scope="module")
def networks(study, tmp_path_factory):
    return study.networks(tmp_path_factory.mktemp("ensemble") / "e.safetensors")


@pytest.fixture(scope="module")
def samples(study):
    """Test pairs of unlike lengths, one of them with N in the miRNA, and a training pair with N in the site."""
    return [study.ids[row] for row in (23, 17, 6, 20)]


def falls_by_hand(study, sample):
    """The mean fall of the members' F under the three substitutions of every known nucleotide."""
    pair, found = list(study.pair(sample)), []
    wild = study.log_odds(*pair)
    for branch, sequence in enumerate(pair):
        falls = []
        for place, letter in enumerate(sequence):
            mutants = [sequence[:place] + other + sequence[place + 1 :] for other in "ACGT" if other != letter]
            values = [study.log_odds(*(mutant if own == branch else pair[own] for own in (0, 1))) for mutant in mutants]
            falls.append(np.mean(wild - np.array(values)) if letter != "N" else np.nan)
        found.append(falls)
    return found


def test_falls_are_those_of_mutants_one_by_one(study, networks, samples):
    found = networks.falls(samples)
    for place, branch in enumerate(BRANCHES):
        longest = max(len(study.pair(sample)[place]) for sample in samples)
        assert found[branch].shape == (len(samples), longest)
        for row, sample in enumerate(samples):
            expected = falls_by_hand(study, sample)[place]
            expected += [np.nan] * (longest - len(expected))
            np.testing.assert_allclose(found[branch][row], expected, atol=2e-5)
    assert np.isnan(found["site"][2, 15])
    assert np.nanstd(found["mirna"]) > 0.01


@pytest.mark.parametrize("size", [1, 7])
def test_the_size_of_batches_changes_nothing(study, networks, samples, tmp_path, size):
    others = study.networks(tmp_path / "e.safetensors", internal_batch=size)
    assert [len(part) for part in others.reader.batches(others.reader.dataset.rows_of(samples))] == (
        [1] * 4 if size == 1 else [4]
    )
    first, second = networks.falls(samples), others.falls(samples)
    for branch in BRANCHES:
        np.testing.assert_allclose(second[branch], first[branch], atol=1e-5)
    # Windows of eleven nucleotides, since there are few.
    one, other = networks.interactions(samples[:2], 11, 1), others.interactions(samples[:2], 11, 1)
    for sample in samples[:2]:
        np.testing.assert_allclose(one[sample].map, other[sample].map, atol=1e-5)


def test_the_order_and_company_of_samples_change_nothing(networks, samples):
    found, turned = networks.falls(samples), networks.falls(samples[::-1])
    for branch in BRANCHES:
        np.testing.assert_allclose(turned[branch][::-1], found[branch], atol=1e-5)
        alone = networks.falls(samples[1:2])[branch][0]
        np.testing.assert_allclose(alone, found[branch][1, : len(alone)], atol=1e-5)
    first = networks.interactions(samples[:3], 4, 2)
    second = networks.interactions(samples[2::-1], 4, 2)
    assert list(first) == samples[:3]
    assert list(second) == samples[2::-1]
    for sample in samples[:3]:
        np.testing.assert_allclose(first[sample].map, second[sample].map, atol=1e-5)


def test_interactions_are_those_of_the_pair_alone(study, networks, samples):
    found = networks.interactions(samples, 4, 2)
    for sample in samples:
        mirna, site = study.pair(sample)
        batch = networks.reader.read(networks.reader.dataset.rows_of([sample]))
        (alone,) = interactions(batch, 4, 2, 1000)
        np.testing.assert_allclose(found[sample].map, alone.map, atol=1e-5)
        shape = (len(mirna) - 3, len(site) - 3)
        assert found[sample].map.shape == shape
        for row, column in np.ndindex(shape):
            windows = mirna[row : row + 4], site[column : column + 4]
            fits = "N" not in "".join(windows) and windows[1] == partner(windows[0])
            assert found[sample].complementary[row, column] == fits
    # The planted match of seven has four windows of four.
    positives = [sample for sample in samples if study.dataset.labels[study.ids.index(sample)]]
    assert positives
    assert all(found[sample].complementary.sum() >= 4 for sample in positives if "N" not in study.pair(sample)[1])


def test_activations_are_the_first_convolutions_of_the_first_member(study, networks, samples):
    found = networks.activations(samples)
    for place, branch in enumerate(BRANCHES):
        layer = getattr(study.modules[0], branch).first
        weight, bias = layer.convolution.weight, layer.convolution.bias
        norm = layer.normalization
        for row, sample in enumerate(samples):
            image = study.scaled(branch, study.pair(sample)[place])[None]
            with torch.no_grad():
                values = functional.conv2d(image, weight, bias, padding=1)[0]
                slope = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                values = (values - norm.running_mean[:, None, None]) * slope[:, None, None] + norm.bias[:, None, None]
            np.testing.assert_allclose(found[branch][row], values.clamp(min=0).numpy(), atol=1e-5)
        assert found[branch].shape == (len(samples), 2, 2**K, 2**K)


def test_members_on_permuted_labels_are_not_asked(study, networks, samples):
    assert networks.reader.function.members == 2
    assert [member.permuted for member in study.ensemble.members] == [0, 0, 1]


def test_an_unknown_pair_is_refused_with_the_nearest(networks):
    with pytest.raises(ConsilienceError, match="no sample 'pair-0009'.*pair-000"):
        networks.falls(["pair-00001", "pair-0009"])
    with pytest.raises(ConsilienceError, match="no sample 'zebra'"):
        networks.interactions(["zebra"], 4, 1)


# What analyze.py makes of it


def predictions(study, path, seed=0):
    values = np.random.default_rng(seed).uniform(size=len(study.ids))
    rows = [
        (sample, "test", target, value)
        for sample, one in zip(study.ids, values, strict=True)
        for target, value in (("no pair", 1 - one), ("pair", one))
    ]
    write_table(path, pd.DataFrame(rows, columns=["sample", "role", "target", "predicted"]))
    return dict(zip(study.ids, values, strict=True))


def test_probabilities_are_those_of_a_pair_in_the_order_of_samples(study, samples, tmp_path):
    values = predictions(study, tmp_path / "p.tsv")
    found = analyze.predicted_of(tmp_path / "p.tsv", samples, "pair")
    assert found == pytest.approx([values[sample] for sample in samples], rel=1e-8)


def test_methods_of_the_slice_and_of_all_domains_have_signs_or_none():
    own = {"mutagenesis": {"signed": True}, "grad_cam": {"signed": False}}
    names = ["saliency", "integrated_gradients_from_zero", "mutagenesis", "grad_cam", "deeplift"]
    assert analyze.signed_methods(names, own) == dict(zip(names, [False, True, True, False, True], strict=True))


class Given:
    def __init__(self, **facts):
        self.__dict__ = facts


def test_the_shown_model_is_asked_and_what_it_says_is_kept(study, networks, tmp_path):
    samples = study.ids[16:]
    predictions(study, tmp_path / "p.tsv")
    settings = {"n_samples": 3, "interaction_samples": 2, "window": 4, "draws": 1, "permutations": 20, "resamples": 10}
    tables = Tables(Pairs.of(study.dataset, samples, K), settings, 0)
    params = Given(analysis=settings, explained=["other", "tiny"], shown="tiny")
    given = Given(predictions=[tmp_path / "absent.tsv", tmp_path / "p.tsv"])
    falls = networks.falls(samples)
    tables.add_falls("tiny", falls)
    analyze.probe_shown(given, params, networks, falls, tables, samples, tmp_path / "maps.h5")
    with read_h5(tmp_path / "maps.h5") as file:
        assert list(read_strings(file, "samples")) == samples
        chosen = list(read_strings(file, "chosen"))
        assert len(chosen) == 3
        labels = study.dataset.labels[16:]
        positives = [name for name, label in zip(samples, labels, strict=True) if label]
        asked = {*chosen, *positives[:2]}
        assert set(file["interactions"]) == set(file["complementary"]) == asked
        for branch in BRANCHES:
            np.testing.assert_allclose(file[f"nucleotides/{branch}"][...], falls[branch], atol=1e-5)
            assert set(file[f"activations/{branch}"]) == {chosen[0]}
    rows = tables.rows["interactions"]
    assert {row["sample"] for row in rows} == {*asked, "all"}
    assert {row["model"] for row in [*rows, *tables.rows["positions"], *tables.rows["enrichment"]]} == {"tiny"}
    assert {(row["branch"], row["label"]) for row in tables.rows["enrichment"]} >= {
        ("mirna", "pair"),
        ("mirna", "no pair"),
        ("site", "pair"),
    }
    outcome = {row["sample"]: row["outcome"] for row in rows}
    values = dict(zip(samples, analyze.predicted_of(tmp_path / "p.tsv", samples, "pair"), strict=True))
    for sample in asked:
        kind = "positive" if values[sample] > 0.5 else "negative"
        right = (values[sample] > 0.5) == bool(labels[samples.index(sample)])
        assert outcome[sample] == f"{'true' if right else 'false'} {kind}"
