"""What a GPU computes, held against the CPU; left out where there is none."""

import numpy as np
import pytest
import torch

from consilience.attribution.batches import Batch
from consilience.attribution.function import EnsembleFunction, target_map
from consilience.attribution.methods import method_named
from consilience.attribution.split import Split
from consilience.networks import MultilayerPerceptron
from consilience.resume import Journal
from consilience.sparse_autoencoder import Recipe, SparseAutoencoder
from consilience.training.engine import Course, Job, Labels, Samples, train_member
from consilience.training.members import enumerate_members
from consilience.training.recipes import resolve
from consilience.training.stacked import train_stack

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
DEVICES = "cpu", "cuda"


class Convolutional(torch.nn.Module):
    """Wide enough for cuDNN to take TF32 where it may."""

    stackable = True

    def __init__(self):
        super().__init__()
        layers = torch.nn.Conv2d(8, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3, padding=1)
        self.layers = torch.nn.Sequential(*layers, torch.nn.GELU(), torch.nn.Flatten(), torch.nn.Linear(32 * 256, 3))

    def forward(self, image):
        return self.layers(image)


class Recurrent(torch.nn.Module):
    """Reads a sequence as eeg's network does."""

    def __init__(self):
        super().__init__()
        self.recurrent = torch.nn.LSTM(6, 8, batch_first=True, bidirectional=True)
        self.output = torch.nn.Linear(16, 3)

    def forward(self, sequence):
        return self.output(self.recurrent(sequence.tanh())[0][:, -1])


def function_of(module, device, dtype=torch.float32, members=2):
    modules = []
    for seed in range(members):
        torch.manual_seed(seed)
        modules.append(module().to(device, dtype).eval())
    states = {name: torch.stack([own.state_dict()[name] for own in modules]) for name in modules[0].state_dict()}
    return EnsembleFunction(modules[0], states, *target_map("classification", 3))


def distance(found, expected):
    """The norm of the difference, relative."""
    found, expected = (tensor.detach().double().cpu() for tensor in (found, expected))
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize(("module", "shape"), [(Convolutional, (8, 16, 16)), (Recurrent, (5, 6))])
def test_gradients_on_a_gpu_are_those_of_double_precision(module, shape):
    inputs = torch.randn(64, *shape, generator=torch.Generator().manual_seed(0))
    values, (gradients,) = function_of(module, "cuda").gradients((inputs.cuda(),))
    expected, (slopes,) = function_of(module, "cpu", torch.float64).gradients((inputs.double(),))
    assert distance(values, expected) < 1e-5  # TF32 gives some 3e-4
    assert distance(gradients, slopes) < 1e-5


@pytest.mark.parametrize("name", ["integrated_gradients", "deeplift", "gradient_x_input", "smoothgrad"])
def test_attributions_on_a_gpu_are_those_of_a_cpu(name):
    inputs = torch.randn(12, 8, 16, 16, generator=torch.Generator().manual_seed(1))
    found = []
    for device in DEVICES:
        function, own = function_of(Convolutional, device), inputs.to(device)
        batch = Batch(
            function, (own,), references=(torch.zeros_like(own[:1]),), deviations=[1.0], keys=list(range(len(own))),
            split=Split(function, (own,), {}),
        )  # fmt: skip
        assert batch.split.has_front
        found.append(batch.attribute(method_named(name), {"internal_batch": 64, "steps": 8, "draws": 3})[0])
    assert distance(found[1], found[0]) < 1e-4


@pytest.mark.parametrize("activation", ["top_k", "batch_top_k"])
def test_a_dictionary_from_a_gpu_is_as_good_as_one_from_a_cpu(activation):
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(1200, 6, generator=generator) @ torch.randn(6, 48, generator=generator)
    explained = []
    for device in DEVICES:
        module = SparseAutoencoder(48, 96, 8, activation, Recipe(epochs=6)).to(device)
        found = module.fit(rows[:1000].to(device), rows[1000:].to(device), 0)
        assert module.atoms.device.type == device
        explained.append(found["validation"]["explained_variance"])
    assert explained[0] > 0.5
    assert abs(explained[1] - explained[0]) < 0.02


def training_on(device):
    """A course, three jobs and their networks on a device."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(200, 30, generator=generator)
    target = inputs[:, :5].sum(dim=1) + 0.1 * torch.randn(200, generator=generator)
    samples = [Samples((part.to(device),), {}) for part in (inputs[:160], inputs[160:])]
    labels = [Labels(part.to(device)) for part in (target[:160], target[160:])]
    course = Course("gpu", "regression", 0, resolve({"epochs": 4, "batch_size": 32}), *samples)
    jobs = [Job(member, torch.arange(160), *labels) for member in enumerate_members(3)]
    modules = []
    for job in jobs:
        torch.manual_seed(job.member.seed)
        modules.append(MultilayerPerceptron(30, [16], 1, dropout=0.2, batchnorm=True).to(device))
    return course, jobs, modules


@pytest.mark.parametrize("kind", ["stack", "loop", "own dropout"])
def test_what_was_killed_on_a_gpu_goes_on_there(tmp_path, kind):
    """Killed an epoch after the first is kept; dropout of torch's own draws from the GPU's random state."""

    def train(journal, tick=lambda: None):
        course, jobs, modules = training_on("cuda")
        if kind == "stack":
            return train_stack(course, jobs, modules, tick, journal.part("stack"))[0]
        if kind == "own dropout":
            modules[0] = torch.nn.Sequential(modules[0].hidden, torch.nn.Dropout(0.3), modules[0].output)
        return train_member(course, jobs[0], modules[0], tick, journal.part("member"))

    def die():
        if journal.path.exists():
            raise KeyboardInterrupt

    expected = train(Journal())
    journal = Journal(tmp_path / "train.safetensors", lambda: "key", seconds=0)
    with pytest.raises(KeyboardInterrupt):
        train(journal, die)
    found = train(Journal(journal.path, lambda: "key"))
    assert found.losses == expected.losses
    assert all(torch.equal(found.state[name], own) for name, own in expected.state.items())


def test_a_stack_on_a_gpu_learns_what_the_loop_on_a_cpu_learns():
    fits = []
    for device in DEVICES:
        course, jobs, modules = training_on(device)
        fits.append(
            train_stack(course, jobs, modules)
            if device == "cuda"
            else [train_member(course, *pair) for pair in zip(jobs, modules, strict=True)]
        )
    losses = [np.array([fit.losses for fit in own]) for own in fits]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
