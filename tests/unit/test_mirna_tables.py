"""The tables of a miRNA study's analysis, against pandas, loops over text, and all turns of an interaction map."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from consilience.attribution.store import STATISTICS as STORED
from consilience.attribution.store import Attributions
from consilience.dataset import Dataset
from consilience.dataset_writer import write_dataset
from consilience.domains.mirna.fcgr import kmers
from consilience.domains.mirna.groups import outcomes
from consilience.domains.mirna.mutagenesis import Interactions
from consilience.domains.mirna.positions import BEFORE, NUCLEOTIDE_FALLS
from consilience.domains.mirna.prepare import prepare
from consilience.domains.mirna.tables import (
    COLUMNS,
    STATISTICS,
    Pairs,
    Tables,
    by_feature,
    maps_of,
    statistics_row,
)
from consilience.files import write_table
from tests.unit.mirna_examples import BRANCHES, drawn_sequence, image_of, valid_kmers, walked
from tests.unit.mirna_networks import K, pairs_of, write_study

METHODS = {"mutagenesis": True, "saliency": False, "deeplift": True}
SETTINGS = {"resamples": 40, "permutations": 100, "top": 12, "clusters": 3}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    with Dataset.open(write_study(tmp_path_factory.mktemp("mirna"))) as dataset:
        yield dataset


@pytest.fixture(scope="module")
def samples(dataset):
    """Pairs in an order of their own."""
    return list(np.random.default_rng(0).permutation(dataset.samples["id"].astype(str))[:17])


@pytest.fixture(scope="module")
def pairs(dataset, samples):
    return Pairs.of(dataset, samples, K)


def named(dataset, values, branch, kmer):
    """A value (features,) by its feature's name."""
    (column,) = np.flatnonzero(dataset.features["name"] == f"{branch}:{kmer}")
    return values[column]


def test_pairs_are_those_that_are_named(dataset, samples, pairs):
    known = pairs_of().assign(id=[f"pair-{row:05d}" for row in range(1, 25)]).set_index("id")
    assert set(samples) <= set(known.index)
    assert pairs.table["id"].tolist() == samples
    for row, sample in enumerate(samples):
        own = known.loc[sample]
        sequences = own["mature_miRNA_Transcript"], own["mRNA_Site_Transcript"]
        assert pairs.labels[row] == own["validation"]
        for branch, sequence in zip(BRANCHES, sequences, strict=True):
            assert pairs.table[branch][row] == sequence
            assert "".join("ACGTN"[code] for code in pairs.codes[branch][row] if code < 5) == sequence
            starts = dict(valid_kmers(sequence, K))
            for start, pixel in enumerate(pairs.windows[branch][row]):
                place = walked(starts[start]) if start in starts else None
                assert pixel == (-1 if place is None else place[0] * 2**K + place[1])
            for kmer in kmers(K).ravel():
                assert named(dataset, pairs.present[row], branch, kmer) == (kmer in starts.values())
    assert pairs.present.dtype == bool


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory):
    """A dataset whose features stand in an order of their own."""
    random = np.random.default_rng(3)
    names = [f"{branch}:{kmer}" for branch in BRANCHES for kmer in kmers(K).ravel()]
    order = random.permutation(len(names))
    sequences = {branch: [drawn_sequence(random, length) for length in (9, 12, 20)] for branch in BRANCHES}
    path = tmp_path_factory.mktemp("shuffled") / "dataset.h5"
    facts = {"unit": "", "source": "", "source_sha256": ""}
    with write_dataset(path, "classification", "pair", classes=["no pair", "pair"], **facts) as writer:
        features = [names[place] for place in order]
        writer.features(pd.DataFrame({"name": features, "branch": [name.split(":")[0] for name in features]}))
        writer.target(np.array([0, 1, 1]))
        about = {"id": ["a", "b", "c"], **sequences, "family": ["f", "g", "g"], "planted_position": [-1, 2, 3]}
        writer.samples(pd.DataFrame(about))
        for branch in BRANCHES:
            units = [features.index(f"{branch}:{kmer}") for kmer in kmers(K).ravel()]
            writer.branch(branch, np.reshape(units, (2**K, 2**K)), 3, "scalar")
            writer.append(branch, np.stack([image_of(sequence, K) for sequence in sequences[branch]]))
    with Dataset.open(path) as dataset:
        yield dataset


