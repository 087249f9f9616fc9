"""Fine level of the cascade: the method in the crop, with the lesion step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.segment import crop, lesion, made
from pipeline.segment.case import BRIGHTNESS, CORE, LESION, TISSUES, Case, Method, Segmentation

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Fine:
    """Result on the full grid, with the box it was found in."""

    segmentation: Segmentation
    box: crop.Box
    touched: bool
    enlargements: int


def run(case: Case, box: crop.Box, method: Method, margin: float, most: int) -> Fine:
    """Run the method in the box; enlarge the box while a structure touches its border.

    Args:
        case: the subject on the full grid.
        box: where to begin.
        method: what labels the crop.
        margin: mm that an enlargement adds on every side.
        most: enlargements before the result is taken as it is.

    Returns:
        ``touched`` says whether the result still touches the border of the last box.
    """
    size = case.mask.GetSize()
    for count in range(most + 1):
        result = method(_cut(case, box))
        touched = crop.touches(result.labels, box, size)
        wider = crop.enlarged(box, case.mask, margin)
        if not touched or count == most or wider == box:
            break
        box = wider
    whole = Segmentation(
        box.paste(result.labels, case.mask),
        {name: box.paste(part, case.mask) for name, part in result.posteriors.items()},
        result.facts,
    )
    return Fine(whole, box, touched, count)


def _cut(case: Case, box: crop.Box) -> Case:
    def each(group: Mapping[str, sitk.Image]) -> dict[str, sitk.Image]:
        return {name: box.cut(image) for name, image in group.items()}

    return Case(
        each(case.images),
        box.cut(case.mask),
        each(case.priors),
        each(case.coarse),
        case.synthetic,
        each(case.judged),
    )


def spatial_prior(case: Case) -> Floats:
    """Atlas priors where there are any, else the coarse posteriors, blurred; (3, z, y, x)."""
    if case.priors:
        stack = np.stack([images.array(case.priors[name]) for name in TISSUES])
        return np.clip(stack, 0.0, None)
    blurred = [
        images.array(sitk.SmoothingRecursiveGaussian(case.coarse[name], 2.0)) for name in TISSUES
    ]
    return np.clip(np.stack(blurred), 0.0, None)


def with_lesions(case: Case, tissues: Floats, settings: lesion.Settings | None) -> Segmentation:
    """Add the lesion step to the posteriors of the tissues.

    Args:
        case: the crop.
        tissues: (3, z, y, x), sum to 1 inside the mask.
        settings: None leaves lesions out.
    """
    mask = images.bool_array(case.mask)
    names = [*TISSUES, LESION, CORE]
    view = _view(case, tissues, mask)
    found = lesion.find(view, settings) if settings else None
    stack = np.zeros((len(names), *mask.shape), np.float32)
    stack[:3] = tissues * mask
    labels = np.where(mask, tissues.argmax(axis=0) + 1, 0)
    if found is not None:
        stack[:3] *= 1.0 - found.probability
        stack[3] = np.where(found.core, 0.0, found.probability)
        stack[4] = np.where(found.core, found.probability, 0.0)
        labels[found.whole] = 4
        labels[found.core] = 5
    posteriors = {
        name: images.like(part, case.mask) for name, part in zip(names, stack, strict=True)
    }
    facts: dict[str, object] = {"LesionContrasts": list(found.used) if found else []}
    if found is not None and settings is not None and (case.synthetic or case.judged):
        facts["LesionsOfMade"] = _of_made(case, found, view, settings)
    return Segmentation(images.like(labels.astype(np.uint8), case.mask), posteriors, facts)


def _of_made(
    case: Case, found: lesion.Found, view: lesion.View, settings: lesion.Settings
) -> list[dict[str, Any]]:
    used = {name: images.array(case.images[name]) for name in sorted(case.synthetic)}
    judged = {name: images.array(image) for name, image in case.judged.items()}
    return made.check(found, view, used, judged, settings)


def _view(case: Case, tissues: Floats, mask: NDArray[np.bool_]) -> lesion.View:
    expected = spatial_prior(case)
    expected /= np.maximum(expected.sum(axis=0), 1e-6)
    anchor = case.anchor
    return lesion.View(
        contrasts={
            name: images.array(image)
            for name, image in case.images.items()
            if name not in case.synthetic
        },
        anchor=images.array(case.images[anchor]),
        anchor_dark=BRIGHTNESS.get(anchor, BRIGHTNESS["T1w"])[0] == "CSF",
        tissues=tissues,
        white=expected[2],
        fluid=expected[0],
        mask=mask,
        spacing=case.mask.GetSpacing(),
    )


def lesion_settings(params: Mapping[str, Any]) -> lesion.Settings | None:
    """Settings of the lesion step, None when it is switched off."""
    section = params["lesion"]
    if not section["find"]:
        return None
    return lesion.Settings(
        contrasts=tuple(section["contrasts"]),
        **{key: float(section[key]) for key in _THRESHOLDS},
    )


_THRESHOLDS = (
    "seed",
    "grow",
    "support",
    "territory",
    "min_ml",
    "min_width",
    "fluid_margin",
    "closing",
    "core_min_ml",
)
