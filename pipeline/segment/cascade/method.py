"""The cascade as a method of the stage: from a bundle and parameters to what is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images, labels
from pipeline.segment import summary
from pipeline.segment.cascade import finish, uncertainty
from pipeline.segment.cascade.bounds import TRUST, Bounds
from pipeline.segment.cascade.cleanup import Cleanup
from pipeline.segment.cascade.finish import Finished
from pipeline.segment.cascade.run import Cascade, Found, Options
from pipeline.segment.case import HeadMethod, Output

#: Voxels so many times longer than the model's make volumes less sure.
THICK = 3.0


class Structures(HeadMethod):
    """A cascade that was loaded, with the parameters of the stage.

    Args:
        model: bundle.
        params: section ``segment``.

    Raises:
        VoxelwayError: as of :class:`Cascade`.
    """

    def __init__(self, model: Path, params: Mapping[str, Any]) -> None:
        options = params["cascade"]
        self.cascade = Cascade(
            model,
            Options(
                overlap=float(options["overlap"]),
                enlargements=int(params["crop"]["enlargements"]),
                mirror=bool(options["mirror"]),
                draws=int(options["dropout"]),
                seed=int(params.get("seed", 0)),
                appearance=bool(options["appearance"]),
            ),
        )
        plan = self.cascade.plan
        self.contrasts = () if plan.any_contrast else plan.contrasts
        wanted = options["brain_mask"]
        self.masked = plan.within_brain if wanted == "auto" else bool(wanted)
        self.margin = float(options["mask_margin"])
        self.table = tuple(
            sorted((labels.of_row(row) for row in plan.labels), key=lambda label: label.index)
        )
        self.cleanup = Cleanup.of(options["cleanup"])
        self.limits = uncertainty.Limits(
            float(options["flag"]["dice"]),
            float(options["flag"]["slack"]),
            uncertainty.training_volumes(plan.facts),
        )
        self.plausible = params["plausible"]

    def __call__(
        self, channels: Sequence[sitk.Image], where: str, mask: sitk.Image | None = None
    ) -> Output:
        """As of :class:`HeadMethod`."""
        own = channels[0]
        bounds = Bounds.of(mask, self.margin) if mask is not None else None
        found = self.cascade(channels, where, bounds)
        inside = found[0].facts.get("InsideMask", 1.0)
        kept = bounds if inside >= TRUST else None
        result = finish.finish(
            found, own, self.table, self.cleanup, self.limits, self.cascade.factor, kept
        )
        coarse = images.resample(_labels(found[0]), own, labels=True)
        told = [
            *uncertainty.sentences(result.volumes),
            *_thick(own, found[-1]),
            *_distrusted(inside),
            *summary.implausible(summary.by_tissue(result.volumes, self.table), self.plausible),
        ]
        return Output(
            result.labels,
            coarse,
            result.entropy,
            self.table,
            result.volumes,
            uncertainty.COLUMNS,
            _facts(found, result),
            told,
        )


def _labels(found: Found) -> sitk.Image:
    kind = np.uint8 if found.labels.max(initial=0) < 256 else np.uint16
    return images.like(found.labels.astype(kind), found.grid)


def _thick(image: sitk.Image, last: Found) -> list[str]:
    longest, model = max(image.GetSpacing()), max(last.level.spacing)
    if longest < THICK * model:
        return []
    return [f"Voxels of {longest:.3g} mm, the model works at {model:g} mm: volumes are less sure"]


def _distrusted(inside: float) -> list[str]:
    if inside >= TRUST:
        return []
    share = f"{100 * inside:.0f} %"
    return [f"The brain mask was left aside: it holds {share} of what the first level found"]


def _facts(found: Sequence[Found], result: Finished) -> dict[str, Any]:
    dices = {row["name"]: row["expected_dice"] for row in result.volumes}
    last = found[-1].facts
    return {
        "Levels": [level.facts for level in found],
        "Box": result.box.fact,
        "BoxTouched": bool(last.get("Touched", False)),
        "BoxEnlargements": int(last.get("Enlargements", 0)),
        "Volumes": {row["name"]: row["mm3"] for row in result.volumes},
        "ExpectedDice": dices,
        "Flags": {row["name"]: row["flag"] for row in result.volumes if row["flag"]},
    }