def test_every_kmer_stands_where_its_name_says(dataset, shuffled):
    random = np.random.default_rng(1)
    arrays = {branch: random.normal(size=(3, 2**K, 2**K)) for branch in BRANCHES}
    assert shuffled.features["name"].tolist() != dataset.features["name"].tolist()
    for own in (dataset, shuffled):
        found = by_feature(own, arrays)
        assert found.shape == (3, 2 * 4**K)
        for branch in BRANCHES:
            for kmer in kmers(K).ravel():
                values = [named(own, row, branch, kmer) for row in found]
                assert values == arrays[branch][(slice(None), *walked(kmer))].tolist()


def test_present_kmers_are_named_in_any_order_of_features(shuffled):
    pairs = Pairs.of(shuffled, ["c", "a"], K)
    for row, sample in enumerate((2, 0)):
        for branch in BRANCHES:
            sequence = shuffled.samples[branch].iloc[sample]
            for kmer in kmers(K).ravel():
                assert named(shuffled, pairs.present[row], branch, kmer) == (kmer in sequence)


def attributions_of(dataset, permuted, samples=("a", "b")):
    random = np.random.default_rng(2)
    members = pd.DataFrame({"member": range(len(permuted)), "seed": 0, "rows": "all", "permuted": permuted})
    shape = (len(permuted), 1, len(samples), 2**K, 2**K)
    maps = {branch: random.normal(size=shape).astype(np.float32) for branch in BRANCHES}
    return Attributions(
        "tiny", "deeplift", "", dataset.features[["name", "branch"]], ["pair"], members,
        dict.fromkeys(STORED, np.zeros((len(permuted), 1, len(dataset.features)))), None, None, None, list(samples),
        {"samples": list(samples), **maps}, ["test"], "classification", False,
    )  # fmt: skip


@pytest.mark.parametrize("permuted", [[0, 0, 0], [0, 1, 0], [1, 2, 0]])
def test_maps_are_means_over_members_on_real_labels(dataset, shuffled, permuted):
    for own in (dataset, shuffled):
        attributions = attributions_of(own, permuted)
        found = maps_of(own, attributions)
        assert found.shape == (2, 2 * 4**K)
        for row, branch, kmer in product(range(2), BRANCHES, kmers(K).ravel()[::5]):
            values = attributions.showcase[branch][(slice(None), 0, row, *walked(kmer))]
            expected = np.mean([value for value, kind in zip(values, permuted, strict=True) if kind == 0])
            assert named(own, found[row], branch, kmer) == pytest.approx(expected, abs=1e-6)


def test_statistics_are_those_of_pandas():
    values = np.random.default_rng(0).normal(0.1, 2, size=(7, 30)).astype(np.float32)
    flat = pd.Series(values.astype(float).ravel())
    expected = {
        "mean": flat.mean(), "sd": flat.std(ddof=0), "min": flat.min(), "max": flat.max(), "mean_abs": flat.abs().mean(),
        "l1": flat.abs().sum(), "l2": (flat**2).sum() ** 0.5,
    }  # fmt: skip
    assert statistics_row(values) == pytest.approx(expected)
    assert tuple(statistics_row(values)) == STATISTICS


# All tables of a model


@pytest.fixture(scope="module")
def maps(pairs):
    random = np.random.default_rng(4)
    shape = (len(pairs.labels), 2 * 4**K)
    return {name: random.normal(size=shape) * (pairs.present if signed else 1) for name, signed in METHODS.items()}


@pytest.fixture(scope="module")
def predicted(pairs):
    return np.random.default_rng(5).uniform(size=len(pairs.labels))


def analyzed(pairs, maps, predicted, models=("tiny",), seed=0):
    tables = Tables(pairs, SETTINGS, seed)
    for model in models:
        tables.add(model, maps, METHODS, predicted, "mutagenesis")
    return tables


