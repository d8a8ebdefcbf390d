"""What a user must know of an EEG study, a line each: above all what attention, and a modality, do not show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from consilience.domains.eeg.asked import ALL
from consilience.domains.eeg.montage import BRANCHES
from consilience.domains.eeg.windows import central
from consilience.evaluation import number, with_interval

SIGNIFICANT = 0.05
NEARLY_UNIFORM = 0.95  # entropy from which attention says little
LIKE_UNTRAINED = 0.02  # of entropy
HARDLY = 0.1  # share of a modality
NAMES = {"eeg": "EEG", "spectrogram": "spectrogram"}
TITLES = {"eeg_to_spec": "EEG to spectrogram", "spec_to_eeg": "spectrogram to EEG"}


def note_lines(
    tables: Mapping[str, pd.DataFrame], metrics: Mapping[str, Mapping[str, Any]], shown: str, primary: str
) -> list[str]:
    """Return the notes of a study.

    `tables` are those of the analysis by name, `metrics` the contents of metrics.json by model; `shown` is the model
    that others are compared with, `primary` the method whose lists form the consensus.
    """
    errors = (f"{model} {with_interval(one['test']['expected_calibration_error'])}" for model, one in metrics.items())
    asked = "{n} samples of {groups} patients".format(**metrics[shown]["test"])
    lines = [f"expected calibration error on {asked} (0 is none; experts who disagree add to it): {', '.join(errors)}"]
    lines += _ablations(tables["ablations"], shown)
    lines += _modalities(tables["modalities"])
    lines += _agreement(tables["agreement"])
    lines += _entropies(tables["attention"])
    lines += _knockouts(tables["knockouts"])
    lines += _windows(tables["windows"], shown, primary)
    return lines


def known(row: pd.Series, value: str = "value", low: str = "low", high: str = "high") -> dict[str, float | None]:
    """Return an interval from a row of a table, None for what is missing."""
    names = {"value": value, "low": low, "high": high}
    return {name: None if pd.isna(row[column]) else float(row[column]) for name, column in names.items()}


def _ablations(table: pd.DataFrame, shown: str) -> Iterator[str]:
    """Tell whether one modality alone does worse than the shown network, where that has both."""
    whole = table.set_index("model").loc[shown, "modalities"]
    if whole != " + ".join(BRANCHES):
        return
    for _, row in table[table["modalities"] != whole].iterrows():
        found = known(row, "difference", "difference_low", "difference_high")
        verdict = "not clearly worse: nothing shows that the other modality adds to it"
        if found["low"] is not None and found["low"] > 0:
            verdict = "worse"
        elif found["high"] is not None and found["high"] < 0:
            verdict = "better than both together"
        said = f"KL divergence {number(row['kl_divergence'])}, less that of {shown} {with_interval(found)}"
        yield f"{row['model']} ({NAMES[row['modalities']]} alone): {said}: {verdict}"


def _modalities(table: pd.DataFrame) -> Iterator[str]:
    rows = table[(table["target"] == ALL) & (table["player"].isin(BRANCHES))]
    for model, own in rows.groupby("model", sort=False):
        told, hardly = [], ""
        for _, row in own.iterrows():
            share, name = known(row, "share", "share_low", "share_high"), NAMES[row["player"]]
            told.append(f"{name} {with_interval(share)}")
            if share["value"] is not None and share["value"] < HARDLY:
                hardly = f": it hardly uses the {name}"
        yield f"{model}: modalities' share in predictions (by the size of Shapley values): {', '.join(told)}{hardly}"


def _agreement(table: pd.DataFrame) -> Iterator[str]:
    """Tell whether both directions agree on a sample more than on those of other patients."""
    for _, row in table.iterrows():
        found = known(row, "agreement")
        said = f"{row['model']}: both directions of attention agree by {with_interval(found)}"
        if pd.isna(row["p_value"]):
            yield f"{said}; of one patient, nothing tells what chance gives"
            continue
        verdict = "more" if row["p_value"] < SIGNIFICANT else "not clearly more"
        shuffled = f"with those of other patients by {number(row['shuffled'])}"
        yield f"{said}, {shuffled}: {verdict} than by chance (p = {row['p_value']:.2g})"


def _entropies(table: pd.DataFrame) -> Iterator[str]:
    """Tell of models whose attention is the same to all windows, or as it was before training."""
    for model, own in table[table["head"] == ALL].groupby("model", sort=False):
        told = []
        for _, row in own.iterrows():
            found, before = known(row, "entropy", "entropy_low", "entropy_high"), row["untrained_entropy"]
            said = ["nearly uniform"] if found["value"] > NEARLY_UNIFORM else []
            said += ["hardly other than before training"] if abs(found["value"] - before) < LIKE_UNTRAINED else []
            if said:
                name = f"{TITLES[row['direction']]} {with_interval(found)}"
                told.append(f"{name}, {' and '.join(said)} ({number(before)})")
        if told:
            yield f"{model}: its attention tells little; entropy (1 is uniform; before training): {'; '.join(told)}"


def _knockouts(table: pd.DataFrame) -> Iterator[str]:
    """Tell how many heads may go without any loss, and what all of them are worth."""
    removed = table[table["kind"] == "removed"]
    for model, own in removed.groupby("model", sort=False):
        single = own[own["head"] != ALL]
        idle = single[~(single["low"] > 0)]
        whole = own[(own["head"] == ALL) & (own["direction"] == "both")].iloc[0]
        change = known(whole, "kl_change")
        verdict = "" if change["low"] is not None and change["low"] > 0 else ", no clear loss"
        yield (
            f"{model}: {len(idle)} of {len(single)} heads of attention may be removed without a clear loss; without "
            f"all of them the KL divergence rises by {with_interval(change)}{verdict}"
        )


def _windows(table: pd.DataFrame, shown: str, primary: str) -> Iterator[str]:
    """Tell whether the windows in the middle, which experts labeled, have more of the attribution than others."""
    rows = table[(table["model"] == shown) & (table["method"] == primary) & (table["target"] == ALL)]
    told = []
    for branch, own in rows.groupby("branch", sort=False):
        middle = own[own["window"].isin(central(int(own["window"].max()) + 1))]
        for _, row in middle.iterrows():
            share = known(row, "share")
            beyond = share["low"] is not None and share["low"] > row["chance"]
            verdict = "more than" if beyond else "not clearly more than"
            told.append(
                f"{NAMES[branch]} {row['start_seconds']:g}-{row['stop_seconds']:g} s {with_interval(share)}, {verdict} "
                f"an even share ({number(row['chance'])})"
            )
    if told:
        yield f"{shown}: share of the attribution ({primary}) in the middle of the segment: {'; '.join(told)}"
