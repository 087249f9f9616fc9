"""Learned methods of synthesis: what each trains. Nothing heavy here.

Adding a method is a file in ``pipeline/synthesize/methods``, an entry of :data:`PRESETS`, and,
where no recipe fits, a module of this package with a function ``prepare(request) -> Job`` (see
``job.py``), which the entry names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.errors import VoxelwayError

AUTO = "auto"
Entries = Sequence[Mapping[str, Any]]

L1 = ({"name": "l1", "weight": 1.0},)
#: Isola et al. 2017: 100 of L1 for one of the adversary.
ADVERSARY = (
    {"name": "l1", "weight": 1.0},
    {"name": "adversarial", "kind": "lsgan", "weight": 0.01, "critic_steps": 1},
)


#: Zhu et al. 2017: 10 for the cycle, 5 for the identity; 2 is their adversarial loss, see cycle.py.
CYCLE = (
    {"name": "adversarial", "weight": 2.0},
    {"name": "cycle", "weight": 10.0},
    {"name": "identity", "weight": 5.0},
)


@dataclass(frozen=True)
class Preset:
    """Of one method.

    Attributes:
        architecture: of :mod:`pipeline.networks`; called with (sources, given), see ``job.py``.
        arguments: of the architecture, beside its inputs and outputs.
        losses: terms with their weights.
        recipe: module of ``pipeline.synthesize.learning`` that prepares the training.
        planes: whether the network sees planes, in the orientations that the configuration names.
        paired: whether the contrasts of a subject must lie on each other.
    """

    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    losses: Entries = L1
    recipe: str = "paired"
    planes: bool = False
    paired: bool = True


PRESETS: dict[str, Preset] = {
    "encoder_decoder": Preset("translator"),
    "pix2pix": Preset("translator", losses=ADVERSARY),
    "pix2pix_25d": Preset(
        "translator", {"dimensions": "2.5", "features": [24, 48, 96]}, ADVERSARY, planes=True
    ),
    # Nie et al. 2017: reconstruction, adversary and the difference of the gradients
    "context_cascade": Preset(
        "auto_context",
        losses=(
            {"name": "l1", "weight": 1.0},
            {"name": "gradient", "weight": 0.5},
            {"name": "adversarial", "kind": "lsgan", "weight": 0.01, "critic_steps": 1},
        ),
    ),
    "cyclegan": Preset("resnet_generator", losses=CYCLE, recipe="unpaired", paired=False),
    # Hiasa et al. 2018
    "gradient_cyclegan": Preset(
        "resnet_generator",
        losses=(*CYCLE, {"name": "gradient_consistency", "weight": 3.0}),
        recipe="unpaired",
        paired=False,
    ),
    # Huo et al. 2019
    "synseg": Preset(
        "resnet_generator",
        losses=(*CYCLE, {"name": "segmentation", "weight": 1.0}),
        recipe="synseg",
        paired=False,
    ),
}


def modules(params: Mapping[str, Any]) -> tuple[str, ...]:
    """What the training of section ``synthesize`` rests on, for fingerprints."""
    if params["method"] not in PRESETS:
        return ("pipeline.synthesize.regression",)
    preset = chosen(params)
    recipe = f"{__package__}.{preset.recipe}"
    return (f"{__package__}.run", recipe, f"pipeline.networks.{preset.architecture}")


def chosen(params: Mapping[str, Any]) -> Preset:
    """The method's preset, with what the configuration says in its place.

    Args:
        params: section ``synthesize``: ``method``, ``network``, ``learning``.

    Raises:
        VoxelwayError: E-METHOD for a method that is not trained.
    """
    method = str(params["method"])
    if method not in PRESETS:
        hint = f"Methods that are trained: {', '.join(['patch_regression', *PRESETS])}"
        raise VoxelwayError("E-METHOD", f"{method} of synthesize is not trained", hint=hint)
    preset, network, learning = PRESETS[method], params["network"], params["learning"]
    own = network["architecture"] == AUTO
    return replace(
        preset,
        architecture=preset.architecture if own else str(network["architecture"]),
        arguments={**(preset.arguments if own else {}), **network["arguments"]},
        losses=learning["losses"] or preset.losses,
    )
