"""Simulated benches: valid VCF that agrees with its reference, signals as often as stated, and a label that is hard."""

import gzip
import itertools
import re
from collections import Counter

import numpy as np
import pandas as pd
import pysam
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from consilience.domains.variants.calls import LABEL_FIELDS, TYPES
from consilience.domains.variants.simulate import simulate
from consilience.domains.variants.simulated_calls import IMPRECISE_SHARE, SIGNALS
from consilience.domains.variants.simulated_sequences import MOTIF, element

SOURCE = {"kind": "simulate", "calls": 2000, "true_share": 0.6, "chromosomes": 24, "strength": 1.0, "reference": True}
SMALL = {"calls": 200, "chromosomes": 8}
BENCH = ("tp-comp.vcf.gz", "fp.vcf.gz")
ATTRIBUTES = ("HOMLEN", "PE", "SR", "MAPQ", "SRMAPQ")
SPANNING = ("DEL", "DUP", "INV")
MATE = re.compile(r"([ACGT]?)([\[\]])(chr\w+):(\d+)([\[\]])([ACGT]?)")


def other_strand(sequence):
    return "".join({"A": "T", "C": "G", "G": "C", "T": "A"}[base] for base in reversed(sequence))


def run(folder, seed=0, k=4, **source):
    folder.mkdir(parents=True, exist_ok=True)
    return simulate(folder, {"source": {**SOURCE, **source}, "k": k}, seed)


def read(folder):
    """The calls of both files as pysam reads them, in a table with the label, and what was planted."""
    rows = []
    for label, name in ((1, BENCH[0]), (0, BENCH[1])):
        with pysam.VariantFile(str(folder / name)) as file:
            rows += [
                {"label": label, "id": record.id, "contig": record.chrom, "position": record.pos, "end": record.stop,
                 "ref": record.ref, "alt": record.alts[0], "quality": record.qual, "type": record.info["SVTYPE"],
                 "fields": dict(record.info), "genotype": record.samples[0]["GT"]}
                for record in file
            ]  # fmt: skip
    table = pd.DataFrame(rows)
    table["consensus"] = [fields.get("CONSENSUS", "") for fields in table["fields"]]
    table["precise"] = table["consensus"] != ""
    table["size"] = [abs(fields.get("SVLEN", 0)) for fields in table["fields"]]
    planted = pd.read_csv(folder / "planted.tsv", sep="\t")
    return table.merge(planted.add_prefix("planted_"), left_on="id", right_on="planted_id", validate="one_to_one")


def contigs(folder):
    with pysam.FastaFile(str(folder / "reference.fa")) as file:
        return {name: file.fetch(name) for name in file.references}


def allele(call, reference):
    """The parts of a call's own sequence: of its explicit alleles, or what it spans of the reference."""
    if set(call.alt) <= set("ACGT"):
        return [call.ref[1:], call.alt[1:]]
    return [reference[call.contig][call.position : call.end]] if call.type in SPANNING else []


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    folder = tmp_path_factory.mktemp("default")
    truth = run(folder)
    return folder, read(folder), contigs(folder), truth


def shares(parts, k=4):
    """Shares of canonical k-mers, in alphabetical order; NaN where there is none."""
    names = sorted({min(word, other_strand(word)) for word in map("".join, itertools.product("ACGT", repeat=k))})
    words = Counter(part[start : start + k] for part in parts for start in range(len(part) - k + 1))
    counts = dict.fromkeys(names, 0)
    for word, count in words.items():
        counts[min(word, other_strand(word))] += count
    total = sum(counts.values())
    return pd.Series(counts, dtype=float) / total if total else pd.Series(np.nan, names)


def raw_features(table, reference):
    """One-hot type, size, attributes and k-mer shares of allele and consensus; NaN where absent."""
    parts = {
        "alleles": [shares([part[:10_000] for part in allele(call, reference)]) for call in table.itertuples()],
        "consensus": [shares([sequence]) for sequence in table["consensus"]],
    }
    columns = [pd.DataFrame({f"type {name}": table["type"] == name for name in TYPES}, dtype=float)]
    columns.append(np.log10(1 + table["size"]).where(table["size"] > 0).rename("log10 size"))
    columns += [
        pd.Series([np.log1p(fields.get(name, np.nan)) for fields in table["fields"]], name=name) for name in ATTRIBUTES
    ]
    columns += [pd.DataFrame(rows).add_prefix(f"{branch} ") for branch, rows in parts.items()]
    return pd.concat(columns, axis=1)


