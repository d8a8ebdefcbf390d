"""Attention between the windows of two modalities, in both directions, with the weights of every head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

DIRECTIONS = ("eeg_to_spec", "spec_to_eeg")


class CrossModalFusion(nn.Module):
    """Windows of EEG attend to windows of the spectrogram and the other way round; each sequence is then pooled.

    Multi-head attention after Vaswani et al. (2017), section 3.2.2, with the sequence itself added, and layer norm.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.eeg_to_spec, self.spec_to_eeg = (
            nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True) for _ in DIRECTIONS
        )
        self.normalizations = nn.ModuleDict({name: nn.LayerNorm(width) for name in DIRECTIONS})
        self.pools = nn.ModuleDict({name: AttentionPooling(width) for name in DIRECTIONS})
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        eeg: Tensor,
        spectrogram: Tensor,
        eeg_absent: Tensor | None = None,
        spectrogram_absent: Tensor | None = None,
        return_attention: bool = False,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Map the tokens (samples, windows, width) of both to (samples, 2 * width).

        `eeg_absent` and `spectrogram_absent`, bool (samples, windows), are windows that nothing attends to; a sample
        has one window of each at least. With `return_attention`, also the weights (samples, heads, query, key) by
        direction: `eeg_to_spec` has windows of EEG as queries.
        """
        sequences = {
            "eeg_to_spec": (eeg, spectrogram, eeg_absent, spectrogram_absent),
            "spec_to_eeg": (spectrogram, eeg, spectrogram_absent, eeg_absent),
        }
        pooled, attention = [], {}
        for name, (queries, keys, own_absent, absent) in sequences.items():
            attended, weights = getattr(self, name)(
                queries,
                keys,
                keys,
                key_padding_mask=absent,
                need_weights=return_attention,
                average_attn_weights=False,
            )
            tokens = self.dropout(self.normalizations[name](queries + attended))
            pooled.append(self.pools[name](tokens, own_absent))
            attention[name] = weights
        fused = torch.cat(pooled, dim=1)
        return (fused, attention) if return_attention else fused


class AttentionPooling(nn.Module):
    """A weighted mean of tokens, whose weights a small network gives."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, max(1, width // 2)), nn.Tanh(), nn.Linear(max(1, width // 2), 1))

    def forward(self, tokens: Tensor, absent: Tensor | None = None) -> Tensor:
        """Map (samples, tokens, width) to (samples, width); tokens that are absent (samples, tokens) do not count."""
        scores = self.score(tokens).squeeze(-1)
        if absent is not None:
            scores = scores.masked_fill(absent, -torch.inf)
        return (scores.softmax(dim=1).unsqueeze(-1) * tokens).sum(dim=1)
