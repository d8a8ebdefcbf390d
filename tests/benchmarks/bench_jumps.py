"""Integrated gradients over the switches of a dictionary: gap and CPU time beside captum's, which sees no jump.

The network is fashion's in full size, trained for some seconds on simulated pictures. Captum explains one picture and
one class at a time as ever; ours gives all ten classes at once, so that its time is held against ten of captum's.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import nn

from consilience.attribution.batches import Batch
from consilience.attribution.function import EnsembleFunction, target_map
from consilience.attribution.jumps import jump_aware_integrated_gradients
from consilience.attribution.methods import Method
from consilience.attribution.names import MethodFacts
from consilience.domains.fashion.model import build
from consilience.domains.fashion.simulate import simulate
from consilience.networks import Encoded, NetworkContext

SPECIFICATION = {
    "k": 50, "atoms": 1024, "activation": "top_k", "hidden": [512, 256], "dropout": 0.0, "batchnorm": False,
    "autoencoder": {"epochs": 10, "batch_size": 256, "learning_rate": 1e-3, "auxiliary": 0.125, "auxiliary_atoms": 256},
}  # fmt: skip


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Return simulated pictures (2000, 28, 28) and their classes."""
    source = {"kind": "simulate", "train": 2000, "test": 10, "contrast": 0.24, "spread": 0.07, "noise": 0.04}
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder), {"source": source}, 0)
        images, labels = (
            np.frombuffer(gzip.decompress(Path(folder, f"train-{name}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
            for name, offset in (("images-idx3", 16), ("labels-idx1", 8))
        )
    return torch.tensor(images.reshape(-1, 28, 28) / 255, dtype=torch.float32), torch.tensor(labels.astype(np.int64))


def trained(inputs: torch.Tensor, labels: torch.Tensor) -> Encoded:
    """Return the network after a short training."""
    torch.manual_seed(0)
    module = build(SPECIFICATION, NetworkContext({"pixels": (28, 28)}, 10, {}, 784))
    module.encoder.fit(inputs[:1600].flatten(1), inputs[1600:].flatten(1), 0)
    codes = module.encoder(inputs.flatten(1)).detach()
    optimizer = torch.optim.Adam(module.head.parameters(), 1e-3)
    for _ in range(300):
        rows = torch.randint(len(codes), (128,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(module.head(codes[rows]), labels[rows]).backward()
        optimizer.step()
    return module.eval()


def main() -> None:
    """Print gap and CPU time of captum's integrated gradients at several numbers of steps, and of ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 500, 2000])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    inputs, labels = pictures()
    module, few = trained(inputs, labels), inputs[: arguments.pictures]
    states = {name: values.detach()[None] for name, values in module.state_dict().items()}
    function = EnsembleFunction(module, states, *target_map("classification", 10))
    batch = Batch(function, (few,), references=(torch.zeros(1, 28, 28),))
    method = Method("jumps", jump_aware_integrated_gradients, MethodFacts("reference", complete=True))
    batch.attribute(method, {})
    start = time.process_time()
    found = batch.attribute(method, {})
    own = time.process_time() - start
    gap, change = batch.gap(method, found)
    print(f"jump-aware: median gap {np.median(gap) / np.median(change):.1e} of the change, "
          f"{1000 * own / len(few):.0f} CPU-ms a picture, all classes")  # fmt: skip
    explainer = IntegratedGradients(module)
    for steps in arguments.steps:
        start = time.process_time()
        gaps, changes = [], []
        for image, label in zip(few, labels[: len(few)].tolist(), strict=True):
            sums = float(explainer.attribute(image[None], torch.zeros_like(image)[None], label, n_steps=steps).sum())
            with torch.no_grad():
                changes.append(float((module(image[None]) - module(torch.zeros_like(image)[None]))[0, label]))
            gaps.append(abs(sums - changes[-1]))
        spent = 10 * (time.process_time() - start)
        relative = np.median(gaps) / np.median(np.abs(changes))
        print(
            f"captum, {steps} steps: median gap {relative:.1%} of the change; it takes {spent / own:.1f} times as long as ours"
        )


if __name__ == "__main__":
    main()
