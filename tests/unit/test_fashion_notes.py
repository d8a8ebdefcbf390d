"""What the summary is told of a fashion study."""

import numpy as np
import pandas as pd
import pytest

from consilience.domains.fashion.agreement import AGREEMENT_COLUMNS
from consilience.domains.fashion.notes import note_lines


def quality_table(error=0.1, pca=0.2, dead=0.0, l0=50.0, model="k50"):
    roles = ("train", "validation", "test")
    own = [(model, role, "autoencoder", 50, error, l0, dead) for role in roles]
    others = [(model, role, "pca", 50, pca, 50, np.nan) for role in roles]
    columns = ["model", "role", "encoder", "size", "normalized_mean_squared_error", "l0", "dead_share"]
    return pd.DataFrame([*own, *others], columns=columns)


def agreement_table(low, model="k50"):
    """Methods a and b agree as far as `low`, c with both, and d with none beyond what a class alone tells."""
    rows = [("a", "b", low), *((one, "c", 0.2) for one in "ab"), *((one, "d", 0.03) for one in "abc")]
    table = pd.DataFrame(rows, columns=["method", "other", "low"])
    return table.assign(
        model=model, set="test", metric="jaccard_top_1_percent", chance=0.005, other_picture_of_class=0.05
    )


METRICS_JSON = {"test": {"accuracy": {"value": 0.862, "low": 0.832, "high": 0.89}}}


def test_notes_tell_the_best_model_and_nothing_else_where_all_is_well():
    table = agreement_table(0.1)
    (line,) = note_lines(quality_table(), table[table["other"] != "d"], {"k50": METRICS_JSON}, "k50", [])
    assert line == (
        "k50: accuracy 0.862 [0.832, 0.890]; its dictionary leaves 10.0 % of the variance of unseen pictures "
        "(PCA with 50 components 20.0 %), 0.0 % of atoms dead"
    )


def test_one_method_has_nothing_to_note():
    empty = pd.DataFrame(columns=list(AGREEMENT_COLUMNS))
    assert len(note_lines(quality_table(), empty, {"k50": METRICS_JSON}, "k50", [])) == 1


def test_notes_tell_what_is_weak():
    table = pd.concat([quality_table(), quality_table(0.3, 0.2, 0.07, 40.0, "bad")])
    metrics = {"k50": METRICS_JSON, "bad": METRICS_JSON}
    agreement = pd.concat([agreement_table(0.1), agreement_table(0.1, "bad")])
    lines = note_lines(table, agreement, metrics, "k50", ["bad"])
    assert lines[0].startswith("k50: accuracy")
    assert lines[1:] == [
        "bad: no training picture excites 7 % of its atoms; its dictionary leaves more of unseen pictures (30.0 %) than "
        "PCA with 50 components (20.0 %); unseen pictures excite 40.0 atoms rather than 50",
        "these name no more of another method's top 1 % of pixels on the same picture than on others of its class: "
        "d (k50, bad)",
        "fewer than 10 test pictures are right and confident, so that methods are not compared on them alone: bad",
    ]


@pytest.mark.parametrize("column", ["low", "other_picture_of_class"])
def test_what_is_not_defined_is_not_noted(column):
    """Without resamples there are no intervals, and without a second picture of a class no level."""
    for undefined in (None, np.nan):
        table = agreement_table(0.1).assign(**{column: undefined})
        assert len(note_lines(quality_table(), table, {"k50": METRICS_JSON}, "k50", [])) == 1


def test_a_dictionary_is_held_against_as_many_components_as_there_are():
    table = quality_table(error=0.3)
    table.loc[table["encoder"] == "pca", "size"] = 29
    (line,) = note_lines(table, agreement_table(0.1).head(3), {"k50": METRICS_JSON}, "k50", [])
    assert "(PCA with 29 components 20.0 %)" in line
