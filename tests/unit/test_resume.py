"""What is continued from a checkpoint ends in the bits of what was never disturbed."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from safetensors import SafetensorError

from consilience import resume
from consilience.dataset import Dataset
from consilience.errors import ConsilienceError
from consilience.files import read_tensors
from consilience.resume import Journal, State, copy_into, journal_of
from consilience.sparse_autoencoder import Recipe, SparseAutoencoder
from consilience.training import engine
from consilience.training.engine import train_member
from consilience.training.members import enumerate_members
from consilience.training.stacked import train_stack
from consilience.training.train import train_model
from tests.unit.test_training_encoded import coded
from tests.unit.training_examples import (
    course_of,
    genes_dataset,
    jobs_of,
    masked,
    modules_of,
    perceptron,
    split_of,
    two_branch_dataset,
)

DROPPED = {"hidden": [8, 5], "dropout": 0.25, "batchnorm": True, "residual": True}
RECIPES = {
    "sgd": {"recipe": "sgd", "epochs": 7},
    "adam": {"recipe": "adam", "epochs": 7, "batch_size": 16, "clip": 0.5},
    "stopping early": {"recipe": "adamw", "epochs": 40, "patience": 2, "learning_rate": 0.05, "batch_size": 16},
}


class Killed(BaseException):
    """What nothing catches."""


def dying(after):
    """A tick that ends everything at its call number `after`; None for one that never does."""
    calls = []

    def tick():
        calls.append(1)
        if len(calls) == after:
            raise Killed

    tick.calls = calls
    return tick


def same(first, second):
    assert first.losses == second.losses
    assert first.best == second.best
    assert first.state.keys() == second.state.keys()
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)


def kept_every_epoch(path):
    return Journal(path, lambda: "key", seconds=0)


@pytest.fixture
def epochs_run(monkeypatch):
    """Count the epochs that the loop really trains."""
    run, real = [], engine._epoch

    def counted(*arguments):
        run.append(1)
        return real(*arguments)

    monkeypatch.setattr(engine, "_epoch", counted)
    return run


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    monkeypatch.setattr(resume, "SHARE_OF_TIME", 0)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("death", [1, 3, 6])
def test_a_member_goes_on_where_it_was_killed(tmp_path, name, death, epochs_run):
    course, training, validation = course_of(RECIPES[name])
    [job] = jobs_of(course, training, validation, seeds=1)
    expected = train_member(course, job, *modules_of(course, [job], DROPPED))
    alone = len(epochs_run)
    path = tmp_path / "train.safetensors"
    with pytest.raises(Killed):  # after the epoch and before it is kept
        train_member(course, job, *modules_of(course, [job], DROPPED), dying(death), kept_every_epoch(path).part("a"))
    del epochs_run[:]
    tick = dying(None)
    found = train_member(course, job, *modules_of(course, [job], DROPPED), tick, kept_every_epoch(path).part("a"))
    same(found, expected)
    assert len(epochs_run) == alone - (death - 1)
    assert len(tick.calls) == alone


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("death", [2, 9, 17])
def test_a_stack_goes_on_where_it_was_killed(tmp_path, name, death):
    """Members see different rows, and stop at different epochs."""
    course, training, validation = course_of(RECIPES[name])
    jobs = jobs_of(course, training, validation, rows=("all", "half:0"))
    expected = train_stack(course, jobs, modules_of(course, jobs, DROPPED))
    path = tmp_path / "train.safetensors"
    with pytest.raises(Killed):
        train_stack(course, jobs, modules_of(course, jobs, DROPPED), dying(death), kept_every_epoch(path).part("a"))
    found = train_stack(course, jobs, modules_of(course, jobs, DROPPED), part=kept_every_epoch(path).part("a"))
    for one, other in zip(found, expected, strict=True):
        same(one, other)


@pytest.mark.parametrize("activation", ["top_k", "batch_top_k"])
@pytest.mark.parametrize("death", [1, 4, 8])
def test_a_dictionary_goes_on_where_it_was_killed(tmp_path, activation, death):
    """With atoms that die and learn from what is left over."""
    random = torch.Generator().manual_seed(0)
    training, validation = torch.randn(120, 10, generator=random), torch.randn(40, 10, generator=random)

    def fit(tick, journal):
        torch.manual_seed(5)
        module = SparseAutoencoder(10, 64, 3, activation, Recipe(epochs=8, batch_size=32, learning_rate=1e-2))
        return module, module.fit(training, validation, 0, tick, journal.part("dictionary"))

    expected, told = fit(lambda: None, Journal())
    path = tmp_path / "encode.safetensors"
    with pytest.raises(Killed):
        fit(dying(death), kept_every_epoch(path))
    tick = dying(None)
    found, again = fit(tick, kept_every_epoch(path))
    assert again == told
    assert len(tick.calls) == 8
    assert all(torch.equal(found.state_dict()[name], own) for name, own in expected.state_dict().items())


def test_a_dictionary_that_has_ended_is_not_fitted_again(tmp_path, monkeypatch):
    """It is kept without what fitting alone needs, and written with what comes after it."""
    inputs = torch.randn(60, 10, generator=torch.Generator().manual_seed(0))
    journal = Journal(tmp_path / "encode.safetensors", lambda: "key", seconds=1e6)
    module = SparseAutoencoder(10, 16, 3, recipe=Recipe(epochs=4, batch_size=32))
    told = module.fit(inputs, inputs, 0, part=journal.part("first"))
    assert {name.split("/")[0] for name in journal.states["first"].tensors} == {"module"}
    journal.write()
    again = SparseAutoencoder(10, 16, 3, recipe=Recipe(epochs=4, batch_size=32))
    monkeypatch.setattr("consilience.sparse_autoencoder._Fit._epoch", None)
    assert again.fit(inputs, inputs, 0, part=kept_every_epoch(journal.path).part("first")) == told
    assert all(torch.equal(again.state_dict()[name], own) for name, own in module.state_dict().items())


class Averaging(torch.nn.Linear):
    """Outputs less their running mean, which is a buffer but no part of the state."""

    first_layers = ("",)

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.register_buffer("mean", torch.zeros(outputs), persistent=False)

    def forward(self, inputs):
        outputs = super().forward(inputs)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * outputs.detach().mean(dim=0)
        return outputs - self.mean


def test_buffers_that_are_no_part_of_the_state_go_on_too(tmp_path):
    course, training, validation = course_of({"epochs": 6})
    [job] = jobs_of(course, training, validation, seeds=1)

    def module():
        torch.manual_seed(1)
        return Averaging(course.training.inputs[0].shape[1], 1)

    expected, path = train_member(course, job, module()), tmp_path / "train.safetensors"
    with pytest.raises(Killed):
        train_member(course, job, module(), dying(4), kept_every_epoch(path).part("a"))
    same(train_member(course, job, module(), part=kept_every_epoch(path).part("a")), expected)


@pytest.mark.parametrize("stacked", [False, True])
def test_members_that_see_different_rows_have_encoders_of_their_own(tmp_path, stacked):
    """Killed in the second encoder's heads; the journal is written only then, with all that had ended."""
    path = genes_dataset(tmp_path / "dataset.h5")
    training = {"seeds": 2, "epochs": 3, "stack": "always" if stacked else "never"}
    members, ticks = enumerate_members(2, ("all", "half:0")), []
    with Dataset.open(path) as dataset:

        def train(journal):
            given = dataset, split_of(len(dataset)), coded, {"k": 3}, training, "mlp", 0
            return train_model(*given, journal=journal, members=members).ensemble

        train(Journal()).save(tmp_path / "expected.safetensors")
        late = Journal(tmp_path / "train.safetensors", lambda: "key", seconds=0)
        late.due = lambda: ticks.append(1) or any("half" in name for name in late.states)
        write = late.write

        def write_and_die():
            write()
            if len(late.states) > (3 if stacked else 5):
                raise Killed

        late.write = write_and_die
        with pytest.raises(Killed):
            train(late)
        again = kept_every_epoch(tmp_path / "train.safetensors")
        kept = set(again.states)
        train(again).save(tmp_path / "found.safetensors")
    assert {"encoder of all", "encoder of half:0"} < kept
    assert (tmp_path / "found.safetensors").read_bytes() == (tmp_path / "expected.safetensors").read_bytes()