def held_out_auroc(features, table):
    """AUROC of a logistic regression for the chromosomes it has not seen, over four folds."""
    folds = table["contig"].map({name: place % 4 for place, name in enumerate(table["contig"].unique())})
    scores = np.empty(len(table))
    for fold in range(4):
        held = (folds == fold).to_numpy()
        scaled = ((features - features[~held].mean()) / features[~held].std()).fillna(0).to_numpy()
        model = LogisticRegression(C=0.01, max_iter=1000).fit(scaled[~held], table["label"][~held])
        scores[held] = model.decision_function(scaled[held])
    return roc_auc_score(table["label"], scores)


@pytest.fixture(scope="module")
def raw(default):
    _, table, reference, _ = default
    return raw_features(table, reference)


def test_one_seed_gives_the_same_bytes_and_another_others(tmp_path):
    truths = [run(tmp_path / name, seed, **SMALL) for name, seed in (("a", 5), ("b", 5), ("c", 6))]
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted([*BENCH, "planted.tsv", "reference.fa", "reference.fa.fai"])
    for name in names:
        first, again, other = ((tmp_path / folder / name).read_bytes() for folder in "abc")
        assert first == again != other, name
    pd.testing.assert_frame_equal(truths[0], truths[1])


def test_k_and_the_reference_change_no_call(tmp_path):
    for name, k, reference in (("a", 4, True), ("b", 6, True), ("c", 4, False)):
        run(tmp_path / name, k=k, reference=reference, **SMALL)
    for name in BENCH:
        assert len({(tmp_path / folder / name).read_bytes() for folder in "abc"}) == 1
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == sorted([*BENCH, "planted.tsv"])


def test_without_a_reference_the_element_is_where_the_calls_themselves_hold_it(tmp_path):
    run(tmp_path, reference=False, **SMALL)
    table = read(tmp_path)
    found = table["consensus"].str.contains(f"{MOTIF}|{other_strand(MOTIF)}")
    assert found.astype(int).tolist() == table["planted_element"].tolist()


def test_the_header_tells_neither_date_nor_place_and_knows_the_contigs(default):
    folder, _, reference, _ = default
    assert list(reference) == [*(f"chr{number}" for number in range(1, 23)), "chrX", "chrY"]
    for name in BENCH:
        text = gzip.decompress((folder / name).read_bytes()).decode()
        kinds = set(re.findall(r"^##(\w+)=", text, re.MULTILINE))
        assert kinds == {"fileformat", "FILTER", "ALT", "contig", "INFO", "FORMAT"}
        assert str(folder.parent) not in text
        with pysam.VariantFile(str(folder / name)) as file:
            assert {contig.name: contig.length for contig in file.header.contigs.values()} == {
                name: len(sequence) for name, sequence in reference.items()
            }


def test_calls_are_valid_against_the_reference_and_in_order(default):
    _, table, reference, _ = default
    assert table["id"].is_unique
    assert set("".join(reference.values())) == set("ACGT")
    order = {name: place for place, name in enumerate(reference)}
    for label, own in table.groupby("label"):
        places = list(zip(own["contig"].map(order), own["position"], strict=True))
        assert places == sorted(places), label
    for call in table.itertuples():
        sequence, fields = reference[call.contig], call.fields
        assert call.ref == sequence[call.position - 1 : call.position - 1 + len(call.ref)]
        assert call.position <= call.end <= len(sequence)
        if call.type == "BND":
            before, opened, name, place, closed, after = MATE.fullmatch(call.alt).groups()
            assert before + after == call.ref
            assert opened == closed
            assert name != call.contig
            assert (fields["CHR2"], fields["POS2"]) == (name, int(place))
            assert int(place) < len(reference[name])
            assert "SVLEN" not in fields
            continue
        assert fields["SVLEN"] == (-call.size if call.type == "DEL" else call.size)
        assert call.end - call.position == (call.size if call.type in SPANNING else 0)
        if set(call.alt) <= set("ACGT"):
            assert call.alt[0] == call.ref[0]
            assert len(call.alt) - len(call.ref) == fields["SVLEN"]
        else:
            assert call.alt == f"<{call.type}>"


