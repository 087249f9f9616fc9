"""What each learned method trains where the configuration leaves it open. Nothing heavy here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import VoxelwayError

AUTO = "auto"
Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Preset:
    """Of one method.

    Attributes:
        architecture: of :mod:`pipeline.networks`.
        arguments: of the architecture.
        objective: ``supervised``, ``consensus`` or ``blind_spot``.
        losses: of a supervised training.
    """

    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    objective: str = "supervised"
    losses: Entries = ({"name": "mse", "weight": 1000.0},)


CHARBONNIER = ({"name": "charbonnier", "weight": 1.0},)

PRESETS = {
    "drunet": Preset("drunet", losses=CHARBONNIER),
    "refined_filters": Preset("refiner", losses=CHARBONNIER),
    "patch_prior": Preset("patch_mixture", losses=CHARBONNIER),
    "redcnn": Preset("redcnn"),
    "cnn_dae": Preset("cnn_dae"),
    "wavelet_resnet": Preset("wavelet_resnet"),
    # Yang et al. 2018, with our own encoder in place of VGG
    "wgan_perceptual": Preset(
        "plain_cnn",
        {"dimensions": "3", "residual": True},
        losses=(
            {"name": "perceptual", "weight": 10.0},
            {"name": "adversarial", "kind": "wgan_gp", "weight": 0.1, "critic_steps": 4},
        ),
    ),
    # You et al. 2018: 0.89 MS-SSIM + 0.11 L1, and a thousandth of the adversary
    "smgan": Preset(
        "plain_cnn",
        {"dimensions": "3", "residual": True},
        losses=(
            {"name": "ms_ssim", "weight": 0.89},
            {"name": "l1", "weight": 0.11},
            {"name": "adversarial", "kind": "wgan_gp", "weight": 0.001, "critic_steps": 4},
        ),
    ),
    # Ma et al. 2020: the generator learns the noise; least squares, structure and L1
    "lsgan": Preset(
        "plain_cnn",
        {"dimensions": "3", "residual": True},
        losses=(
            {"name": "ssim", "weight": 1.0},
            {"name": "l1", "weight": 10.0},
            {"name": "adversarial", "kind": "lsgan", "weight": 0.01, "critic_steps": 1},
        ),
    ),
    "consensus": Preset("drunet", objective="consensus", losses=()),
    "noise2void": Preset("drunet", objective="blind_spot", losses=()),
}


def chosen(params: Mapping[str, Any]) -> Preset:
    """The method's preset, with what the configuration says in its place.

    Args:
        params: section ``denoise``: ``method``, ``network``, ``learning``.

    Raises:
        VoxelwayError: E-METHOD for a method that is not trained.
    """
    method = str(params["method"])
    if method not in PRESETS:
        hint = f"Methods that are trained: {', '.join(PRESETS)}"
        raise VoxelwayError("E-METHOD", f"{method} of denoise is not trained", hint=hint)
    preset, network, learning = PRESETS[method], params["network"], params["learning"]
    own = network["architecture"] == AUTO
    arguments = {**(preset.arguments if own else {}), **network["arguments"]}
    return Preset(
        preset.architecture if own else str(network["architecture"]),
        arguments,
        preset.objective if learning["objective"] == AUTO else str(learning["objective"]),
        learning["losses"] or preset.losses or CHARBONNIER,
    )
