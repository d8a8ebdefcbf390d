"""The contests of the attribution benchmark: which method, against which peer, on how many samples, for what ratio."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import attribution_peers as peers
from attribution_cases import ROWS
from captum import attr


@dataclass(frozen=True)
class Contest:
    """A method and a peer; `samples` a case in order, `rows` ours at once, `goal` the ratio aimed at for perceptrons."""

    label: str
    method: str
    peer: peers.Peer
    samples: tuple[int, int, int]
    goal: float = 0
    rows: int = ROWS
    settings: dict[str, Any] = field(default_factory=lambda: {"steps": peers.STEPS, "draws": peers.DRAWS})
    timed: bool = True


IG, QUADRATURE = "integrated_gradients", {"exact": False, "steps": peers.STEPS}
ONE_BY_ONE = peers.integrated_gradients_one_by_one
CONTESTS = (
    Contest("IG, captum one by one", IG, ONE_BY_ONE, (96, 33, 8), 50),
    Contest("IG, both one by one", IG, ONE_BY_ONE, (24, 8, 8), rows=1),
    Contest("IG, both in batches", IG, peers.integrated_gradients, (96, 33, 8), 40),
    Contest("IG by 50 points, in batches", IG, peers.integrated_gradients, (96, 33, 8), settings=QUADRATURE),
    Contest("IG, captum with 1000 steps", IG, peers.accurate_integrated_gradients, (4, 2, 1), timed=False),
    Contest(
        "gradient x input, captum", "gradient_x_input", peers.gradients(attr.InputXGradient), (2048, 330, 128), 1.2
    ),
    Contest("saliency, captum", "saliency", peers.gradients(attr.Saliency), (2048, 330, 128)),
    Contest("DeepLIFT, captum", "deeplift", peers.deeplift, (512, 132, 64), 2),
    Contest("DeepLIFT, shap", "deeplift", peers.deep_explainer(single=True), (64, 33, 16), 2),
    Contest("DeepLIFT-SHAP, shap", "deeplift_shap", peers.deep_explainer(single=False), (32, 16, 4), 6),
    Contest("DeepLIFT-SHAP, captum", "deeplift_shap", peers.deeplift_shap, (32, 16, 4)),
    Contest("SmoothGrad, captum *", "smoothgrad", peers.smoothgrad, (128, 33, 16)),
    Contest("expected gradients, captum *", "expected_gradients", peers.gradient_shap, (64, 33, 8)),
    Contest("expected gradients, shap *", "expected_gradients", peers.gradient_explainer, (32, 16, 4)),
    Contest("occlusion, captum", "occlusion", peers.feature_ablation, (4, 0, 4)),
)
