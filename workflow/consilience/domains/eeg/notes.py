"""What a user must know of an EEG study, a line each: above all what attention, and a modality, do not show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from consilience.domains.eeg.asked import ALL, Asked
from consilience.domains.eeg.edges import FALSE_SHARE, can_be_clear, clear_edges
from consilience.domains.eeg.montage import BRANCHES
from consilience.domains.eeg.windows import WINDOW_OCCLUSION, central
from consilience.domains.eeg.wording import NAMES, TITLES
from consilience.evaluation import number, with_interval

SIGNIFICANT = 0.05
NEARLY_UNIFORM = 0.95  # entropy from which attention says little
LIKE_UNTRAINED = 0.02  # of entropy
HARDLY = 0.1  # share of a modality
BY_CHANCE = 0.025  # of 95 % intervals that lie to one side of nothing
TOO_FEW = "too few patients to tell"

Known = dict[str, float | None]


def note_lines(
    tables: Mapping[str, pd.DataFrame], metrics: Mapping[str, Mapping[str, Any]], shown: str, asked: Asked
) -> list[str]:
    """Return the notes of a study.

    `tables` are those of the analysis by name, `metrics` the contents of metrics.json by model; `shown` is the model
    that others are compared with, `asked` the samples that networks were asked about.
    """
    errors = (f"{model} {with_interval(one['test']['expected_calibration_error'])}" for model, one in metrics.items())
    test = on(metrics[shown]["test"]["n"], metrics[shown]["test"]["groups"])
    who = on(len(asked), len(np.unique(asked.patients)))
    turns = f"{who}, classes taking turns"
    told = "expected calibration error (confidence against the share of votes; 0 is none)"
    lines = [f"{told} {test}: {', '.join(errors)}"]
    lines += _ablations(tables["ablations"], shown, test)
    lines += _modalities(tables["modalities"], turns)
    lines += _entropies(tables["attention"], turns)
    lines += _agreement(tables["agreement"], tables["attention"], turns)
    lines += _knockouts(tables["knockouts"], who)
    lines += _windows(tables["windows"], shown, turns)
    lines += _edges(tables["edges"], turns)
    return lines


def on(samples: int, patients: int) -> str:
    """Say on whom."""
    return f"on {samples} sample{'s' * (samples != 1)} of {patients} patient{'s' * (patients != 1)}"


def known(row: pd.Series, value: str = "value", low: str = "low", high: str = "high") -> Known:
    """Return an interval from a row of a table, None for what is missing."""
    names = {"value": value, "low": low, "high": high}
    return {name: None if pd.isna(row[column]) else float(row[column]) for name, column in names.items()}


def verdict(found: Mapping[str, float | None], above: str, below: str, neither: str) -> str:
    """Choose what to say of an interval: it lies above 0, below it, or neither; nothing is said where it is missing."""
    low, high = found["low"], found["high"]
    if low is None or high is None or np.isnan([low, high]).any():
        return TOO_FEW
    return above if low > 0 else below if high < 0 else neither


def moved(found: Known) -> str:
    """Say by how much something rises or falls, with the interval of that."""
    if found["value"] is None or found["value"] >= 0:
        return f"rises by {with_interval(found)}"
    turned = {"value": "value", "low": "high", "high": "low"}
    ends = {name: None if found[other] is None else -found[other] for name, other in turned.items()}
    return f"falls by {with_interval(ends)}"


def uniform_models(attention: pd.DataFrame) -> list[str]:
    """Return the models whose attention is nearly uniform in both directions."""
    rows = attention[attention["head"] == ALL]
    return [model for model, own in rows.groupby("model") if (own["entropy"] >= NEARLY_UNIFORM).all()]


def clear_heads(single: pd.DataFrame) -> tuple[int, int, int, float]:
    """Return how many heads' intervals are known, lie above 0 and below it, and how many would on each side by chance.

    `single` are rows of knockouts.tsv.
    """
    count = int(single["low"].notna().sum())
    return count, int((single["low"] > 0).sum()), int((single["high"] < 0).sum()), BY_CHANCE * count


def _ablations(table: pd.DataFrame, shown: str, who: str) -> Iterator[str]:
    """Tell whether one modality alone does worse than the shown network, where that has both."""
    rows = table.set_index("model")
    whole = rows.loc[shown, "modalities"]
    told = []
    if whole != " + ".join(BRANCHES):
        return
    for model, row in rows[rows["modalities"] != whole].iterrows():
        found = known(row, "difference", "difference_low", "difference_high")
        said = verdict(found, "worse", "better than both together", "no loss shown without the other modality")
        told.append(f"{model} ({NAMES[row['modalities']]} alone) {with_interval(found)}, {said}")
    if told:
        base = f"{shown} with both, {number(rows.loc[shown, 'kl_divergence'])}"
        yield f"KL divergence from the votes {who}, beyond that of {base}: {'; '.join(told)}"


def _modalities(table: pd.DataFrame, who: str) -> Iterator[str]:
    """Tell the share of modalities, of all models in one line."""
    rows, told = table[(table["target"] == ALL) & table["player"].isin(BRANCHES)], []
    for model, own in rows.groupby("model", sort=False):
        shares = {row["player"]: known(row, "share", "share_low", "share_high") for _, row in own.iterrows()}
        hardly = [NAMES[name] for name, one in shares.items() if one["value"] is not None and one["value"] < HARDLY]
        said = f"{model} {with_interval(shares[BRANCHES[0]])}"
        told.append(said + "".join(f", it hardly uses the {name}" for name in hardly))
    if told:
        what = "EEG's share in predictions (by the size of Shapley values; the rest is the spectrogram's)"
        yield f"{what} {who}: {'; '.join(told)}"


def _entropies(table: pd.DataFrame, who: str) -> Iterator[str]:
    """Tell of models whose attention is the same to all windows, or as it was before training."""
    told = []
    for model, own in table[table["head"] == ALL].groupby("model", sort=False):
        for _, row in own.iterrows():
            found, before = known(row, "entropy", "entropy_low", "entropy_high"), row["untrained_entropy"]
            said = ["nearly uniform"] if found["value"] >= NEARLY_UNIFORM else []
            said += ["hardly other than before training"] if abs(found["value"] - before) < LIKE_UNTRAINED else []
            if said:
                name = f"{model} {TITLES[row['direction']]} {with_interval(found)}"
                told.append(f"{name} ({number(before)}), {' and '.join(said)}")
    if told:
        yield f"attention that tells little, by its entropy (1 is uniform; before training) {who}: {'; '.join(told)}"


def _agreement(table: pd.DataFrame, attention: pd.DataFrame, who: str) -> Iterator[str]:
    """Tell how far both directions agree on a sample beyond other patients' pairings, of all models in one line."""
    uniform, told = uniform_models(attention), []
    for _, row in table.iterrows():
        said = f"{row['model']} {number(row['agreement'])} against {number(row['shuffled'])}"
        if pd.isna(row["p_value"]) or row["least_p"] > SIGNIFICANT:
            told.append(f"{row['model']} {number(row['agreement'])}, {TOO_FEW}")
        elif row["model"] in uniform:
            told.append(f"{said} (p = {row['p_value']:.2g}), of attention that is nearly uniform, which says little")
        else:
            more = "more" if row["excess"] > 0 else "less"
            chance = f"{more} than" if row["p_value"] < SIGNIFICANT else "not clearly other than"
            excess = f"an excess of {number(row['excess'])}"
            told.append(f"{said}, {excess}, {chance} by chance (p = {row['p_value']:.2g})")
    if told:
        yield f"agreement of both directions of attention, against other patients' pairings, {who}: {'; '.join(told)}"


