"""Whether a made contrast loses or invents lesions: they are looked for with it and without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.segment import lesion

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

#: A lesion that comes within this distance of one in the other image is the same, mm.
NEAR = 2.0
#: Voxels that touch in any way are one lesion.
TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True)
class Difference:
    """Lesions of a reference and of an image with a made contrast, side by side.

    Attributes:
        lost: volumes of the reference's lesions that the other lacks, ml.
        invented: volumes of the other's that the reference lacks, ml.
        reference, made: whole volumes, ml.
    """

    lost: tuple[float, ...]
    invented: tuple[float, ...]
    reference: float
    made: float


def compare(reference: Bools, made: Bools, spacing: Sequence[float]) -> Difference:
    """Connected components of two lesion masks that have no counterpart in the other.

    Args:
        reference, made: (z, y, x).
        spacing: mm, (x, y, z).
    """
    unit = float(np.prod(spacing)) / 1000.0
    return Difference(
        _alone(reference, made, spacing, unit),
        _alone(made, reference, spacing, unit),
        float(reference.sum()) * unit,
        float(made.sum()) * unit,
    )


def _alone(mask: Bools, other: Bools, spacing: Sequence[float], unit: float) -> tuple[float, ...]:
    parts, count = ndimage.label(mask, TOUCHING)
    if not count:
        return ()
    near = np.zeros(mask.shape, dtype=bool)
    if other.any():
        near = ndimage.distance_transform_edt(~other, sampling=tuple(spacing)[::-1]) <= NEAR
    numbers = np.arange(1, count + 1)
    met = ndimage.maximum(near, parts, numbers)
    sizes = ndimage.sum_labels(mask, parts, numbers) * unit
    return tuple(float(size) for size, there in zip(sizes, met, strict=True) if not there)


def check(
    found: lesion.Found,
    view: lesion.View,
    used: Mapping[str, Floats],
    judged: Mapping[str, Floats],
    settings: lesion.Settings,
) -> list[dict[str, Any]]:
    """Entries of the sidecar, one a made contrast in which lesions are looked for.

    Args:
        found: lesions by acquired contrasts alone.
        view: what they were found in.
        used: made contrasts that stand beside the acquired ones.
        judged: made contrasts that were acquired too.
        settings: of the lesion step.

    Returns:
        ``Against`` says what with: ``acquired`` (the made contrast took the place of the acquired
        one) or ``without`` (the made contrast came to the acquired ones).
    """
    entries = []
    for against, group in (("without", used), ("acquired", judged)):
        for suffix, values in group.items():
            if suffix not in settings.contrasts:
                continue
            changed = replace(view, contrasts={**view.contrasts, suffix: values})
            other = lesion.find(changed, settings)
            difference = compare(found.whole, other.whole, view.spacing)
            entries.append(_entry(suffix, against, difference))
    return entries


def _entry(suffix: str, against: str, difference: Difference) -> dict[str, Any]:
    return {
        "Suffix": suffix,
        "Against": against,
        "Lost": len(difference.lost),
        "LostMl": round(sum(difference.lost), 3),
        "Invented": len(difference.invented),
        "InventedMl": round(sum(difference.invented), 3),
        "ReferenceMl": round(difference.reference, 3),
        "MadeMl": round(difference.made, 3),
    }


def warnings(entries: object) -> list[str]:
    """One sentence for each made contrast that loses or invents a lesion."""
    told = []
    for item in entries if isinstance(entries, list) else []:
        parts = [
            f"{verb} {item[key]} lesion{'s' * (item[key] != 1)} ({item[f'{key}Ml']:.2g} ml)"
            for key, verb in (("Lost", "loses"), ("Invented", "invents"))
            if item[key]
        ]
        if parts:
            beside = (
                "against the acquired one"
                if item["Against"] == "acquired"
                else "against the acquired contrasts alone"
            )
            told.append(f"The made {item['Suffix']} {' and '.join(parts)} {beside}")
    return told