@pytest.mark.parametrize("kind", ["loop", "stack", "own dropout", "encoder"])
def test_every_epoch_of_a_model_is_one_to_go_on_from(tmp_path, kind):
    """Killed again and again, one epoch further each time; the file of weights has the same bytes."""
    path = (two_branch_dataset if kind == "own dropout" else genes_dataset)(tmp_path / "dataset.h5")
    build, specification = {
        "own dropout": (masked, {}), "encoder": (coded, {"k": 3}),
    }.get(kind, (perceptron, {"hidden": [6], "dropout": 0.2}))  # fmt: skip
    training = {"seeds": 2, "epochs": 3, "stack": "always" if kind == "stack" else "never"}
    with Dataset.open(path) as dataset:

        def train(journal):
            given = dataset, split_of(len(dataset)), build, specification, training, "mlp", 0
            return train_model(*given, journal=journal)

        train(Journal()).ensemble.save(tmp_path / "expected.safetensors")
        journal, tries = tmp_path / "train.safetensors", 0
        while True:
            tries += 1
            own = kept_every_epoch(journal)
            write = own.write

            def write_and_die(write=write):
                write()
                raise Killed

            own.write = write_and_die
            try:
                trained = train(own)
                break
            except Killed:
                assert tries < 60
    trained.ensemble.save(tmp_path / "found.safetensors")
    assert (tmp_path / "found.safetensors").read_bytes() == (tmp_path / "expected.safetensors").read_bytes()
    assert tries > {"stack": 3, "encoder": 6}.get(kind, 6)


