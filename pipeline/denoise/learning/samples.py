"""What a training of denoise is given: by its objective, its noise and its architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pipeline.denoise.learning.crops import Crops, Draw
from pipeline.denoise.learning.draw import AsMeasured, Training, Validation
from pipeline.denoise.learning.low_dose import Doses, LowDose, Projected, Scanner
from pipeline.denoise.learning.noise_model import NoiseModel
from pipeline.denoise.learning.prefiltered import Judged, with_filtered
from pipeline.denoise.learning.presets import Preset
from pipeline.denoise.methods.collaborative import PARTS
from pipeline.errors import VoxelwayError
from pipeline.restore.volumes import Volume
from pipeline.training.data import SeededSamples

#: Architecture that starts from what filters left.
REFINER = "refiner"
#: Noise of ``denoise.learning.noise.kind`` that is simulated from projections.
LOW_DOSE_CT = "low_dose_ct"
#: How much larger crops are than the patches that are drawn from them, voxels.
MARGIN = 16


class Held(Protocol):
    """Samples to validate on."""

    @property
    def count(self) -> int:
        """How many there are."""

    def __call__(self, rng: np.random.Generator, number: int) -> dict[str, Any]:
        """The same sample for the same number."""

    def label(self, name: str, number: int) -> str:
        """Of a score of sample ``number``."""


def window_of(learning: Mapping[str, Any]) -> tuple[float, float] | None:
    """``denoise.learning.window``.

    Raises:
        VoxelwayError: E-CONFIG-VALUE for a window without width, and for CT without one.
    """
    given = learning["window"]
    if given is None:
        if learning["noise"]["kind"] == LOW_DOSE_CT:
            what = "denoise.learning.noise.kind is low_dose_ct, and learning.window is not given"
            hint = "Give the CT numbers that matter, as window: [-1000, 1000]"
            raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
        return None
    low, high = (float(n) for n in given)
    if high <= low:
        what = f"denoise.learning.window: {high:g} is not above {low:g}"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint="Give the lower end first")
    return low, high


def make(
    learning: Mapping[str, Any],
    preset: Preset,
    sides: tuple[Sequence[Volume], Sequence[Volume]],
    seed: int,
) -> tuple[SeededSamples, Held]:
    """Patches to train on, without end, and those to validate on.

    Raises:
        VoxelwayError: E-CONFIG-VALUE for noise that the method can't learn.
    """
    refines = preset.architecture == REFINER and preset.objective == "supervised"
    if learning["noise"]["kind"] == LOW_DOSE_CT:
        if refines:
            what = "A network that starts from other filters does not learn low-dose CT"
            hint = "The filters are made for noise of independent voxels: take drunet or redcnn"
            raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
        return _low_dose(learning, preset, sides, seed)
    side = int(learning["patch"])
    validation = Validation(sides[1], int(learning["validation_patch"]))
    held_out: Held = Judged(validation) if refines else validation
    if preset.objective != "supervised":
        return SeededSamples(AsMeasured(sides[0], side), seed), held_out
    noise, variety = NoiseModel.of(learning["noise"]), float(learning["variety"])
    if not refines:
        return SeededSamples(Training(sides[0], side, noise, variety), seed), held_out
    if int(preset.arguments.get("estimates", 1 + PARTS)) != 1 + PARTS:
        what = f"denoise.network.arguments: a refiner is given {1 + PARTS} estimates"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint="Leave estimates out")
    whole = Training(sides[0], side + MARGIN, noise, variety)

    def filtered(rng: np.random.Generator, number: int) -> dict[str, Any]:
        return with_filtered(whole(rng, number))

    return _crops(filtered, learning, seed, word="filters", turn=True), held_out


def _low_dose(
    learning: Mapping[str, Any],
    preset: Preset,
    sides: tuple[Sequence[Volume], Sequence[Volume]],
    seed: int,
) -> tuple[SeededSamples, Held]:
    window, scanner = window_of(learning), Scanner.of(learning["noise"])
    assert window is not None  # window_of has refused
    side = int(learning["patch"])
    given, judged = ([Projected(one, window, scanner) for one in found] for found in sides)
    held_out = Doses(judged, int(learning["validation_patch"]))
    if preset.objective != "supervised":
        return SeededSamples(AsMeasured(sides[0], side), seed), held_out
    whole = LowDose(given, side + MARGIN)
    return _crops(whole, learning, seed, word="low-dose CT", turn=False), held_out


def _crops(
    draw: Draw, learning: Mapping[str, Any], seed: int, *, word: str, turn: bool
) -> SeededSamples:
    side, count = int(learning["patch"]), int(learning["crops"])
    return SeededSamples(Crops(draw, count, seed, side, word=word, turn=turn), seed)