def _knockouts(table: pd.DataFrame, who: str) -> Iterator[str]:
    """Tell what is lost and gained without single heads, beside what chance gives, and without all of them."""
    removed = table[table["kind"] == "removed"]
    for model, own in removed.groupby("model", sort=False):
        count, worse, better, chance = clear_heads(own[own["head"] != ALL])
        single = f"clearly for {worse} of {count} and falls clearly for {better} ({chance:.1f} each by chance)"
        single = f"rises {single}" if count else f"cannot be judged ({TOO_FEW})"
        whole = known(own[(own["head"] == ALL) & (own["direction"] == "both")].iloc[0], "kl_change")
        said = verdict(whole, "a loss", "a gain", f"no loss shown {who}")
        where = "" if who in said else f" {who}"
        start = f"{model}: without single heads of attention the KL divergence {single}"
        yield f"{start}; without all of them it {moved(whole)}, {said}{where}"


def middle_windows(table: pd.DataFrame, model: str) -> list[dict[str, Any]]:
    """Return the windows in the middle of each branch, of all classes, by what is lost without them."""
    rows = table[(table["model"] == model) & (table["method"] == WINDOW_OCCLUSION) & (table["target"] == ALL)]
    found = []
    for _, own in rows.groupby("branch", sort=False):
        count = int(own["window"].max()) + 1
        found += own[own["window"].isin(central(count))].to_dict("records") if count > 1 else []
    return found


def _windows(table: pd.DataFrame, shown: str, who: str) -> Iterator[str]:
    """Tell whether predictions rest on the windows in the middle, which HMS labels, more than before training."""
    told = []
    for row in middle_windows(table, shown):
        beyond = {name: row[f"beyond_{name}"] for name in ("low", "high")}
        said = verdict(beyond, *(f"{word} than before training" for word in ("more", "less", "not clearly more")))
        place = f"{NAMES[row['branch']]} {row['start_seconds']:g}-{row['stop_seconds']:g} s {number(row['share'])}"
        told.append(f"{place} (before training {number(row['untrained'])}, even {number(row['chance'])}), {said}")
    if told:
        yield f"{shown}: share of the middle windows in what is lost without single windows {who}: {'; '.join(told)}"


def _edges(table: pd.DataFrame, who: str) -> Iterator[str]:
    """Tell how many edges matter beyond chance."""
    told = []
    for model, rows in table.groupby("model", sort=False):
        own = rows[rows["target"] != ALL]
        told.append(f"{model} {int(clear_edges(own).sum())} of {len(own)}")
        told[-1] += "" if can_be_clear(rows) else f" ({TOO_FEW})"
    if told:
        what = f"edges of graphs that matter to a class (q < {FALSE_SHARE}, all members of one sign)"
        yield f"{what} {who}: {', '.join(told)}"
