"""The analysis of a study of three models, from its files to tables, maps, report and notes."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from consilience.attribution.explain import explain_model
from consilience.attribution.store import write
from consilience.dataset import Dataset
from consilience.domains.eeg import analyze, look
from consilience.domains.eeg.asked import Asked
from consilience.domains.eeg.modalities import shapley
from consilience.domains.eeg.model import build
from consilience.domains.eeg.notes import note_lines
from consilience.domains.eeg.patterns import entropies, head_maps
from consilience.domains.eeg.tables import COLUMNS, Tables
from consilience.domains.eeg.wording import window_names
from consilience.evaluation import evaluate_test_role
from consilience.files import read_h5, read_strings, write_table
from consilience.training.train import predict_rows
from consilience.votes import divergence
from tests.unit.eeg_networks import CLASSES, Study, write_study

MODELS = {"tiny": {}, "many": {"heads": 4}, "eeg_only": {"modalities": ["eeg"]}}
MODALITIES = {"tiny": ["eeg", "spectrogram"], "many": ["spectrogram", "eeg"], "eeg_only": ["eeg"]}
METHODS = ["saliency", "gradient_x_input", "occlusion"]
SETTINGS = {"samples": 9, "report_samples": 2, "permutations": 100, "resamples": 20}


def predictions(study, probabilities):
    rows = np.flatnonzero(study.split["role"] == "test")
    table = [
        (study.split["sample"][row], "test", name, study.dataset.target[row, column], probabilities[place, column])
        for place, row in enumerate(rows)
        for column, name in enumerate(CLASSES)
    ]
    return pd.DataFrame(table, columns=["sample", "role", "target", "observed", "predicted"])


def write_models(dataset, folder):
    """Write ensembles, attributions and predictions of `MODELS`; returns the paths, the split and the metrics."""
    given, metrics = SimpleNamespace(ensembles=[], attributions=[], predictions=[]), {}
    for model, changes in MODELS.items():
        study = Study.of(dataset, model, **changes)
        study.ensemble.save(folder / f"{model}.safetensors")
        settings = {"methods": METHODS, "showcase": 6}
        module = study.ensemble.network(build)
        for method, own in explain_model(dataset, study.split, study.ensemble, module, METHODS, settings, 0).items():
            write(folder / f"{model}_{method}.h5", own)
            given.attributions.append(folder / f"{model}_{method}.h5")
        probabilities = predict_rows(study.ensemble, module, dataset, np.flatnonzero(study.split["role"] == "test"))
        write_table(folder / f"{model}.tsv", predictions(study, probabilities))
        metrics[model] = evaluate_test_role(dataset, study.split, model, probabilities, 0)
        given.ensembles.append(folder / f"{model}.safetensors")
        given.predictions.append(folder / f"{model}.tsv")
    return given, study.split, metrics


def run(dataset, given, split, metrics, folder, **changes):
    params = SimpleNamespace(
        models=list(MODELS), explained=list(MODELS), modalities=MODALITIES, methods=METHODS, own_methods={}, shown="tiny", primary="gradient_x_input", window=10, stride=5,
        analysis=SETTINGS, attribution={"reference": "mean"}, seed=0, device="cpu",
    )  # fmt: skip
    params.__dict__.update(changes)
    output = SimpleNamespace(attention_maps=folder / "attention.h5", report=folder / "report.txt")
    asked = Asked.choose(dataset, split, SETTINGS["samples"], SETTINGS["resamples"], 0)
    tables = Tables(asked, SETTINGS["permutations"])
    analyze.analyze_models(given, params, dataset, split, tables, output)
    test = Asked.of(dataset, split, np.flatnonzero(split["role"] == "test"), SETTINGS["resamples"], 0)
    analyze.add_performance(given, params, tables, test, metrics)
    return tables, output


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eeg")
    with Dataset.open(write_study(folder / "dataset.h5")) as dataset:
        yield dataset, *write_models(dataset, folder)


@pytest.fixture(scope="module")
def analysis(models, tmp_path_factory):
    return run(*models, tmp_path_factory.mktemp("analysis"))


def test_all_tables_have_rows_of_the_models_that_have_what_they_tell(analysis):
    frames = analysis[0].frames()
    assert set(frames) == set(COLUMNS)
    fused = {"attention", "agreement", "knockouts", "modalities"}
    for name, frame in frames.items():
        assert list(frame.columns) == list(COLUMNS[name])
        assert set(frame["model"]) == set(MODELS) - ({"eeg_only"} if name in fused else set()), name
    statistics = frames["class_patterns"].groupby("model")["statistic"].agg(set)
    assert statistics["eeg_only"] == {"confidence", "vote_entropy", "eeg_central_share"}
    assert statistics["tiny"] >= {"eeg_share", "agreement", "spec_to_eeg_entropy", "spectrogram_central_share"}
    assert set(frames["windows"]["method"]) == {"saliency", "gradient_x_input", "window_occlusion"}
    assert frames["windows"].groupby("method")["signed"].count()["saliency"] == 0
    edges = frames["edges"]
    assert set(edges[edges["model"] == "eeg_only"]["branch"]) == {"eeg"}
    assert set(frames["edges"]["target"]) == {*CLASSES, "all"}


def test_numbers_are_of_the_model_whose_name_they_bear(models, analysis):
    dataset, given, _, _ = models
    asked = analysis[0].asked
    networks = Study.of(dataset, "many", heads=4).networks(given.ensembles[1])
    row = analysis[0].frames()["agreement"].set_index("model").loc["many"]
    maps = networks.attention(asked.ids)
    assert len(asked) == 9
    frame = analysis[0].frames()["attention"]
    assert set(frame[frame["model"] == "many"]["head"]) == {0, 1, 2, 3, "all"}
    top = head_maps(maps[1]["eeg_to_spec"])[3].max()
    own = frame[(frame["model"] == "many") & (frame["member"] == 1) & (frame["head"] == 3)].iloc[0]
    assert own["top_weight"] == pytest.approx(top)
    assert row["samples"] == 9
    before = networks.attention(asked.ids, untrained=True)[1]["eeg_to_spec"]
    assert own["untrained_entropy"] == pytest.approx(entropies(before)[:, 3].mean())
    edges = analysis[0].frames()["edges"]
    every = edges[(edges["model"] == "many") & (edges["target"] == "all")].set_index(["branch", "first", "second"])
    found = networks.edges(asked.ids)
    effects = networks.predictions(asked.ids).logits - found.logits
    place = found.pairs.index(("spectrogram", "LL", "LP"))
    expected = effects[place][:, np.arange(9), asked.labels].mean()
    assert every.loc[("spectrogram", "LL", "LP"), "effect"] == pytest.approx(expected)


def test_what_is_compared_is_the_whole_network_as_it_predicts(models, analysis):
    dataset, given, _, _ = models
    asked, frames = analysis[0].asked, analysis[0].frames()
    networks = Study.of(dataset, "many", heads=4).networks(given.ensembles[1])
    said = networks.predictions(asked.ids)
    right = said.probabilities.mean(axis=0).argmax(axis=1) == asked.labels
    rows = frames["outcomes"].set_index(["model", "statistic"]).loc[("many", "confidence")]
    assert (rows["correct_samples"], rows["incorrect_samples"]) == (right.sum(), (~right).sum())
    assert right.sum() != (~right).sum()
    knockouts = frames["knockouts"].set_index(["model", "direction", "head", "member", "kind"])
    after = networks.knockouts(asked.ids)[("spec_to_eeg", 3, "removed")].probabilities[1]
    change = divergence(asked.votes, after) - divergence(asked.votes, said.probabilities[1])
    row = knockouts.loc[("many", "spec_to_eeg", 3, 1, "removed")]
    assert row["kl_change"] == pytest.approx(np.average(change, weights=asked.weight))
    players = shapley(networks.coalitions(asked.ids))
    value = players["eeg"].mean(axis=0)[np.arange(9), asked.labels].mean()
    modalities = frames["modalities"].set_index(["model", "target", "player"])
    assert modalities.loc[("many", "all", "eeg"), "value"] == pytest.approx(value)


def test_windows_and_central_shares_are_what_is_lost_without_single_windows(models, analysis):
    dataset, given, _, _ = models
    asked = analysis[0].asked
    networks = Study.of(dataset, "many", heads=4).networks(given.ensembles[1])
    shares = {}
    for untrained in (False, True):
        falls = networks.windows(asked.ids, untrained)["spectrogram"].mean(axis=1)
        sizes = np.abs(falls[:, np.arange(9), asked.labels]).T
        shares[untrained] = sizes / sizes.sum(axis=1, keepdims=True)
    frames = analysis[0].frames()
    own = frames["windows"].query("model == 'many' and method == 'window_occlusion' and branch == 'spectrogram'")
    own = own[own["target"] == "all"]
    np.testing.assert_allclose(own["share"], shares[False].mean(axis=0))
    np.testing.assert_allclose(own["untrained"], shares[True].mean(axis=0))
    np.testing.assert_allclose(own["beyond"], (shares[False] - shares[True]).mean(axis=0))
    assert (own["samples"] == 9).all()
    assert own["chance"].nunique() == 2  # a window of one sample is absent
    patterns = frames["class_patterns"].set_index(["model", "statistic", "class"])["value"]
    central = shares[False][:, 3][asked.labels == 1].mean()
    assert patterns.loc[("many", "spectrogram_central_share", CLASSES[1])] == pytest.approx(central)
    gradients = frames["windows"].query("method != 'window_occlusion'")
    assert gradients["untrained"].isna().all() and (gradients.query("target == 'all'")["samples"] == 6).all()


def test_maps_of_attention_are_kept_by_member_class_and_sample(models, analysis):
    dataset, given, _, _ = models
    asked = analysis[0].asked
    maps = Study.of(dataset).networks(given.ensembles[0]).attention(asked.ids)
    with read_h5(analysis[1].attention_maps) as file:
        assert list(read_strings(file, "classes")) == CLASSES
        assert list(read_strings(file, "samples")) == asked.ids[:2]
        assert set(file) == {"classes", "samples", "tiny", "many"}
        own = file["tiny/spec_to_eeg"]
        assert own["mean"].shape == (2, 2, 7, 5)
        assert own["classes"].shape == (2, 3, 2, 7, 5)
        places = np.flatnonzero(asked.labels == 1)
        np.testing.assert_allclose(own["mean"][1], head_maps(maps[1]["spec_to_eeg"]), atol=1e-6)
        np.testing.assert_allclose(own["classes"][1, 1], head_maps(maps[1]["spec_to_eeg"], places), atol=1e-6)
        np.testing.assert_allclose(own["samples"][0], maps[0]["spec_to_eeg"].values[:2], atol=1e-6)  # noqa: PD011


def test_the_report_tells_of_the_nearest_member_with_names_of_classes_windows_and_samples(models, analysis):
    dataset, given, _, _ = models
    text, asked = analysis[1].report.read_text(encoding="utf-8"), analysis[0].asked
    said = Study.of(dataset).networks(given.ensembles[0]).predictions(asked.ids[:2])
    mean, text_in_a_line = said.probabilities.mean(axis=0), " ".join(text.split())
    member = int(((said.probabilities - mean) ** 2).sum(axis=(1, 2)).argmin())
    assert f"are those of member {member} of tiny, the one of 2 whose" in text_in_a_line
    for place, sample in enumerate(asked.ids[:2]):
        apart = mean[place].argmax() != said.probabilities[member, place].argmax()
        assert (f"{sample} ({CLASSES[mean[place].argmax()]})" in text_in_a_line.split("Attention is not")[0]) == apart
        assert f"Sample {place} ({sample}):" in text
        probability = said.probabilities[member, place]
        assert f"{probability.argmax()} ({CLASSES[probability.argmax()]}), confidence: {probability.max():.4f}" in text
        assert f"Ground Truth: {asked.labels[place]} ({CLASSES[asked.labels[place]]})" in text
    assert text.count("\nSample ") == 2
    assert "-15 s)" in text or "-20 s)" in text or "-10 s)" in text


def test_windows_are_named_by_their_seconds():
    assert window_names(3, 10, 5) == ["0-10 s", "5-15 s", "10-20 s"]
    assert window_names(2, 2.5, 1.25)[1] == "1.25-3.75 s"


def test_a_shown_model_without_attention_has_a_report_that_says_so(models, tmp_path):
    dataset, _, split, _ = models
    networks = Study.of(dataset, "eeg_only", modalities=["eeg"]).networks(tmp_path / "e.safetensors")
    asked = Asked.choose(dataset, split, 3, 0, 0)
    analyze.write_report(tmp_path / "report.txt", networks, asked, 2, (10, 5))
    assert (tmp_path / "report.txt").read_text() == (
        "eeg_only: it reads eeg alone, and has no attention between modalities\n"
    )


def test_notes_come_of_the_tables_as_they_are(models, analysis):
    lines = note_lines(analysis[0].frames(), models[3], "tiny", analysis[0].asked)
    assert sum("eeg_only (EEG alone)" in line for line in lines) == 1
    assert sum("on 9 samples of 4 patients" in line for line in lines) >= 5
    assert all(
        any(words in line for line in lines) for words in ("calibration", "share", "directions", "heads", "middle")
    )
    assert not [line for line in lines if "nan" in line or "None" in line]


def test_without_whole_maps_there_are_no_windows(models, analysis, tmp_path):
    dataset, _, split, _ = models
    one = SimpleNamespace(showcase=None)
    tables = Tables(analysis[0].asked, 100)
    tables.add_windows("tiny", {"saliency": one}, {"saliency": False}, dataset, split, (10, 5))
    assert tables.frames()["windows"].empty


def test_models_that_are_not_explained_are_judged_by_their_predictions_alone(models, tmp_path):
    dataset, given, split, metrics = models
    few = SimpleNamespace(
        ensembles=given.ensembles[:1], attributions=given.attributions[: len(METHODS)], predictions=given.predictions
    )
    frames = run(dataset, few, split, metrics, tmp_path, explained=["tiny"])[0].frames()
    for name, frame in frames.items():
        assert set(frame["model"]) == (set(MODELS) if name in ("calibration", "ablations") else {"tiny"}), name
    assert list(frames["ablations"]["modalities"]) == ["eeg + spectrogram", "eeg + spectrogram", "eeg"]


def test_the_same_study_gives_the_same_bytes(models, analysis, tmp_path):
    tables, output = run(*models, tmp_path)
    assert output.attention_maps.read_bytes() == analysis[1].attention_maps.read_bytes()
    assert output.report.read_bytes() == analysis[1].report.read_bytes()
    for name, frame in tables.frames().items():
        pd.testing.assert_frame_equal(frame, analysis[0].frames()[name], check_exact=True)


def test_a_look_says_what_is_whose():
    numbers = [0, 2, 5]
    assert look.said("small", "lpd", 0.567, numbers, 2, "lpd") == (
        "small sees lpd (probability 0.57, mean of 3 members; member 2, whose attention is shown, sees it too)"
    )
    assert "member 5, whose attention is shown, sees other)" in look.said("small", "lpd", 0.4, numbers, 5, "other")
    assert look.said("small", "lpd", 0.4, [3], 3, "lpd") == "small sees lpd (probability 0.40, its one member)"
    assert look.raters(np.array([0.2, 0.5, 0.3]), CLASSES) == "most raters see lpd"
    assert look.raters(np.array([0.4, 0.2, 0.4]), CLASSES) == "raters are tied between seizure and other"


def test_a_look_shows_the_member_that_predicts_most_like_the_mean(models, tmp_path):
    dataset, given, split, _ = models
    write_table(tmp_path / "split.tsv", split)
    paths = {"dataset": dataset.path, "split": tmp_path / "split.tsv", "ensemble": given.ensembles[0]}
    params = {
        "model": "tiny",
        "primary": "gradient_x_input",
        "window": 10,
        "stride": 5,
        "attribution": {"background": 4},
    }
    title = look.explain(tmp_path / "s14", {name: str(path) for name, path in paths.items()}, params, "s14")
    said = Study.of(dataset).networks(given.ensembles[0]).predictions(["s14"]).probabilities
    mean = said.mean(axis=0)
    member = int(((said - mean) ** 2).sum(axis=(1, 2)).argmin())
    pattern = title.split(" sees ")[1].split(" (")[0]
    assert f"probability {mean[0, CLASSES.index(pattern)]:.2f}, mean of 2 members; member {member}, whose" in title
    text = " ".join((tmp_path / "s14" / "report.txt").read_text(encoding="utf-8").split())
    label = said[member, 0].argmax()
    assert f"those of member {member}, the nearest to the mean." in text
    assert f"Predicted: {label} ({CLASSES[label]}), confidence: {said[member, 0].max():.4f}" in text
    assert re.search(r"window \d \(\d+-\d+ s\)", text)
