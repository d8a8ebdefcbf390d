"""A quick look at one pair: its table against direct calls, its figure against its sequences."""

import matplotlib.colors
import numpy as np
import pytest

from consilience.dataset import Dataset
from consilience.domains.mirna.look import METHODS, SHADE, draw, look
from tests.unit.mirna_examples import BRANCHES, valid_kmers, walked
from tests.unit.mirna_networks import K, Study, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with Dataset.open(write_study(tmp_path_factory.mktemp("mirna"))) as dataset:
        yield Study.of(dataset)


@pytest.fixture(scope="module")
def networks(study, tmp_path_factory):
    return study.networks(tmp_path_factory.mktemp("ensemble") / "e.safetensors", METHODS)


# A positive with N in its miRNA, and a negative.
@pytest.fixture(scope="module", params=[23, 17])
def looked(request, study, networks):
    sample = study.ids[request.param]
    return sample, *look(networks, sample)


def test_rows_are_the_nucleotides_of_both_sequences(study, looked):
    sample, table, _ = looked
    assert list(table) == ["branch", "position", "nucleotide", *METHODS]
    for branch, sequence in zip(BRANCHES, study.pair(sample), strict=True):
        own = table[table["branch"] == branch]
        assert "".join(own["nucleotide"]) == sequence
        assert own["position"].tolist() == list(range(1, len(sequence) + 1))


def test_facts_are_the_pairs_own(study, looked):
    sample, _, facts = looked
    row = study.ids.index(sample)
    assert facts["sample"] == sample
    assert facts["label"] == study.dataset.labels[row]
    assert facts["planted"] == study.dataset.samples["planted_position"].iloc[row]
    assert (facts["mirna"], facts["site"]) == study.pair(sample)
    log_odds = study.log_odds(*study.pair(sample))
    assert facts["log_odds"] == pytest.approx(log_odds.mean(), abs=1e-5)
    # As in predictions.tsv: the mean of the members' probabilities.
    assert facts["probability"] == pytest.approx(np.mean(1 / (1 + np.exp(-log_odds))), abs=1e-6)


def test_mutagenesis_is_that_of_nucleotides(networks, looked):
    sample, table, _ = looked
    for branch, values in networks.falls([sample]).items():
        own = table[table["branch"] == branch]
        np.testing.assert_allclose(own["mutagenesis"], values[0], atol=1e-6)
        assert (own["mutagenesis"].isna() == (own["nucleotide"] == "N")).all()


@pytest.mark.parametrize("name", METHODS[1:])
def test_sums_are_what_the_pairs_own_kmers_have(study, networks, looked, name):
    sample, table, _ = looked
    (method,) = [one for one in networks.methods if one.name == name]
    maps = networks.reader.read(networks.reader.dataset.rows_of([sample])).attribute(method, networks.reader.settings)
    for branch, sequence, part in zip(BRANCHES, study.pair(sample), maps, strict=True):
        assert part.shape == (2, 1, 1, 2**K, 2**K)
        image = part.mean(dim=0)[0, 0].numpy()
        kmers = valid_kmers(sequence, K)
        own = table.loc[table["branch"] == branch, name].to_numpy()
        assert np.nansum(own) == pytest.approx(
            sum(image[walked(kmer)] for kmer in {kmer for _, kmer in kmers}), abs=1e-5
        )
        times = [kmer for _, kmer in kmers]
        for place, value in enumerate(own):
            covering = [kmer for start, kmer in kmers if start <= place < start + K]
            if covering:
                expected = sum(image[walked(kmer)] / times.count(kmer) / K for kmer in covering)
                assert value == pytest.approx(expected, abs=1e-6)
            else:
                assert np.isnan(value)
        assert np.nanstd(own) > 1e-4


def test_the_figure_shows_both_sequences_and_what_is_predicted(study, looked):
    sample, table, facts = looked
    figure = draw(table, facts, "tiny", ["no pair", "pair"])
    assert len(figure.axes) == 2 * len(METHODS)
    for column, sequence in enumerate(study.pair(sample)):
        bottom = figure.axes[-2 + column]
        assert "".join(tick.get_text() for tick in bottom.get_xticklabels()) == sequence
    title = (
        f"{sample}: {['no pair', 'pair'][facts['label']]}, predicted probability of a pair {facts['probability']:.2f}"
    )
    texts = [text.get_text() for text in figure.texts] + [figure.get_suptitle()]
    assert any(title in text.replace("\n", " ") for text in texts)
    assert any("planted match" in text or "6-mer" in text for text in texts)


def test_bars_are_the_tables_values_colored_by_sign(looked):
    _, table, facts = looked
    figure = draw(table, facts, "tiny", ["no pair", "pair"])
    for place, axes in enumerate(figure.axes):
        method, branch = METHODS[place // 2], BRANCHES[place % 2]
        values = np.nan_to_num(table.loc[table["branch"] == branch, method].to_numpy())
        bars = [bar for container in axes.containers for bar in container]
        np.testing.assert_allclose([bar.get_height() for bar in bars], values)
        colors = {
            matplotlib.colors.to_hex(bar.get_facecolor()) for bar, value in zip(bars, values, strict=True) if value < 0
        }
        others = {
            matplotlib.colors.to_hex(bar.get_facecolor()) for bar, value in zip(bars, values, strict=True) if value > 0
        }
        assert len(colors) <= 1
        assert len(others) <= 1
        assert colors != others


def shaded(axes):
    """The positions that an axes shades, (first, last), or None."""
    own = [patch for patch in axes.patches if matplotlib.colors.to_hex(patch.get_facecolor()).upper() == SHADE]
    if not own:
        return None
    box = own[0].get_path().vertices if not hasattr(own[0], "get_x") else None
    start, width = (own[0].get_x(), own[0].get_width()) if box is None else (box[:, 0].min(), np.ptp(box[:, 0]))
    return start + 0.5, start + width - 0.5


def test_the_seed_and_its_match_are_shaded(study, networks):
    table, facts = look(networks, study.ids[23])
    figure = draw(table, facts, "tiny", ["no pair", "pair"])
    assert facts["planted"] > 0
    for place, axes in enumerate(figure.axes):
        expected = (facts["planted"], facts["planted"] + 6) if place % 2 else (2, 8)
        assert shaded(axes) == pytest.approx(expected)
    # Without a match there is nothing to shade in the site.
    figure = draw(
        table,
        facts | {"planted": -1, "mirna": "A" * len(facts["mirna"]), "site": "C" * len(facts["site"])},
        "tiny",
        ["no pair", "pair"],
    )
    assert [shaded(axes) is None for axes in figure.axes] == [False, True] * len(METHODS)
