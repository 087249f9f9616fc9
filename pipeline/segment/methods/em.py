"""Tissues by an EM mixture with atlas priors and a Markov random field, then lesions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import images
from pipeline.segment import fine, mixture
from pipeline.segment.case import TISSUES, Case, Method, Segmentation

LEARNED = False


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """See :mod:`pipeline.segment.mixture` for the model and its papers."""
    section = params["em"]
    settings = mixture.Settings(
        iterations=int(section["iterations"]),
        tolerance=float(section["tolerance"]),
        mrf=float(section["mrf"]),
        outlier=float(section["outlier"]),
        floor=float(section["floor"]),
        bias_order=int(section["bias_order"]),
        mixed=mixture.Settings.mixed if section["partial_volume"] else (),
    )
    lesions = fine.lesion_settings(params)

    def segment(case: Case) -> Segmentation:
        found, clean = tissues(case, settings)
        return fine.with_lesions(clean, found, lesions)

    return segment


def tissues(case: Case, settings: mixture.Settings) -> tuple[NDArray[np.float32], Case]:
    """Posteriors of CSF, GM and WM, (3, z, y, x), and the case without the rest of the bias field.

    Without an atlas the coarse level says where the classes begin, and weakly where they are.
    """
    mask = images.bool_array(case.mask)
    data = np.stack([images.array(image)[mask] for image in case.images.values()], axis=1)
    place = fine.spatial_prior(case)[:, mask].T
    start = None
    if not case.priors:
        start = np.stack([images.array(case.coarse[name])[mask] for name in TISSUES], axis=1)
        # half of the coarse level's opinion: enough that the classes do not change places
        place = 0.5 * place + 0.5 / len(TISSUES)
    found = mixture.fit(data, place, mask, case.mask.GetSpacing(), settings, start)
    result = np.zeros((len(TISSUES), *mask.shape), np.float32)
    result[:, mask] = found.posterior.T
    clean = {}
    for index, (name, image) in enumerate(case.images.items()):
        values = images.array(image)
        values[mask] = found.data[:, index]
        clean[name] = images.like(values, image)
    return result, replace(case, images=clean)
