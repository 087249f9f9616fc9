"""Head methods: what they look at, in a results folder or as a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import images, threads
from pipeline.errors import VoxelwayError
from pipeline.segment import channels
from pipeline.segment.case import BRIGHTNESS, HeadMethod, Output
from pipeline.task import Task, UnitTask


def of_unit(task: UnitTask, anchor: str, method: HeadMethod, params: Mapping[str, Any]) -> Output:
    """Label one unit on its common grid.

    Raises:
        VoxelwayError: E-IMG-INPUT when a contrast is lacking that the model needs.
    """
    name, options = task.unit.name, params["cascade"]
    order = list(method.contrasts) or [str(options["contrast"]) or anchor]
    found, used = channels.of_unit(task, anchor, order, bool(params["synthetic"]))
    if lacking := [suffix for suffix in order if suffix not in found]:
        what = f"The model needs {', '.join(order)}, {', '.join(lacking)} is lacking"
        hint = "Set synthesize to make it, or take a model for any contrast"
        raise VoxelwayError("E-IMG-INPUT", what, where=name, hint=hint)
    pictures = [found[suffix] for suffix in order]
    mask = None
    if method.masked:
        path = task.results.image("superres", task.unit, "mask", space=anchor, desc="brain")
        mask = task.read_labels(path) > 0
    for image in [*pictures[1:], *([mask] if mask is not None else [])]:
        images.check_same_grid(pictures[0], image, name)
    output = method(pictures, name, mask)
    return replace(output, facts={**output.facts, "Anchor": anchor, "ChannelsUsed": used})


def of_file(task: Task, source: Path, method: HeadMethod) -> Output:
    """Label one image on its own grid.

    Raises:
        VoxelwayError: E-IMG-MODALITY for a model of several contrasts.
    """
    image = task.read(source)
    if len(method.contrasts) > 1:
        what = f"The model needs {', '.join(method.contrasts)}, one image was given"
        hint = "Run it with --results and --unit, where a subject has all of them on one grid"
        raise VoxelwayError("E-IMG-MODALITY", what, where=source.name, hint=hint)
    suffix = source.name.split(".")[0].split("_")[-1]
    suffix = suffix if suffix in BRIGHTNESS or suffix in method.contrasts else ""
    mask, told = brain_of(image) if method.masked else (None, [])
    output = method([image], source.name, mask)
    found = {"BrainMask": "deepbet" if mask is not None else "n/a"} if method.masked else {}
    used = [{"Suffix": suffix or "n/a", "Synthetic": False, "File": source.name}]
    told += output.warnings
    if suffix and method.contrasts and suffix not in method.contrasts:
        told.append(f"The model was trained on {method.contrasts[0]}, this is a {suffix}")
    return replace(output, facts={**output.facts, **found, "ChannelsUsed": used}, warnings=told)


def brain_of(image: sitk.Image) -> tuple[sitk.Image | None, list[str]]:
    """The brain mask of a file, which no earlier stage has made; or why there is none."""
    import torch

    try:
        found = _deepbet()
        # one thread: the sums of its convolutions come in one order
        torch.set_num_threads(1)
        return found(image) > 0, []
    except VoxelwayError as error:
        if error.code != "E-MASK-EMPTY":
            raise
        return None, ["No brain mask was found: what lies outside of the brain may be labelled"]
    finally:
        torch.set_num_threads(threads.count())


@cache
def _deepbet() -> Callable[[sitk.Image], sitk.Image]:
    from pipeline.preprocess.methods import deepbet

    return deepbet.create({}, None)
