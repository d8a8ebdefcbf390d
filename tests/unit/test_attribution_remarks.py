import pytest
import torch
from torch import nn
from torch.nn import functional

from consilience.attribution.remarks import remarks
from tests.unit.attribution_examples import ARCHITECTURES, case, drawn, function_of

SINGLE = "attention over a single token (in {}): its weights are constant"


class Attending(nn.Module):
    """Tokens (tokens, 4) under one kind of attention."""

    stackable = True

    def __init__(self, kind, **settings):
        super().__init__()
        self.kind, self.head, self.scores = kind, nn.Linear(4, 1), nn.Linear(4, 1)
        if kind == "module":
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **settings)
        if kind == "encoder":
            self.attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, tokens, **auxiliary):
        if self.kind == "module":
            mixed = self.attention(tokens, tokens, tokens)[0]
        elif self.kind == "encoder":
            mixed = self.attention(tokens)
        elif self.kind == "product":
            mixed = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        elif self.kind == "function":
            mixed = functional.softmax(self.scores(tokens), dim=1) * tokens
        elif self.kind == "method":
            mixed = self.scores(tokens).softmax(1) * tokens
        else:
            mixed = nn.Softmax(dim=-2)(self.scores(tokens)) * tokens
        return self.head(mixed.sum(dim=1))


KINDS = {
    "module": "multi_head_attention_forward",
    "encoder": "multi_head_attention_forward",
    "product": "scaled_dot_product_attention",
    "function": "softmax",
    "method": "softmax",
    "layer": "softmax",
}


def remarks_on(make, *inputs, auxiliary=None):
    return remarks(function_of(make)[1], inputs, auxiliary or {})


@pytest.mark.parametrize("kind", KINDS)
def test_attention_over_a_single_token_is_flagged(kind):
    (remark,) = remarks_on(lambda: Attending(kind), drawn(0, 5, 1, 4))
    assert remark.startswith(SINGLE.format(KINDS[kind]))
    assert remarks_on(lambda: Attending(kind), drawn(0, 5, 3, 4)) == []


@pytest.mark.parametrize("settings", [{"add_bias_kv": True}, {"add_zero_attn": True}])
def test_a_key_that_is_added_counts(settings):
    assert remarks_on(lambda: Attending("module", **settings), drawn(0, 5, 1, 4)) == []


def test_weights_over_one_token_are_constant_indeed():
    _, function = function_of(lambda: Attending("function"))
    states = {name: 5 * tensor if "scores" in name else tensor for name, tensor in function.states.items()}
    other = function.part(slice(None))
    other.states = states
    inputs = (drawn(0, 5, 1, 4),)
    assert torch.equal(function.values(inputs), other.values(inputs))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_other_networks_get_no_remark(name):
    _, batch = case(name)
    assert remarks(batch.function, batch.inputs, batch.auxiliary) == []


def test_random_numbers_in_eval_mode_are_flagged():
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 1)

        def forward(self, inputs):
            return self.layer(functional.dropout(inputs))

    (remark,) = remarks_on(Dropping, drawn(0, 5, 6))
    assert "draws random numbers in eval mode" in remark


@pytest.mark.parametrize("stackable", [False, True])
def test_samples_that_influence_each_other_are_flagged(stackable):
    class Centering(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.stackable = nn.Linear(6, 1), stackable

        def forward(self, inputs):
            return self.layer(inputs - inputs.mean(dim=0))

    (remark,) = remarks_on(Centering, drawn(0, 5, 6))
    assert "depends on the samples beside it" in remark


def test_a_large_offset_hides_nothing():
    class Centering(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 1)

        def forward(self, inputs):
            return self.layer(inputs - inputs.mean(dim=0))

    _, function = function_of(Centering, center=1e6)
    assert remarks(function, (drawn(0, 5, 6),), {})
