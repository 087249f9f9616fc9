"""Defacing by distance: what lies further from the brain than a margin is removed.

Nothing of face, ears, scalp and neck stays, with a margin below the thickness of the skull. Later
stages that need the skull or the scalp (the rim of the alignment, air for the noise) have less.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.ingest.deface import Defacer, Head, Removed
from pipeline.preprocess import masks

LEARNED = False


def create(params: Mapping[str, Any], model: Path | None) -> Defacer:
    """Ready for any number of sessions; the margin is ``deface.margin``, mm around the brain."""
    margin = float(params["deface"]["margin"])

    def removed(head: Head, image: sitk.Image, to_head: sitk.Transform) -> Removed:
        brain = masks.carry(head.brain, image, to_head)
        distance = sitk.SignedMaurerDistanceMap(brain, squaredDistance=False, useImageSpacing=True)
        return Removed(images.array(sitk.Cast(distance, sitk.sitkFloat32)) > margin, {})

    return Defacer(params, removed)