@pytest.fixture(scope="module")
def frames(pairs, maps, predicted):
    return analyzed(pairs, maps, predicted).frames()


def test_tables_without_rows_have_their_columns(pairs, tmp_path):
    for name, frame in Tables(pairs, SETTINGS, 0).frames().items():
        assert tuple(frame) == COLUMNS[name]
        assert frame.empty
        write_table(tmp_path / f"{name}.tsv", frame)
        assert (tmp_path / f"{name}.tsv").read_text().split() == list(COLUMNS[name])


def test_tables_have_their_columns_and_no_others(pairs, maps, predicted):
    tables = analyzed(pairs, maps, predicted)
    tables.add_clusters("tiny", maps["mutagenesis"])
    tables.add_interactions("tiny", interactions_of(pairs), outcome_of(pairs, predicted), 50)
    for name, rows in tables.rows.items():
        assert tuple(tables.frames()[name]) == COLUMNS[name]
        if rows:
            assert set().union(*rows) == set(COLUMNS[name])
    # There are four families, too few for tests between groups.
    assert {name for name, rows in tables.rows.items() if not rows} == {"comparison"}


def test_statistics_are_of_the_branchs_own_features(dataset, maps, frames):
    table = frames["attribution_statistics"].set_index(["method", "branch"])
    assert len(table) == 6
    for (method, branch), row in table.iterrows():
        own = maps[method][:, (dataset.features["branch"] == branch).to_numpy()]
        assert row["mean"] == pytest.approx(own.mean())
        assert row["l1"] == pytest.approx(np.abs(own).sum())
        assert (row["model"], row["samples"]) == ("tiny", 17)


def profile_by_hand(dataset, values, branch, sequence):
    """Every k-mer's value, divided over its places and their nucleotides."""
    found = np.full(len(sequence), np.nan)
    present = valid_kmers(sequence, K)
    times = [kmer for _, kmer in present]
    for start, kmer in present:
        share = named(dataset, values, branch, kmer) / times.count(kmer) / K
        found[start : start + K] = np.nan_to_num(found[start : start + K]) + share
    return found


def test_positions_are_means_of_nucleotides_by_label(dataset, pairs, maps, frames):
    table = frames["positions"].set_index(["method", "branch", "label", "position"]).sort_index()
    for method, branch, (label, value) in product(METHODS, BRANCHES, (("pair", 1), ("no pair", 0))):
        places = {}
        for row in np.flatnonzero(pairs.labels == value):
            about = pairs.table.iloc[row]
            start = 0 if branch == "mirna" else about["planted_position"] - 1
            if start < 0:
                continue
            own = profile_by_hand(dataset, maps[method][row], branch, about[branch])
            for place, one in enumerate(own):
                places.setdefault(place - start + 1, []).append(one)
        known = {place: values for place, values in places.items() if np.isfinite(values).any()}
        if branch == "site":
            known = {place: values for place, values in known.items() if -BEFORE < place <= 17}
        if not known:
            # Nothing is planted in sites of no pairs.
            assert (branch, label) == ("site", "no pair")
            assert (method, branch, label) not in table.index
            continue
        found = table.loc[(method, branch, label)]
        assert found.index.tolist() == sorted(known)
        for place, values in known.items():
            assert found.loc[place, "value"] == pytest.approx(np.nanmean(values))
            assert found.loc[place, "samples"] == np.isfinite(values).sum()


def test_enrichment_is_told_of_every_region_that_there_is(dataset, pairs, maps, frames):
    table = frames["enrichment"].set_index(["method", "branch", "label"])
    assert set(table.index) == {
        (method, *part)
        for method in METHODS
        if method != "mutagenesis"  # its k-mers have their share by place
        for part in (("mirna", "pair"), ("mirna", "no pair"), ("site", "pair"))
    }
    regions = table.reset_index().groupby("branch")["region"].unique().apply(list).to_dict()
    assert regions == {"mirna": ["nucleotides 2-8"], "site": ["planted match"]}
    for (method, branch, label), row in table.iterrows():
        shares = []
        for place in np.flatnonzero(pairs.labels == (label == "pair")):
            about = pairs.table.iloc[place]
            first = 1 if branch == "mirna" else about["planted_position"] - 1
            present = valid_kmers(about[branch], K)
            times = [kmer for _, kmer in present]
            scores = [abs(named(dataset, maps[method][place], branch, kmer)) / times.count(kmer) for kmer in times]
            inside = [sum(first <= start + letter < first + 7 for letter in range(K)) / K for start, _ in present]
            shares.append(np.dot(scores, inside) / sum(scores))
        assert row["share"] == pytest.approx(np.mean(shares))
        assert row["samples"] == len(shares)
        assert row["ratio"] == pytest.approx(row["share"] / row["expected"])
        assert 1 / 101 <= row["p_value"] <= 1


