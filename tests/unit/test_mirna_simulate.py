"""Simulated pairs: matches stand where the table says, negatives tell nothing but the match, and the truth is planted."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from consilience.configuration import load_study
from consilience.dataset import Dataset
from consilience.domains import slices
from consilience.domains.mirna.prepare import prepare
from consilience.domains.mirna.simulate import MIRNA_LENGTHS, SITE_LENGTH, simulate
from consilience.recovery import recovery
from tests.unit.mirna_examples import COLUMNS, neighbors, partner, valid_kmers

SCHEMA = yaml.safe_load((slices()["mirna"] / "schema.yaml").read_text())
DEFAULTS = {name: part["default"] for name, part in SCHEMA["sources"]["simulate"]["properties"].items()}
EXACT = {"wobble": 0.0, "mismatch": 0.0}


def simulated(folder, seed=0, k=5, **source):
    """Simulate, and return the pairs, a row each, and the truth."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = simulate(folder, {"source": {"kind": "simulate", **DEFAULTS, **source}, "k": k}, seed)
    table = pd.read_csv(folder / "pairs.csv", dtype={"planted_position": "Int64"})
    return table.rename(columns=dict(zip(COLUMNS, ("mirna", "site", "label"), strict=True))), truth


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("exact"), **EXACT)


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    folder = tmp_path_factory.mktemp("default")
    return folder, *simulated(folder)


def planted(row):
    """What stands at a site's planted position, 7 nucleotides."""
    return row.site[row.planted_position - 1 : row.planted_position + 6]


def halves(table):
    """The positives, and the negative that goes with each."""
    return [part.reset_index(drop=True) for part in (table[table["label"] == 1], table[table["label"] == 0])]


def test_the_table_has_the_format_of_the_real_ones(default):
    folder, table, _ = default
    assert [path.name for path in folder.iterdir()] == ["pairs.csv"]
    header = (folder / "pairs.csv").read_text().partition("\n")[0]
    assert header.split(",") == [*COLUMNS, "mirna_name", "mirna_family", "gene_cluster", "planted_position"]
    assert len(table) == DEFAULTS["pairs"]
    assert table["label"].sum() == len(table) // 2
    assert set(table["mirna"].str.len()) == set(MIRNA_LENGTHS)
    assert set(table["site"].str.len()) == {SITE_LENGTH}
    assert set("".join(table["mirna"] + table["site"])) == set("ACGT")
    assert table["gene_cluster"].between(0, DEFAULTS["gene_clusters"] - 1).all()
    assert table["gene_cluster"].nunique() > 1500


def test_one_seed_gives_the_same_bytes_and_another_others(tmp_path):
    truths = [simulated(tmp_path / name, seed, pairs=60)[1] for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    first, again, other = ((tmp_path / name / "pairs.csv").read_bytes() for name in "abc")
    assert first == again != other
    pd.testing.assert_frame_equal(truths[0], truths[1])
    assert not truths[0].equals(truths[2])


def test_more_pairs_leave_the_first_alone(tmp_path):
    few, many = (simulated(tmp_path / name, pairs=pairs)[0] for name, pairs in (("few", 60), ("many", 90)))
    pd.testing.assert_frame_equal(many[:60], few)


def test_k_changes_no_pair(tmp_path):
    tables = [simulated(tmp_path / str(k), k=k, pairs=60)[0] for k in (3, 6)]
    pd.testing.assert_frame_equal(*tables)


def test_a_positive_has_the_match_of_its_seed_where_it_says(exact):
    positives, _ = halves(exact[0])
    assert positives["planted_position"].notna().all()
    for row in positives.itertuples():
        assert planted(row) == partner(row.mirna[1:8])
    places = positives["planted_position"].astype(int)
    assert (places.min(), places.max()) == (1, SITE_LENGTH - 6)
    assert stats.chisquare(np.bincount(places)[1:]).pvalue > 0.001, "anywhere in the site"


def test_a_negative_is_of_the_same_mirna(exact):
    positives, negatives = halves(exact[0])
    for column in ("mirna", "mirna_name", "mirna_family"):
        assert positives[column].tolist() == negatives[column].tolist()


def test_shuffled_negatives_keep_what_their_positive_is_made_of_but_no_match(exact):
    positives, negatives = halves(exact[0])
    shuffled = negatives["planted_position"].isna()
    assert 0.7 < shuffled.mean() < 0.9
    for place in np.flatnonzero(shuffled):
        positive, negative = positives.loc[place], negatives.loc[place]
        assert negative["site"] != positive["site"]
        assert neighbors(negative["site"]) == neighbors(positive["site"])
        assert partner(negative["mirna"][1:7]) not in negative["site"]


def test_decoys_match_another_seed(exact):
    table, _ = exact
    _, negatives = halves(table)
    decoys = negatives[negatives["planted_position"].notna()]
    share, expected = len(decoys) / len(negatives), DEFAULTS["decoys"]
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / len(negatives))
    seeds = set(table["mirna"].str[1:8])
    assert len(seeds) == DEFAULTS["seeds"]
    for row in decoys.itertuples():
        assert partner(planted(row)) in seeds - {row.mirna[1:8]}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_decoys_may_be_none_or_all(tmp_path, share):
    _, negatives = halves(simulated(tmp_path, pairs=60, decoys=share)[0])
    assert negatives["planted_position"].notna().mean() == share


