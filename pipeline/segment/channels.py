"""Contrasts of a unit on its common grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline.task import UnitTask


def of_unit(
    task: UnitTask, anchor: str, order: Sequence[str], synthetic: bool
) -> tuple[dict[str, sitk.Image], list[dict[str, Any]]]:
    """Images of the contrasts that there are, and entries of the sidecar on them.

    Args:
        task: of the unit.
        anchor: contrast of the common grid.
        order: suffixes that are wanted.
        synthetic: whether what was made takes the place of what was not acquired.

    Returns:
        suffix → image, in that order, without those that are lacking.
    """
    acquired = task.contrasts("superres", space=anchor, desc="superres")
    made = task.contrasts("synthesize", space=anchor, desc="synth")
    contrasts: dict[str, sitk.Image] = {}
    used: list[dict[str, Any]] = []
    for suffix in order:
        path = acquired.get(suffix) or (made.get(suffix) if synthetic else None)
        if path is None:
            continue
        contrasts[suffix] = task.read(path)
        used.append({"Suffix": suffix, "Synthetic": suffix not in acquired, "File": path.name})
    return contrasts, used


def judged(task: UnitTask, anchor: str, order: Sequence[str]) -> dict[str, sitk.Image]:
    """Made contrasts that were acquired too, suffix → image; they label nothing."""
    acquired = task.contrasts("superres", space=anchor, desc="superres")
    made = task.contrasts("synthesize", space=anchor, desc="synth")
    both = [suffix for suffix in order if suffix in acquired and suffix in made]
    return {suffix: task.read(made[suffix]) for suffix in both}
