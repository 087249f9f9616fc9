"""Atlas propagation: each voxel takes the tissue that the registered atlas expects there.

The baseline of every other method: it sees the subject through the registration only, and finds
no lesions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.segment import fine
from pipeline.segment.case import Case, Method, Segmentation

LEARNED = False


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """No parameters."""

    def segment(case: Case) -> Segmentation:
        if not case.priors:
            hint = "Choose the method em, or run register first"
            what = "Atlas propagation without a registered atlas"
            raise VoxelwayError("E-IMG-INPUT", what, hint=hint)
        place = fine.spatial_prior(case)
        total = place.sum(axis=0)
        share = np.where(total > 1e-6, place / np.maximum(total, 1e-6), 1.0 / len(place))
        inside = images.bool_array(case.mask)
        return fine.with_lesions(case, np.asarray(share * inside, dtype=np.float32), None)

    return segment