def test_types_and_sizes_are_those_of_a_genome(default):
    _, table, _, _ = default
    kinds = table["type"].value_counts(normalize=True)
    assert set(kinds.index) == set(TYPES)
    assert 0.5 < kinds["DEL"] < 0.6
    assert kinds.min() > 0.04
    explicit = table["alt"].str.fullmatch("[ACGT]+")
    assert explicit[table["type"].isin(["INS", "DEL"])].mean() > 0.4
    for kind in ("INS", "DEL"):
        assert {True, False} == set(explicit[table["type"] == kind])
    sizes = table.loc[table["type"] != "BND", "size"]
    assert sizes.min() == 50
    assert 6_500 < sizes.max() <= 20_000
    alu = sizes.between(280, 340).sum()
    assert alu > 5 * max(sizes.between(210, 270).sum(), sizes.between(350, 410).sum()), "a peak, not a slope"
    assert 0.01 < sizes.between(5_500, 6_500).mean() < 0.1


def test_both_sides_of_a_consensus_are_those_that_the_call_joins(default):
    _, table, reference, _ = default
    for call in table[table["precise"]].itertuples():
        sequence, breakpoint = reference[call.contig], call.fields["CONSBP"]
        left, right = call.consensus[:breakpoint], call.consensus[-40:]
        own = (sequence[: call.position], sequence[call.position - 1 :])
        if call.type == "BND":
            before, opened, name, place, _, _ = MATE.fullmatch(call.alt).groups()
            to, onward = reference[name][: int(place)], reference[name][int(place) - 1 :]
            # VCF 4.2, section 5.4: t[p[ and [p[t name the piece to the right of p, t]p] and ]p]t that to its left.
            mate = {"[": (other_strand(onward), onward), "]": (to, other_strand(to))}[opened]
            joined = (own[0], mate[1]) if before else (mate[0], own[1])
        elif call.type == "INV":
            joined = own[0], other_strand(sequence[call.position : call.end])
        elif call.type == "DUP":
            joined = sequence[call.position : call.end], sequence[call.position : call.end]
        else:
            joined = own[0], sequence[call.end :]
        assert len(left) >= 50, call.id
        assert joined[0].endswith(left), call.id
        assert right in joined[1][:80], call.id


def test_what_is_planted_is_found_in_the_files_and_nowhere_else(default):
    _, table, reference, _ = default
    motif = re.compile(f"{MOTIF}|{other_strand(MOTIF)}")
    for call in table.itertuples():
        held = bool(motif.search(call.consensus)), any(motif.search(part) for part in allele(call, reference))
        assert any(held) == call.planted_element, call.id
        if call.planted_element:
            assert held == (call.precise, bool(allele(call, reference))), "in all that the call has"
        assert bool(re.search("(AC){12}|(GT){12}", call.consensus)) == call.planted_microsatellite, call.id
        assert (50 <= call.size <= 90) == call.planted_size
        assert (call.type == "INV") == call.planted_inversion


def test_an_element_is_copies_of_the_motif_mutated_a_little_on_one_strand():
    random = np.random.default_rng(0)
    near = []
    for sequence in (element(400, random) for _ in range(50)):
        assert 370 < len(sequence) <= 400
        forward = sequence if sequence.startswith(MOTIF) else other_strand(sequence)
        assert forward.startswith(MOTIF)
        windows = [forward[start : start + 12] for start in range(len(forward) - 11)]
        same = [sum(a == b for a, b in zip(window, MOTIF, strict=True)) for window in windows]
        near.append([count for count in same if count >= 9])
    assert 22 < np.mean([len(counts) for counts in near]) < 29, "copies lie 14 to 17 bases apart"
    assert 0.6 < np.mean(np.concatenate(near) == 12) < 0.7, "(1 - 0.05 x 3/4)^12 = 0.63"


