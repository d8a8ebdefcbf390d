"""Who holds a k-mer, what its mean attribution is, and all predictors side by side."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from consilience.dataset import Dataset
from consilience.domains.mirna.evidence import (
    DRIVER_COLUMNS,
    METRIC_COLUMNS,
    METRICS,
    driver_rows,
    holders,
    metric_rows,
)
from consilience.domains.mirna.prepare import prepare

TABLE = """mature_miRNA_Transcript,mRNA_Site_Transcript,validation
ACGTA,AAAAT,1
ACGTC,AAATT,0
TTTTT,CCCCC,1
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "pairs.csv").write_text(TABLE)
    settings = {"k": 3, "source": {"kind": "csv", "path": str(folder / "pairs.csv")}}
    prepare([folder / "pairs.csv"], settings, folder / "dataset.h5", 0)
    with Dataset.open(folder / "dataset.h5") as opened:
        yield opened


def attribution(dataset, values, real):
    """Attributions whose mean is `values` by feature in the first member and 9 everywhere in the second."""
    mean = np.full((2, 1, len(dataset.features)), 9.0)
    mean[0, 0] = [values.get(name, 0) for name in dataset.features["name"]]
    return SimpleNamespace(
        samples=["pair-00001", "pair-00002", "pair-00003"], all={"mean_attribution": mean}, real=np.array(real)
    )


def test_holders_are_the_pairs_that_hold_a_kmer_however_often(dataset):
    counts = dict(zip(dataset.features["name"], holders(dataset, np.arange(3)), strict=True))
    assert {name: count for name, count in counts.items() if count} == {
        "mirna:ACG": 2, "mirna:CGT": 2, "mirna:GTA": 1, "mirna:GTC": 1, "mirna:TTT": 1,
        "site:AAA": 2, "site:AAT": 2, "site:ATT": 1, "site:CCC": 1,
    }  # fmt: skip
    assert holders(dataset, np.array([2])).sum() == 2


def test_drivers_are_told_with_both_signs_and_by_holder(dataset):
    drivers = pd.DataFrame(
        [
            ("mirna:ACG", "positive", 0.5),
            ("site:CCC", "negative", -0.2),
            ("site:AAT", "positive", 0.1),
            ("site:GGG", "positive", 0.1),
        ],
        columns=["feature", "direction", "average_attribution"],
    )
    first = attribution(dataset, {"mirna:ACG": -0.4, "site:CCC": -0.3, "site:AAT": 0.2}, [True, False])
    second = attribution(dataset, {"mirna:ACG": -0.2, "site:CCC": -0.1, "site:AAT": 0.4}, [True, False])
    table = pd.DataFrame(driver_rows(dataset, drivers, [first, second])).set_index("feature")
    assert (*["feature"], *table.columns) == DRIVER_COLUMNS
    assert table["mean_attribution"].tolist() == pytest.approx([-0.3, -0.2, 0.3, 0])
    assert table["signs_agree"].tolist() == [False, True, True, False]
    assert table["holders"].tolist() == [2, 1, 2, 0]
    assert table["mean_of_holders"].tolist()[:3] == pytest.approx([-0.45, -0.6, 0.45])
    assert np.isnan(table.loc["site:GGG", "mean_of_holders"])
    assert table["branch"].tolist() == ["mirna", "site", "site", "site"]


def test_predictors_stand_side_by_side():
    test = {name: {"value": place / 10, "low": 0.0, "high": 1.0} for place, name in enumerate(METRICS)}
    networks = {
        "a": {"test": test | {"n": 3}, "trivial": {"seed_match": {"f1": 0.4}}},
        "b": {"test": test, "trivial": {}},
    }
    table = pd.DataFrame(metric_rows(networks, {"logistic": {"test": test}}), columns=list(METRIC_COLUMNS))
    assert table.groupby(["kind", "predictor"], sort=False).size().to_dict() == {
        ("network", "a"): 6, ("network", "b"): 6, ("linear", "logistic"): 6, ("trivial", "seed_match"): 6,
    }  # fmt: skip
    own = table[table["predictor"] == "seed_match"].set_index("metric")
    assert own.loc["f1", "value"] == 0.4
    assert own[["low", "high"]].isna().all().all()
    assert own.drop("f1")["value"].isna().all()
    assert table[table["predictor"] == "b"]["value"].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