@pytest.mark.parametrize("rates", [(0.05, 0.05), (0.3, 0.2), (0.0, 0.4), (0.6, 0.0)])
def test_wobbles_and_mismatches_are_as_many_as_asked(tmp_path, rates):
    wobble, mismatch = rates
    positives, _ = halves(simulated(tmp_path, seed=2, pairs=2000, wobble=wobble, mismatch=mismatch)[0])
    found = Counter()
    for row in positives.itertuples():
        for expected, letter in zip(partner(row.mirna[1:8]), planted(row), strict=True):
            # U pairs with A and G, G with C and U.
            wobbles = (expected, letter) in {("A", "G"), ("C", "T")}
            kind = "match" if letter == expected else "wobble" if wobbles else "mismatch"
            found[expected in "AC", kind] += 1
    for possible in (True, False):
        total = sum(found[possible, kind] for kind in ("match", "wobble", "mismatch"))
        for kind, rate in (("wobble", wobble if possible else 0), ("mismatch", mismatch)):
            error = 4 * np.sqrt(rate * (1 - rate) / total)
            assert abs(found[possible, kind] / total - rate) <= error, (possible, kind)


def test_families_share_a_seed_and_members_differ_outside_it(tmp_path):
    table, _ = simulated(tmp_path, pairs=3000, seeds=3, families=4, members=3)
    mirnas = table.drop_duplicates("mirna_name").set_index("mirna_name")
    assert len(mirnas) == 3 * 4 * 3
    assert mirnas.groupby("mirna_family").size().tolist() == [3] * 12
    by_seed = mirnas.groupby(mirnas["mirna"].str[1:8])["mirna_family"].nunique()
    assert by_seed.tolist() == [4] * 3
    for _, family in mirnas.groupby("mirna_family"):
        founder, *others = family.sort_index()["mirna"]
        for other in others:
            different = [place for place, pair in enumerate(zip(founder, other, strict=True)) if len(set(pair)) > 1]
            assert len(different) == 2
            assert min(different) >= 8


@pytest.mark.parametrize("seed", range(4))
def test_no_seed_holds_the_six_letters_that_match_another(tmp_path, seed):
    table, _ = simulated(tmp_path, seed=seed, pairs=3000, seeds=40, families=1)
    seeds = sorted(set(table["mirna"].str[1:8]))
    assert len(seeds) == 40
    for one in seeds:
        for other in set(seeds) - {one}:
            assert one[:6] not in other
            assert one[1:] not in other
            assert sum(a != b for a, b in zip(one, other, strict=True)) > 2