def places(table, signal):
    """Calls that can show a signal: an element needs a sequence, a microsatellite a consensus, a size no breakend."""
    return {
        "element": table["precise"] | table["type"].isin(SPANNING),
        "microsatellite": table["precise"],
        "size": table["type"] != "BND",
        "inversion": table["type"].isin(TYPES),
    }[signal]


@pytest.mark.parametrize("signal", SIGNALS)
def test_signals_are_as_often_as_stated(default, signal):
    _, table, _, _ = default
    able = table[places(table, signal)]
    for label, rate in ((1, SIGNALS[signal].in_true), (0, SIGNALS[signal].in_false)):
        found = able.loc[able["label"] == label, f"planted_{signal}"]
        assert abs(found.mean() - rate) < 3.5 * np.sqrt(rate * (1 - rate) / len(found)), label


@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
def test_strength_multiplies_the_log_odds_and_zero_tells_nothing(tmp_path, strength):
    truth = run(tmp_path, 1, strength=strength, reference=False)
    table = read(tmp_path)
    for signal in SIGNALS:
        able = table[table["precise"] & places(table, signal)]
        counts = pd.crosstab(able["label"], able[f"planted_{signal}"]).to_numpy() + 0.5
        log_odds = np.log(counts[1, 1] * counts[0, 0] / (counts[0, 1] * counts[1, 0]))
        expected = strength * np.subtract(*(np.log(rate / (1 - rate)) for rate in
                                            (SIGNALS[signal].in_true, SIGNALS[signal].in_false)))  # fmt: skip
        assert abs(log_odds - expected) < 3.5 * np.sqrt((1 / counts).sum()), signal
        planted = truth[truth["signal"] == signal]
        np.testing.assert_allclose(planted["strength"], abs(expected), atol=1e-12)
        assert (planted["sign"] == 0).all() == (strength == 0)
    quality = roc_auc_score(table["label"], table["quality"])
    assert abs(quality - 0.5) < 0.05 if strength == 0 else quality > 0.55


def test_one_call_in_five_of_either_class_is_imprecise_and_lacks_what_split_reads_tell(default):
    _, table, _, _ = default
    for label, own in table.groupby("label"):
        error = 3.5 * np.sqrt(IMPRECISE_SHARE * (1 - IMPRECISE_SHARE) / len(own))
        assert abs((~own["precise"]).mean() - IMPRECISE_SHARE) < error, label
    split = {"SR", "SRMAPQ", "HOMLEN", "CONSENSUS", "CONSBP", "INSLEN", "PRECISE"}
    for call in table.itertuples():
        assert split & set(call.fields) == (split if call.precise else set())
        assert ("IMPRECISE" in call.fields) != call.precise
        assert call.precise or not set(call.alt) <= set("ACGT")


def test_truvari_tells_the_label_and_nothing_else_alone_does(default):
    _, table, _, _ = default
    fields = pd.DataFrame(table["fields"].tolist())
    label = table["label"]
    for name in ("TruScore", "PctSeqSimilarity", "PctSizeSimilarity", "PctRecOverlap"):
        assert roc_auc_score(label, fields[name].fillna(-1)) == 1, name
    assert set(fields) & LABEL_FIELDS == {
        "TruScore", "PctSeqSimilarity", "PctSizeSimilarity", "PctRecOverlap", "SizeDiff", "StartDistance",
        "EndDistance", "GTMatch", "MatchId", "Multi",
    }  # fmt: skip
    rest = fields.drop(columns=LABEL_FIELDS, errors="ignore")
    for name in rest:
        numbers = pd.to_numeric(rest[name], errors="coerce")
        seen = numbers.notna()
        present = roc_auc_score(label, rest[name].notna())
        assert 0.45 < present < 0.55, name
        if seen.any() and name not in ("SVLEN", "POS2"):
            assert 0.4 < roc_auc_score(label[seen], numbers[seen]) < 0.7, name
    assert 0.45 < roc_auc_score(label, table["id"].str[3:].astype(int)) < 0.55
    assert 0.45 < roc_auc_score(label, [genotype == (1, 1) for genotype in table["genotype"]]) < 0.55