def test_outcomes_and_agreement_are_of_all_methods(pairs, predicted, frames):
    outcome = outcomes(pairs.labels, predicted)
    for (method, branch), rows in frames["outcomes"].groupby(["method", "branch"]):
        assert method in METHODS
        assert branch in BRANCHES
        assert rows.set_index("outcome")["samples"].to_dict() == pd.Series(outcome).value_counts().to_dict()
    table = frames["agreement"].set_index(["method", "other", "metric"])
    assert len(table) == 3 * 2
    signed = table["signed"].groupby(["method", "other"]).first().to_dict()
    assert signed == {
        ("mutagenesis", "saliency"): False,
        ("mutagenesis", "deeplift"): True,
        ("saliency", "deeplift"): False,
    }


def test_agreement_is_over_the_pairs_own_kmers(pairs, maps, frames):
    table = frames["agreement"].set_index(["method", "other", "metric"])
    values = []
    for row, present in enumerate(pairs.present):
        one, other = (maps[name][row, present] for name in ("mutagenesis", "deeplift"))
        values.append(stats.pearsonr(one, other).statistic)
    assert table.loc[("mutagenesis", "deeplift", "pearson"), "value"] == pytest.approx(np.mean(values))


def test_clusters_are_of_mean_sizes(dataset, pairs, maps):
    tables = Tables(pairs, SETTINGS, 0)
    tables.add_clusters("tiny", maps["mutagenesis"])
    frames = tables.frames()
    own = np.abs(maps["mutagenesis"]).mean(axis=0)
    signed = maps["mutagenesis"].mean(axis=0)
    for branch in BRANCHES:
        rows = frames["clusters"].query("branch == @branch and kind == 'sequence'")
        by_size = sorted(kmers(K).ravel(), key=lambda kmer: -named(dataset, own, branch, kmer))
        assert set(rows["kmer"]) == set(by_size[:12])
        assert set(rows["cluster"]) <= {1, 2, 3}
        for _, row in rows.iterrows():
            assert row["attribution"] == pytest.approx(named(dataset, signed, branch, row["kmer"]))
    assert frames["cluster_stability"][["branch", "kind"]].to_numpy().tolist() == [
        [branch, kind] for branch in BRANCHES for kind in ("sequence", "image")
    ]


def test_falls_of_nucleotides_are_enriched_without_the_sites_ends(pairs):
    """What is at the ends of sites alone is no match's, whatever share of it a match covers."""
    tables = Tables(pairs, SETTINGS, 0)
    falls = {branch: np.where(codes < 4, 1.0, np.nan) for branch, codes in pairs.codes.items()}
    falls["site"][:, : K - 1] = 100
    tables.add_falls("tiny", falls)
    rows = tables.frames()["enrichment"]
    assert set(rows["method"]) == {NUCLEOTIDE_FALLS}
    assert rows["ratio"].to_numpy() == pytest.approx(1)
    profile = tables.frames()["positions"].query("branch == 'site'")
    assert profile["value"].max() > 10


