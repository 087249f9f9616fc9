"""What a segmentation says in numbers: entropy, volumes, and whether they can be true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.labels import TISSUES, Label, tissues_of


def entropy(posteriors: Mapping[str, sitk.Image]) -> sitk.Image:
    """Shannon entropy of the posteriors over the logarithm of their number, 0..1, float32.

    Zero outside the mask, where the posteriors are all zero.
    """
    reference = next(iter(posteriors.values()))
    total = np.zeros(reference.GetSize()[::-1], np.float32)
    for part in posteriors.values():
        share = images.array(part)
        total -= share * np.log(np.maximum(share, 1e-12))
    limit = np.log(len(posteriors)) if len(posteriors) > 1 else 1.0
    scaled = np.clip(total / np.float32(limit), 0.0, 1.0)
    return images.like(scaled.astype(np.float32), reference)


def volumes(labels: sitk.Image) -> list[dict[str, Any]]:
    """Rows label, name, mm3 for every label that can occur, also those with no voxel."""
    counts = np.bincount(images.array(labels).astype(np.int64).ravel(), minlength=256)
    voxel = float(np.prod(labels.GetSpacing()))
    return [
        {"label": item.index, "name": item.name, "mm3": round(float(counts[item.index]) * voxel, 3)}
        for item in TISSUES
    ]


def by_tissue(rows: Sequence[Mapping[str, Any]], table: Sequence[Label]) -> list[dict[str, Any]]:
    """Rows name, mm3 with the structures of each tissue added up.

    Args:
        rows: of :func:`volumes`, or of another table.
        table: their labels; see :func:`pipeline.labels.tissues_of` for what is left out.
    """
    mm3 = {str(row["name"]): float(row["mm3"]) for row in rows}
    return [
        {"name": tissue, "mm3": sum(mm3.get(label.name, 0.0) for label in parts)}
        for tissue, parts in tissues_of(table).items()
    ]


def implausible(rows: Sequence[Mapping[str, Any]], limits: Mapping[str, Any]) -> list[str]:
    """One sentence for each volume or ratio outside its limits.

    Args:
        rows: of :func:`volumes` or :func:`by_tissue`; tissues that they lack are not judged.
        limits: tissue → [least, most] in ml; ``gm_wm`` → [least, most] of the ratio; ``lesion_ml``
            → the most of lesion and core together, in ml.
    """
    ml = {str(row["name"]): float(row["mm3"]) / 1000.0 for row in rows}
    found = []
    for name in ("CSF", "GM", "WM"):
        low, high = limits[name]
        if name in ml and not low <= ml[name] <= high:
            found.append(f"{name} has {ml[name]:.0f} ml, plausible are {low:g} to {high:g} ml")
    if "GM" in ml and "WM" in ml:
        low, high = limits["gm_wm"]
        ratio = ml["GM"] / ml["WM"] if ml["WM"] > 0 else float("inf")
        if not low <= ratio <= high:
            found.append(f"GM/WM is {ratio:.2f}, plausible are {low:g} to {high:g}")
    lesion = ml.get("lesion", 0.0) + ml.get("lesion-core", 0.0)
    if lesion > limits["lesion_ml"]:
        found.append(f"Lesions have {lesion:.0f} ml, more than {limits['lesion_ml']:g} ml")
    return found