def test_work_of_another_key_is_not_continued(tmp_path, caplog):
    path = tmp_path / "train.safetensors"
    first = Journal(path, lambda: "of one code", 0)
    first.part("a").keep(lambda: State({"x": torch.ones(2)}, {"epoch": 3}))
    with caplog.at_level(logging.INFO, "consilience"):
        assert Journal(path, lambda: "of another", 0).part("a").saved is None
    assert "is of other code, settings or inputs: work starts anew" in caplog.text
    found = Journal(path, lambda: "of one code", 0).part("a").saved
    assert found.facts == {"epoch": 3}
    assert found.tensors["x"].tolist() == [1, 1]


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "facts"])
def test_a_damaged_checkpoint_is_told_of_and_not_used(tmp_path, caplog, damage):
    path = tmp_path / "train.safetensors"
    kept_every_epoch(path).part("a").keep(lambda: State({"x": torch.ones(200)}))
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-50], "empty": b"", "foreign": b"PK\x03\x04" * 40,
        "facts": whole.replace(b"parts", b'part"', 1)}[damage])  # fmt: skip
    assert kept_every_epoch(path).part("a").saved is None
    assert "the checkpoint is of no use, and work starts anew" in caplog.text


def test_parts_that_have_ended_are_written_with_the_one_that_goes_on(tmp_path):
    journal = kept_every_epoch(tmp_path / "train.safetensors")
    journal.part("member 0").end(State({"x": torch.zeros(())}, {"epoch": 9}))
    assert not journal.path.exists()
    journal.part("member 1").keep(lambda: State({"y": torch.ones((), dtype=torch.int64)}, {"epoch": 1}))
    again = kept_every_epoch(journal.path)
    assert again.part("member 0").saved.facts == {"epoch": 9}
    counter = torch.zeros((), dtype=torch.int64)
    copy_into({"y": counter}, again.part("member 1").saved.tensors)
    assert counter.item() == 1
    again.remove()
    assert not journal.path.exists()
    again.remove()


def test_nothing_is_written_or_hashed_before_it_is_time(tmp_path):
    def key():
        raise AssertionError("inputs are read through for the key")

    journal = Journal(tmp_path / "train.safetensors", key, seconds=1e6)
    journal.part("a").keep(lambda: pytest.fail("no state is asked for"))
    assert not journal.path.exists()


def test_writing_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    """A clock that is set by hand: a write of two seconds is followed by a hundred without."""
    now = [100.0]
    monkeypatch.setattr(resume, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(resume, "SHARE_OF_TIME", 50)
    monkeypatch.setattr(resume, "write_tensors", lambda *own: now.__setitem__(0, now[0] + 2))
    journal = Journal(tmp_path / "train.safetensors", lambda: "key", seconds=60)
    assert not journal.due()
    now[0] += 60
    assert journal.due()
    journal.write()
    now[0] += 99
    assert not journal.due()
    now[0] += 2
    assert journal.due()


def test_a_full_disk_costs_the_checkpoint_and_not_the_job(tmp_path, caplog, monkeypatch):
    def full(*arguments, **keywords):
        raise SafetensorError('I/O error: Os { code: 28, message: "No space left on device" }')

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    kept_every_epoch(tmp_path / "train.safetensors").part("a").keep(lambda: State({"x": torch.ones(2)}))
    assert "no checkpoint could be written" in caplog.text
    assert "No space left on device" in caplog.text


def test_a_loss_that_cannot_be_written_costs_the_checkpoint_and_not_the_job(tmp_path, caplog):
    kept_every_epoch(tmp_path / "train.safetensors").part("a").keep(lambda: State({}, {"curve": [float("inf")]}))
    assert "no checkpoint could be written" in caplog.text


def test_a_checkpoint_of_other_tensors_is_refused():
    with pytest.raises(ConsilienceError, match="a checkpoint holds weight; expected bias, weight"):
        copy_into({"bias": torch.zeros(1), "weight": torch.zeros(1)}, {"weight": torch.zeros(1)})
    with pytest.raises(ConsilienceError, match="a checkpoint's weight has 6 numbers; expected 3"):
        copy_into({"weight": torch.zeros(3)}, {"weight": torch.zeros(2, 3)})


@pytest.mark.parametrize("change", ["nothing", "settings", "code", "input", "processor", "torch", "device"])
def test_the_key_is_of_code_settings_inputs_and_device(tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(resume.SECONDS, "0")
    (tmp_path / "split.tsv").write_text("sample\trole\n")
    params = {"training": {"epochs": 3}, "code": "abc", "threads": 1}

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")

    def journal(device="cpu", **changed):
        rule = SimpleNamespace(log=["logs/toy/train/mlp.log"], params={**params, **changed}, input=["split.tsv"])
        return journal_of(rule, torch.device(device))

    first = journal()
    first.part("a").keep(lambda: State({"x": torch.ones(1)}))
    assert read_tensors("checkpoints/toy/train/mlp.safetensors")[1]["key"] == first.key
    if change == "input":
        (tmp_path / "split.tsv").write_text("sample\tgroup\trole\n")
    if change == "processor":
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
    if change == "torch":
        monkeypatch.setattr(torch, "__version__", "1.0")
    changed = {"settings": {"training": {"epochs": 4}}, "code": {"code": "abd"}, "device": {"device": "cuda"}}
    again = journal(**changed.get(change, {})).part("a").saved
    assert (again is not None) == (change == "nothing")