def test_comparisons_name_kmers_by_branch(tmp_path_factory):
    """Six families, of which each has pairs and no pairs; positives have more of one k-mer of the site."""
    folder = tmp_path_factory.mktemp("six")
    table = pairs_of(48)
    table["mirna_name"] = table["mirna_family"] = [f"family-{number % 6}" for number in range(48)]
    # Each family has sequences of its own.
    table["mature_miRNA_Transcript"] = [
        f"{'ACGTCA'[number % 6] * 4}ACGTTGCA{'AACCGG'[number % 6] * 3}" for number in range(48)
    ]
    table["validation"] = np.arange(48) // 6 % 2
    table.to_csv(folder / "pairs.csv", index=False)
    prepare([folder / "pairs.csv"], {"k": K, "source": {"kind": "csv"}}, folder / "d.h5", 0)
    with Dataset.open(folder / "d.h5") as dataset:
        pairs = Pairs.of(dataset, list(dataset.samples["id"].astype(str)), K)
        values = np.random.default_rng(0).normal(size=(48, 2 * 4**K))
        held = np.where(pairs.branches == "site", pairs.present.sum(axis=0), 0)
        planted = int(held.argmax())
        values[:, planted] += 5 * pairs.labels
        tables = Tables(pairs, SETTINGS, 0)
        tables.add("tiny", {"deeplift": values}, {"deeplift": True}, np.full(48, 0.7), "deeplift")
        names = dataset.features["name"].tolist()
    table = tables.frames()["comparison"]
    assert len(set(pairs.table["family"])) == 6
    first = table.iloc[0]
    assert (first["feature"], first["comparison"], first["method"]) == (
        names[planted],
        "positive less negative",
        "deeplift",
    )
    assert first["difference"] == pytest.approx(5, abs=1)
    several = set()
    for column, name in enumerate(names):
        holders = pairs.table[pairs.present[:, column]].assign(label=pairs.labels[pairs.present[:, column]])
        if (holders.groupby("family")["label"].nunique() == 2).sum() >= 5:
            several.add(name)
    assert set(table["feature"]) == several
    assert 5 < len(several) < len(names)


def test_tables_come_out_alike_and_models_follow_each_other(pairs, maps, predicted, frames):
    again = analyzed(pairs, maps, predicted, ("tiny", "other")).frames()
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(again[name].iloc[: len(frame)], frame, check_dtype=False)
        second = again[name].iloc[len(frame) :].reset_index(drop=True)
        pd.testing.assert_frame_equal(second, frame.assign(model="other"), check_dtype=False)


# Interactions


def interactions_of(pairs, seed=0, count=8):
    """Random maps, of which every third has no complementary window."""
    random, found = np.random.default_rng(seed), {}
    for number, sample in enumerate(pairs.table["id"][:count]):
        where = np.zeros((7, 12), bool)
        if number % 3:
            where[random.integers(7, size=4), random.integers(12, size=4)] = True
        parallel = np.zeros((7, 12), bool)
        if number % 4:
            parallel[random.integers(7, size=3), random.integers(12, size=3)] = True
        found[sample] = Interactions(random.normal(size=where.shape) + where, where, parallel)
    return found


def outcome_of(pairs, predicted):
    return dict(zip(pairs.table["id"], outcomes(pairs.labels, predicted), strict=True))


def turned_by_hand(one, down, right):
    """The mean over complementary windows, moved down and right around the ends."""
    rows, columns = one.map.shape
    places = [(row, column) for row, column in np.ndindex(rows, columns) if one.complementary[row, column]]
    return np.mean([one.map[(row + down) % rows, (column + right) % columns] for row, column in places])


def test_p_values_of_pairs_are_those_of_all_turns(pairs, predicted):
    found, permutations = interactions_of(pairs), 4000
    tables = Tables(pairs, SETTINGS, 0)
    tables.add_interactions("tiny", found, outcome_of(pairs, predicted), permutations)
    rows = {row["sample"]: row for row in tables.rows["interactions"]}
    assert list(rows) == [*found, "all"]
    for sample, one in found.items():
        row, here = rows[sample], one.complementary
        assert row["complementary"] == here.sum()
        assert row["elsewhere"] == pytest.approx(one.map[~here].mean())
        assert row["outcome"] == outcome_of(pairs, predicted)[sample]
        if not here.any():
            assert "p_value" not in row
            continue
        assert row["at_complementary"] == pytest.approx(one.map[here].mean())
        exact = np.mean([turned_by_hand(one, *turn) >= row["at_complementary"] - 1e-12 for turn in np.ndindex(7, 12)])
        assert row["p_value"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / permutations) + 1e-3)


