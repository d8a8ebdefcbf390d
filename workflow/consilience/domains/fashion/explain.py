"""Methods of attribution that know the dictionary, or that pixels have neighbors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from consilience.attribution.function import Tensors
from consilience.attribution.jumps import dictionaries, jump_aware_integrated_gradients
from consilience.attribution.names import DEFAULTS
from consilience.networks import flattened

if TYPE_CHECKING:
    from consilience.attribution.batches import Batch

WINDOW, STRIDE = 4, 2


def decoder_weighted(batch: Batch, _settings: Mapping[str, Any]) -> Tensors:
    """Return Σ_j z_j (∂F/∂z_j) D_pj for pixel p: each atom's gradient times code, laid out as the atom's picture.

    It tells what the codes that matter depict, with the sign of what they do to F; it is no share of F, since an atom's
    pixels do not sum to one.
    """
    (result,) = batch.empty()
    for members, encoder, head in dictionaries(batch):
        codes = encoder(flattened(batch.inputs))
        gradients = head.gradients((codes,), batch.auxiliary)[1][0]
        result[members] = ((codes * gradients) @ encoder.atoms.T).unflatten(3, result.shape[3:])
    return (result,)


def decoder_weighted_unsigned(batch: Batch, _settings: Mapping[str, Any]) -> Tensors:
    """Return Σ_j z_j |D_pj| for pixel p, the earlier system's form: the same for every class and every classifier."""
    (result,) = batch.empty()
    for members, encoder, _ in dictionaries(batch):
        codes = encoder(flattened(batch.inputs))
        result[members] = (codes @ encoder.atoms.abs().T).unflatten(1, result.shape[3:])
    return (result,)


def window_occlusion(batch: Batch, settings: Mapping[str, Any]) -> Tensors:
    """Return the mean fall of F over the windows that cover a pixel, each set to the reference in turn.

    Windows of 4 x 4 pixels, 2 apart (Zeiler & Fergus 2014, section 4.2), which cover pictures of even sides; falls may
    be negative. Codes are computed once for the members that share a dictionary.
    """
    (inputs,), (reference,) = batch.inputs, batch.checked_references()
    windows = torch.stack(list(_windows(inputs)))
    cover = windows.sum(dim=0)
    size = max(1, int(settings.get("internal_batch", DEFAULTS["internal_batch"])) // len(windows))
    (result,) = batch.empty()
    for members, encoder, head in dictionaries(batch):
        for first in range(0, len(inputs), size):
            rows = slice(first, first + size)
            own = reference if len(reference) == 1 else reference[rows]
            hidden = torch.where(windows, own[:, None], inputs[rows, None])
            auxiliary = {name: part[rows].repeat_interleave(len(windows), 0) for name, part in batch.auxiliary.items()}
            values = head.values((encoder(hidden.flatten(0, 1).flatten(1)),), auxiliary)
            whole = head.values((encoder(inputs[rows].flatten(1)),), {k: v[rows] for k, v in batch.auxiliary.items()})
            falls = whole[:, :, None] - values.unflatten(1, hidden.shape[:2])
            spread = torch.einsum("mswt,wpq->mtspq", falls, windows.to(falls)) / cover
            result[members, :, rows] = spread.to(result)
    return (result,)


def _windows(inputs: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield each window's pixels, bool (rows, columns)."""
    height, width = inputs.shape[1:]
    for top in range(0, height - WINDOW + 1, STRIDE):
        for left in range(0, width - WINDOW + 1, STRIDE):
            window = torch.zeros(height, width, dtype=torch.bool, device=inputs.device)
            window[top : top + WINDOW, left : left + WINDOW] = True
            yield window


methods = {
    "jump_aware_integrated_gradients": jump_aware_integrated_gradients,
    "decoder_weighted": decoder_weighted,
    "decoder_weighted_unsigned": decoder_weighted_unsigned,
    "window_occlusion": window_occlusion,
}
