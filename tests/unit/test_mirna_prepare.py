"""The dataset holds the tables' pairs as images, named k-mers, groups and roles; bad input ends in one line and no file."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from consilience.dataset import Dataset
from consilience.dataset_writer import DatasetWriter
from consilience.domains.mirna import pairs as pairs_module
from consilience.domains.mirna.prepare import prepare
from consilience.errors import ConsilienceError
from consilience.files import sha256
from consilience.splits import assign, overlaps
from tests.unit.mirna_examples import BRANCHES, COLUMNS, drawn_sequence, image_of, pairs_table, partner, walked

LET_7 = "TGAGGTAGTAGGTTGTATAGTT"


def named_table():
    """Pairs in all spellings, with names, families, clusters and N."""
    table = pairs_table(8, seed=2)
    mirna, site, _ = COLUMNS
    table.loc[0, [mirna, site]] = ["UGAGGUAGUAGGUUGUAUAGUU", "AAA" + partner(LET_7[1:7]) + "CCCCCC"]
    table.loc[1, [mirna, site]] = [LET_7.lower(), "acgtnacgtnnacguacgn"]
    table.loc[2, mirna] = "GGGNGGGGGGAAAAA"
    return table.assign(
        mirna_name=["let-7a", "let-7a-5p", "x", "y", "", "", "z", "z"],
        mirna_family=["let-7", "unknown", "f", "f", "", "", "", "Unknown"],
        gene_cluster=[1, 1, 2, 3, 4, 5, 6, 6],
        score=0.5,
    )


def csv_of(folder, table, name="pairs.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / name, index=False)
    return folder / name


def made(files, output, k=3, **keys):
    """Prepare from one path, or from paths by role; return images by branch, target, samples, facts and the audit."""
    single = not isinstance(files, dict)
    source = {"kind": "csv", **({"path": str(files)} if single else {role: str(path) for role, path in files.items()})}
    raw = [files] if single else list(files.values())
    audit = prepare(raw, {"k": k, "source": source}, output, 0, **keys)
    with Dataset.open(output) as data:
        images = {branch: data.inputs(branch) for branch in BRANCHES}
        return images, data.target, data.samples, dict(data.file.attrs), audit.set_index("step")


def dna(sequence):
    return sequence.upper().replace("U", "T")


@pytest.mark.parametrize("k", [3, 4])
def test_a_dataset_is_what_the_table_holds(tmp_path, k):
    table = named_table()
    path = csv_of(tmp_path / "raw", table)
    images, target, samples, facts, audit = made(path, tmp_path / "dataset.h5", k)
    for branch, column in zip(BRANCHES, COLUMNS[:2], strict=True):
        sequences = table[column].map(dna)
        assert samples[branch].tolist() == sequences.tolist()
        assert images[branch].dtype == np.float32
        np.testing.assert_array_equal(images[branch], np.stack([image_of(one, k) for one in sequences]))
        np.testing.assert_allclose(images[branch].sum(axis=(1, 2)), 1, rtol=1e-5)
    assert target.tolist() == table["validation"].tolist()
    assert list(samples) == [
        *("id", "official_role", "mirna", "site", "mirna_name", "mirna_family", "gene_cluster"),
        *("family", "planted_position", "trivial_seed_match"),
    ]
    assert samples["id"].tolist() == [f"pair-0000{row}" for row in range(1, 9)]
    assert set(samples["official_role"]) == {""}
    assert samples["mirna_family"].tolist() == table["mirna_family"].replace(["unknown", "Unknown"], "").tolist()
    assert samples["gene_cluster"].tolist() == table["gene_cluster"].astype(str).tolist()
    assert samples["planted_position"].tolist() == [-1] * 8
    mirnas, sites = samples["mirna"], samples["site"]
    matches = [float(partner(one[1:7]) in other) for one, other in zip(mirnas, sites, strict=True)]
    assert samples["trivial_seed_match"].tolist() == matches
    assert matches[0] == 1
    assert sum(matches) < 8
    family = samples["family"].tolist()
    assert family[:4] == ["let-7", "let-7", "f", "f"]
    assert family[4:6] == [mirnas[4], mirnas[5]]
    assert family[6:] == ["z", "z"]
    assert (facts["task"], facts["target"], facts["unit"]) == ("classification", "pair", "share of a sequence's k-mers")
    assert (facts["source"], facts["source_sha256"]) == ("pairs.csv", sha256(path))
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["dataset.h5"]
    assert audit["samples_after"].loc[["source", "repeats", "contradictions", "dataset"]].tolist() == [8] * 4
    assert (audit["features_after"] == 2 * 4**k).all()


@pytest.mark.parametrize("k", [3, 5])
def test_every_kmer_of_each_branch_is_a_feature_at_its_pixel(tmp_path, k):
    made(csv_of(tmp_path / "raw", named_table().drop(index=1)), tmp_path / "dataset.h5", k)
    with Dataset.open(tmp_path / "dataset.h5") as data:
        assert list(data.branches) == list(BRANCHES)
        assert data.classes == ["no pair", "pair"]
        assert data.targets == ["pair"]
        features = data.features
        assert list(features) == ["name", "branch", "kmer", "row", "column"]
        assert len(features) == 2 * 4**k
        assert not features["name"].duplicated().any()
        for name, branch in data.branches.items():
            assert (branch.shape, branch.scaling, branch.reduce) == ((2**k, 2**k), "scalar", "mean")
            assert sorted(branch.units.ravel()) == features.index[features["branch"] == name].tolist()
            for row, column in ((0, 0), (1, 2), (2**k - 1, 3)):
                feature = features.loc[branch.units[row, column]]
                assert (feature["name"], feature["branch"]) == (f"{name}:{feature['kmer']}", name)
                assert walked(feature["kmer"]) == (feature["row"], feature["column"]) == (row, column)


def test_the_audit_tells_of_n_and_of_labels(tmp_path):
    audit = made(csv_of(tmp_path / "raw", named_table()), tmp_path / "dataset.h5")[-1]
    unknown = audit.loc["unknown nucleotides"]
    assert unknown["rule"].tolist() == ["N in the mirna sequence", "N in the site sequence"]
    # GGGNGGGGGGAAAAA has three 3-mers with N; acgtnacgtnnacguacgn has 3 + 4 + 1.
    assert unknown["samples_after"].tolist() == [1, 1]
    assert unknown["note"].tolist() == ["3 k-mers with N skipped", "8 k-mers with N skipped"]
    assert audit.loc["labels", ["samples_before", "samples_after"]].tolist() == [8, 4]
    assert audit.loc["labels", "note"] == "7 miRNA sequences"
    assert audit.loc["source", "note"] == "pairs.csv 8"


def by_role(folder, **tables):
    return {role: csv_of(folder, table, f"{role}_pairs.csv") for role, table in tables.items()}


def test_tables_by_role_are_official(tmp_path):
    table = named_table()
    files = by_role(tmp_path / "raw", test=table[:3], train=table[3:])
    images, target, samples, facts, audit = made(files, tmp_path / "dataset.h5")
    assert samples["id"].tolist() == [f"train-0000{row}" for row in range(1, 6)] + [
        f"test-0000{row}" for row in (1, 2, 3)
    ]
    assert samples["official_role"].tolist() == ["train"] * 5 + ["test"] * 3
    order = [*range(3, 8), 0, 1, 2]
    assert target.tolist() == table["validation"].iloc[order].tolist()
    sites = table[COLUMNS[1]].map(dna).iloc[order]
    np.testing.assert_array_equal(images["site"], np.stack([image_of(one, 3) for one in sites]))
    assert facts["source"] == "train_pairs.csv, test_pairs.csv"
    digests = sha256(files["train"]) + sha256(files["test"])
    assert facts["source_sha256"] == hashlib.sha256(digests.encode()).hexdigest()
    assert audit.loc["source", "note"] == "train 5, test 3"
    # let-7 is one group, across the files too.
    assert samples["family"].iloc[[5, 6]].tolist() == ["let-7", "let-7"]


def test_repeats_and_contradictions_leave_the_dataset(tmp_path):
    mirna, site, label = COLUMNS
    train, test = pairs_table(8, seed=3), pairs_table(6, seed=4)
    train.loc[8] = train.loc[2]
    # In another spelling: a repeat all the same.
    train.loc[9] = [train.loc[3, mirna].lower().replace("t", "u"), train.loc[3, site], train.loc[3, label]]
    train.loc[10] = test.loc[1]
    train.loc[11] = [train.loc[5, mirna], train.loc[5, site], 1 - train.loc[5, label]]
    train.loc[12] = [test.loc[4, mirna], test.loc[4, site], 1 - test.loc[4, label]]
    files = by_role(tmp_path / "raw", train=train, test=test)
    images, target, samples, _, audit = made(files, tmp_path / "dataset.h5")
    assert samples["id"].tolist() == [
        *(f"train-{row:05d}" for row in (1, 2, 3, 4, 5, 7, 8)), *(f"test-{row:05d}" for row in (1, 2, 3, 4, 6)),
    ]  # fmt: skip
    assert audit.loc["repeats", ["samples_before", "samples_after"]].tolist() == [19, 16]
    assert audit.loc["repeats", "note"] == "3 of them in train or validation files"
    assert audit.loc["contradictions", ["samples_before", "samples_after", "note"]].tolist() == [16, 12, "2 pairs"]
    assert audit.loc["dataset", "samples_after"] == len(samples) == len(target) == len(images["site"]) == 12


def test_blocks_change_no_byte(tmp_path, monkeypatch):
    starts, append = [], DatasetWriter.append

    def spy(writer, branch, block, mask=None):
        starts.append((branch, len(block)))
        append(writer, branch, block, mask)

    path = csv_of(tmp_path / "raw", pairs_table(70, mirna=(17, 25), site=(30, 51)))
    made(path, tmp_path / "whole.h5", k=6)
    monkeypatch.setattr(DatasetWriter, "append", spy)
    made(path, tmp_path / "parts.h5", k=6, memory=1)
    assert starts == [(branch, rows) for branch in BRANCHES for rows in (32, 32, 6)]
    assert (tmp_path / "whole.h5").read_bytes() == (tmp_path / "parts.h5").read_bytes()


def test_parts_of_the_table_change_no_byte(tmp_path, monkeypatch):
    path = csv_of(tmp_path / "raw", named_table())
    made(path, tmp_path / "whole.h5")
    monkeypatch.setattr(pairs_module, "ROWS_AT_ONCE", 3)
    made(path, tmp_path / "parts.h5")
    assert (tmp_path / "whole.h5").read_bytes() == (tmp_path / "parts.h5").read_bytes()


def test_the_order_of_rows_changes_nothing_but_the_order(tmp_path):
    random = np.random.default_rng(8)
    table = pd.concat([named_table(), pairs_table(20, seed=6)], ignore_index=True)
    order = random.permutation(len(table))
    first, other = (
        made(csv_of(tmp_path / name, own), tmp_path / f"{name}.h5")
        for name, own in (("first", table), ("other", table.iloc[order]))
    )
    for branch in BRANCHES:
        np.testing.assert_array_equal(other[0][branch], first[0][branch][order])
    np.testing.assert_array_equal(other[1], first[1][order])
    for column in set(first[2]) - {"id"}:
        assert other[2][column].tolist() == first[2][column].iloc[order].tolist(), column
    assert other[4].equals(first[4])


def refused(tmp_path, files, message, k=3):
    """Prepare, and see that nothing is left but one line."""
    (tmp_path / "out").mkdir()
    with pytest.raises(ConsilienceError, match=message) as caught:
        made(files, tmp_path / "out" / "dataset.h5", k)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_one_class_alone_is_refused(tmp_path):
    table = pairs_table(6).assign(validation=1)
    refused(
        tmp_path,
        csv_of(tmp_path / "raw", table),
        r"pairs\.csv: all 6 pairs have validation 1; expected pairs of both, 0 and 1$",
    )


def test_one_class_is_refused_over_all_files(tmp_path):
    files = by_role(
        tmp_path / "raw", train=pairs_table(6).assign(validation=0), test=pairs_table(4, 1).assign(validation=0)
    )
    refused(tmp_path, files, r"train_pairs\.csv, \S+test_pairs\.csv: all 10 pairs have validation 0; expected")


def test_a_class_that_contradictions_take_away_is_missed(tmp_path):
    table = pairs_table(3).assign(validation=[1, 0, 0])
    table.loc[3] = [*table.loc[0, COLUMNS[:2]], 0]
    refused(tmp_path, csv_of(tmp_path / "raw", table), "all 2 pairs have validation 0; expected pairs of both")
    table = table.loc[[0, 3]]
    (tmp_path / "out").rmdir()
    refused(tmp_path, csv_of(tmp_path / "raw", table), "no pair is left; expected pairs of both")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (",".join(COLUMNS), "a header without a row"),
        ("a,b\n1,2\n", "no column mature_miRNA_Transcript, mRNA_Site_Transcript, validation; it has a, b"),
        (f"{','.join(COLUMNS)}\nACGT,ACGT,1\nACGT,AC?T,0\n", r"row 2: mRNA_Site_Transcript holds '\?' at position 3"),
        (
            f"{','.join(COLUMNS)}\nACGT,ACGT,1\nACGT,AC,0\n",
            "row 2: mRNA_Site_Transcript has 2 nucleotides; k-mers of 3",
        ),
        (f"{','.join(COLUMNS)}\nACGT,ACGT,1\nACGT,ACGT,no\n", "row 2: validation is 'no'; expected 0 or 1"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, text, message):
    """All that a table may have wrong is tested with read_pairs."""
    (tmp_path / "bad.csv").write_text(text)
    refused(tmp_path, tmp_path / "bad.csv", rf"bad\.csv: {message}")


def test_a_fault_in_the_test_table_names_that_table(tmp_path):
    files = by_role(tmp_path / "raw", train=pairs_table(6), test=pairs_table(4, 1).drop(columns="validation"))
    refused(
        tmp_path, files, r"test_pairs\.csv: no column validation; it has mature_miRNA_Transcript, mRNA_Site_Transcript"
    )


def test_a_failure_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("no space left")

    monkeypatch.setattr(DatasetWriter, "append", broken)
    (tmp_path / "out").mkdir()
    with pytest.raises(OSError, match="no space left"):
        made(csv_of(tmp_path / "raw", pairs_table(6)), tmp_path / "out" / "dataset.h5")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_split_keeps_families_and_gene_clusters_apart(tmp_path):
    random = np.random.default_rng(0)
    table = pd.concat([pairs_table(1, seed) for seed in range(300)], ignore_index=True)
    mirnas = [drawn_sequence(random, 22) for _ in range(40)]
    chosen = random.integers(40, size=300)
    table = table.assign(
        validation=random.integers(2, size=300),
        mature_miRNA_Transcript=[mirnas[place] for place in chosen],
        mirna_family=[f"f{place // 2}" if place < 30 else "unknown" for place in chosen],
        mirna_name=[f"m{place}" for place in chosen],
        gene_cluster=random.integers(80, size=300),
    )
    _, target, samples, *_ = made(csv_of(tmp_path / "raw", table), tmp_path / "dataset.h5")
    assert samples["family"].nunique() == 15 + 10
    settings = {"mode": "auto", "group": "family", "train": 0.7, "validation": 0.15, "test": 0.15, "salt": "s-1"}
    split = assign(samples, {**settings, "apart": ["gene_cluster"]}, target)
    found = overlaps(samples, split, ("gene_cluster",))
    assert set(found["group"].values()) == set(found["gene_cluster"].values()) == {0}
    assert set(overlaps(samples, assign(samples, settings, target))["gene_cluster"].values()) != {0}


@pytest.fixture(scope="module")
def clash(shared_data, tmp_path_factory):
    """The real pairs, prepared: files and what `made` returns."""
    files = {role: shared_data / "mirna" / f"clash_hejret2023_{role}.csv" for role in ("train", "test")}
    if not all(path.is_file() for path in files.values()):
        pytest.skip("the CLASH pairs are not here")
    return files, made(files, tmp_path_factory.mktemp("clash") / "dataset.h5")


def test_the_real_pairs_are_read_whole(clash):
    files, (images, target, samples, _, audit) = clash
    tables = {role: pd.read_csv(path, dtype=str) for role, path in files.items()}
    assert audit.loc["source", "note"] == "train 8193, test 965"
    together = pd.concat(tables.values(), ignore_index=True)
    both = together.groupby(COLUMNS[:2])["validation"].transform("nunique") > 1
    distinct = together[~both].drop_duplicates(COLUMNS)
    assert len(samples) == audit["samples_after"].iloc[-1] == len(distinct)
    assert set(samples["mirna"] + ">" + samples["site"]) == set(distinct[COLUMNS[0]] + ">" + distinct[COLUMNS[1]])
    assert (samples["official_role"] == "test").sum() == len(
        tables["test"].drop_duplicates(COLUMNS).merge(distinct[COLUMNS], on=COLUMNS)
    )
    assert abs(target.mean() - (distinct["validation"] == "1").mean()) < 1e-12
    assert samples["site"].str.len().eq(50).mean() > 0.99
    assert images["mirna"].shape == (len(samples), 8, 8)
    # Pairs of a family are together, whatever their file.
    known = samples[samples["mirna_family"] == "let-7"]
    assert set(known["family"]) == {"let-7"}
    assert set(known["official_role"]) == {"train", "test"}
    rate = samples.groupby(target)["trivial_seed_match"].mean()
    assert rate[1] > 2 * rate[0], "true pairs match by the seed"