def test_the_row_of_all_is_of_pairs_with_complementary_windows(pairs, predicted):
    found, permutations = interactions_of(pairs), 60
    tables = Tables(pairs, SETTINGS, 0)
    tables.add_interactions("tiny", found, outcome_of(pairs, predicted), permutations)
    row = tables.rows["interactions"][-1]
    positive = pairs.table["id"][pairs.labels == 1].tolist()
    some = {sample: one for sample, one in found.items() if one.complementary.any() and sample in positive}
    assert row["complementary"] == len(some) < len(set(positive) & set(found))
    beside = [found[name].map[found[name].parallel].mean() for name in found if name in positive]
    assert row["at_parallel"] == pytest.approx(np.nanmean(beside))
    observed = [one.map[one.complementary].mean() for one in some.values()]
    assert row["at_complementary"] == pytest.approx(np.mean(observed))
    assert row["elsewhere"] == pytest.approx(np.mean([one.map[~one.complementary].mean() for one in some.values()]))
    # The pairs of a family turn alike, those of others by themselves.
    families = pairs.table.set_index("id")["family"]
    names = sorted(set(families))
    turns = {}
    for place, name in enumerate(names):
        turns[name] = np.random.default_rng([0, place]).integers((7, 12), size=(permutations, 2))
    totals = [
        sum(turned_by_hand(one, *turns[families[sample]][turn]) for sample, one in some.items())
        for turn in range(permutations)
    ]
    expected = (1 + sum(total >= sum(observed) - 1e-12 for total in totals)) / (1 + permutations)
    assert row["p_value"] == pytest.approx(expected)
    # A second model's row is of its own pairs.
    last = dict(list(some.items())[:1])
    tables.add_interactions("other", last, outcome_of(pairs, predicted), permutations)
    (one,) = last.values()
    assert tables.rows["interactions"][-1]["elsewhere"] == pytest.approx(one.map[~one.complementary].mean())


def test_without_complementary_windows_there_is_no_row_of_all(pairs, predicted):
    found = {sample: one for sample, one in interactions_of(pairs).items() if not one.complementary.any()}
    tables = Tables(pairs, SETTINGS, 0)
    tables.add_interactions("tiny", found, outcome_of(pairs, predicted), 50)
    assert [row["sample"] for row in tables.rows["interactions"]] == list(found)
    assert tables.frames()["interactions"]["p_value"].isna().all()


def test_maps_that_are_a_familys_own_interact_as_seldom_as_p_says(pairs, predicted):
    """A miRNA's windows have a level of their own with any site: pairs of a family are no independent witnesses."""
    families, ids = pairs.table["family"].to_numpy(), pairs.table["id"].tolist()
    together, apart = [], []
    for seed in range(120):
        random = np.random.default_rng(seed)
        levels = {name: np.convolve(random.normal(size=13), np.ones(3), "valid") for name in np.unique(families)}
        where, found = {name: random.integers(11) for name in levels}, {}
        for sample, family in zip(ids, families, strict=True):
            here = np.zeros((11, 9), bool)
            here[where[family], random.integers(9)] = True
            noise = random.normal(scale=0.2, size=(11, 9))
            found[sample] = Interactions(levels[family][:, None] + noise, here, np.zeros_like(here))
        tables = Tables(pairs, SETTINGS, seed)
        tables.add_interactions("tiny", found, dict.fromkeys(found, "true positive"), 59)
        together.append(tables.rows["interactions"][-1]["p_value"])
        parts = [one.at_complementary(59, random) for one in found.values()]
        null, observed = sum(part[1] for part in parts), sum(part[0] for part in parts)
        apart.append((1 + np.count_nonzero(null >= observed)) / 60)
    bound = stats.binom.ppf(0.995, 120, 0.05)
    assert np.count_nonzero(np.array(together) <= 0.05) <= bound
    assert stats.kstest(together, "uniform").pvalue > 0.01
    assert np.count_nonzero(np.array(apart) <= 0.05) > 1.3 * bound