def test_neither_quality_nor_size_tells_much(default):
    _, table, _, _ = default
    assert 0.6 < roc_auc_score(table["label"], table["quality"]) < 0.7
    assert 0.55 < roc_auc_score(table["label"], table["size"]) < 0.68


def test_a_linear_model_of_raw_features_tells_calls_of_other_chromosomes_well_but_not_perfectly(default, raw):
    _, table, _, _ = default
    assert 0.82 < held_out_auroc(raw, table) < 0.95


def test_at_strength_zero_it_tells_nothing(tmp_path):
    run(tmp_path, strength=0.0, calls=1000)
    table = read(tmp_path)
    assert abs(held_out_auroc(raw_features(table, contigs(tmp_path)), table) - 0.5) < 0.08


def test_planted_kmers_are_more_frequent_in_the_calls_that_carry_them_and_point_where_the_truth_says(default, raw):
    _, table, _, truth = default
    assert set(truth["feature"]) <= set(raw)
    for row in truth.itertuples():
        values = raw[row.feature]
        seen = values.notna()
        assert np.sign(roc_auc_score(table["label"][seen], values[seen]) - 0.5) == row.sign, row.feature
        carried = table[f"planted_{row.signal}"]
        assert np.sign(roc_auc_score(table["label"], carried) - 0.5) == row.carried_sign, row.feature
        if row.signal in ("element", "microsatellite"):
            carries = table[f"planted_{row.signal}"] == 1
            assert values[carries].mean() > 1.5 * values[~carries].mean(), row.feature
            assert (
                stats.mannwhitneyu(values[carries & seen], values[~carries & seen], alternative="greater").pvalue < 1e-6
            )


@pytest.mark.parametrize("k", [3, 4, 5, 6])
def test_the_truth_names_every_canonical_kmer_once(tmp_path, k):
    truth = run(tmp_path, k=k, calls=100, chromosomes=4, reference=False)
    assert truth["feature"].is_unique
    assert set(truth["target"]) == {"TP"}
    assert set(truth["effect"]) == {"linear"}
    kmers = truth[truth["signal"].isin(["element", "microsatellite"])]
    signs = kmers.assign(kmer=kmers["feature"].str.split().str[1]).groupby("kmer")["sign"].nunique()
    assert (signs == 1).all(), "no k-mer belongs to both signals"
    repeats = {min(word, other_strand(word)) for word in (("AC" * k)[:k], ("CA" * k)[:k])}
    motif = shares([MOTIF], k)
    assert set(kmers["feature"]) == {
        *(f"consensus {word}" for word in repeats),
        *(f"{branch} {word}" for branch in ("alleles", "consensus") for word in motif.index[motif > 0]),
    }
    assert truth.loc[~truth.index.isin(kmers.index), ["feature", "sign"]].to_numpy().tolist() == [
        ["log10 size", 1],
        ["type INV", -1],
    ]


def test_chromosomes_differ_in_base_rate_and_composition(default):
    _, table, reference, _ = default
    assert stats.chi2_contingency(pd.crosstab(table["contig"], table["label"])).pvalue < 0.001
    contents = [sum(map(sequence.count, "GC")) / len(sequence) for sequence in reference.values()]
    assert max(contents) - min(contents) > 0.1
    assert all(0.3 < content < 0.6 for content in contents)


@pytest.mark.parametrize(("calls", "share", "chromosomes"), [(200, 0.6, 8), (101, 0.25, 4), (300, 0.9, 24)])
def test_small_runs_have_as_many_calls_as_asked(tmp_path, calls, share, chromosomes):
    run(tmp_path, calls=calls, true_share=share, chromosomes=chromosomes)
    table = read(tmp_path)
    assert len(table) == calls
    assert table["label"].sum() == round(calls * share)
    assert len(contigs(tmp_path)) == chromosomes
    assert set(table["contig"]) <= set(contigs(tmp_path))
