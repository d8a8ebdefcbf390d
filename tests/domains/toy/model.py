"""A perceptron that stacks, and a recurrent network over image rows that trains in a loop."""

from typing import Any

import torch
from torch import Tensor, nn

from consilience.networks import NetworkContext


class Recurrent(nn.Module):
    stackable = False
    first_layers = ["rows", "components"]

    def __init__(self, width: int, context: NetworkContext) -> None:
        super().__init__()
        image, components = context.branches["image"], context.branches["components"]
        self.rows = nn.LSTM(image[1], width, batch_first=True)
        self.components = nn.Linear(components[0] + context.auxiliary["tempo"][0], width)
        self.head = nn.Linear(2 * width, context.outputs)

    def forward(self, image: Tensor, components: Tensor, *, tempo: Tensor, mask_image: Tensor, **auxiliary) -> Tensor:
        seen = (~mask_image).to(image.dtype).mean(dim=(1, 2), keepdim=True)
        rows = self.rows(image / seen)[0][:, -1]
        other = torch.tanh(self.components(torch.cat([components, tempo], dim=1)))
        return self.head(torch.cat([rows, other], dim=1))


class Perceptron(nn.Module):
    stackable = True
    first_layers = ["hidden"]

    def __init__(self, width: int, context: NetworkContext) -> None:
        super().__init__()
        self.hidden = nn.Linear(sum(torch.Size(shape).numel() for shape in context.branches.values()), width)
        self.head = nn.Linear(width, context.outputs)

    def forward(self, *inputs: Tensor, **auxiliary: Tensor) -> Tensor:
        return self.head(torch.relu(self.hidden(torch.cat([branch.flatten(1) for branch in inputs], dim=1))))


def build(specification: dict[str, Any], context: NetworkContext) -> nn.Module:
    network = Recurrent if specification["kind"] == "recurrent" else Perceptron
    return network(specification["width"], context)