@pytest.mark.parametrize("k", [3, 4, 5, 6])
def test_the_truth_is_the_kmers_of_the_seeds(tmp_path, k):
    table, truth = simulated(tmp_path, k=k, pairs=400, seeds=6)
    seeds = set(table["mirna"].str[1:8])
    assert list(truth) == ["feature", "target", "sign", "strength", "effect"]
    assert truth["feature"].is_unique
    assert truth["feature"].is_monotonic_increasing
    expected = Counter()
    for seed in seeds:
        for branch, sequence in (("mirna", seed), ("site", partner(seed))):
            expected.update({f"{branch}:{kmer}" for _, kmer in valid_kmers(sequence, k)})
    assert dict(zip(truth["feature"], (truth["strength"] * 6).round(9), strict=True)) == expected
    site = truth["feature"].str.startswith("site:")
    assert site.sum() == (~site).sum()
    assert set(truth.loc[site, ["sign", "effect"]].itertuples(index=False, name=None)) == {(1, "linear")}
    assert set(truth.loc[~site, ["sign", "effect"]].itertuples(index=False, name=None)) == {(0, "interaction")}
    assert set(truth["target"]) == {"pair"}


def test_prepare_knows_the_planted_features_and_where_they_are(default, tmp_path):
    folder, table, truth = default
    source = {"kind": "simulate", **DEFAULTS}
    audit = prepare([folder / "pairs.csv"], {"k": 5, "source": source}, tmp_path / "dataset.h5", 0)
    with Dataset.open(tmp_path / "dataset.h5") as data:
        assert set(truth["feature"]) <= set(data.features["name"])
        assert recovery(truth, data.features["name"], data.targets, []).empty, "the truth is refused otherwise"
        assert data.labels.tolist() == table["label"].tolist()
        own = table["planted_position"].where(table["label"] == 1).fillna(-1)
        assert data.samples["planted_position"].tolist() == own.tolist()
        assert data.samples["family"].tolist() == table["mirna_family"].tolist()
        assert data.file.attrs["source"] == "simulate"
        matches = data.samples["trivial_seed_match"]
        assert roc_auc_score(data.labels, matches) > 0.75
    assert (audit["samples_after"][audit["step"] != "unknown nucleotides"].iloc[[0, -1]] == len(table)).all()


def composition(sequences, size):
    names = sorted({one[place : place + size] for one in sequences for place in range(len(one) - size + 1)})
    return np.array([[one.count(name) for name in names] for one in sequences])


@pytest.mark.parametrize("column", ["site", "mirna"])
@pytest.mark.parametrize("size", [1, 2])
def test_composition_says_nothing_of_the_label(default, column, size):
    _, table, _ = default
    found = composition(table[column], size)
    cut = 2 * len(table) // 3
    model = LogisticRegression(C=0.1, max_iter=500).fit(found[:cut], table["label"][:cut])
    scores = model.decision_function(found[cut:])
    count = (len(table) - cut) / 2
    # The standard error of an AUROC of 1/2.
    assert abs(roc_auc_score(table["label"][cut:], scores) - 0.5) < 4 * np.sqrt((2 * count + 1) / (12 * count**2))


def test_the_site_alone_tells_less_than_the_pair(default):
    """Decoys carry matches too, so that which k-mers a site has is not enough."""
    _, table, _ = default
    seeds = sorted(set(table["mirna"].str[1:8]))
    any_match = [
        max(partner(seed)[:6] in site or partner(seed)[1:] in site for seed in seeds) for site in table["site"]
    ]
    own_match = [
        partner(mirna[1:8])[:6] in site or partner(mirna[1:8])[1:] in site
        for mirna, site in zip(table["mirna"], table["site"], strict=True)
    ]
    assert roc_auc_score(table["label"], own_match) > roc_auc_score(table["label"], any_match) + 0.05


def test_the_simulation_sees_its_source_and_k_alone(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({"domain": "mirna", "source": {"kind": "simulate"}, "models": "small", "seed": 3}))
    found = load_study(path)
    assert found.simulation == {"source": {"kind": "simulate", **DEFAULTS}, "seed": 3, "k": 6}
