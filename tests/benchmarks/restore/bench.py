"""Runs every method on every image made worse, one process each, and scores what comes back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import config, images, methods, models
from pipeline.denoise import rician
from pipeline.errors import VoxelwayError
from tests.benchmarks import launch
from tests.benchmarks.launch import JobError
from tests.benchmarks.restore import cases, scores
from tests.benchmarks.restore.cases import Given, Reference, Task

ROW = (
    "case", "task", "method", "psnr", "ssim", "gms", "dice", "seconds", "peak_mb", "version",
    "error",
)  # fmt: skip
#: The line of an image that nobody restored.
NONE = "none"


@dataclass(frozen=True)
class Method:
    """One line of the table.

    Attributes:
        stage: ``denoise`` or ``superres``.
        name: method of the stage, ``bm4d``, or :data:`NONE`.
        options: of the stage's configuration.
    """

    stage: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


def available() -> dict[str, Method]:
    """Every method by its name in the table: training-free ones, and those whose model ships."""
    found = {NONE: Method("denoise", NONE), "bm4d": Method("denoise", "bm4d")}
    plain = {"iterations": 0}
    # without the correction by the slice profile, as other tools interpolate
    for name in ("bspline", "sinc"):
        found[f"{name}-plain"] = Method("superres", name, plain)
    for stage in ("denoise", "superres"):
        for name in methods.available(stage):
            learned = methods.learned(stage, name)
            if not learned or _ships(stage, name):
                found[name] = Method(stage, name)
            if name in found and learned and stage == "denoise":
                found[f"{name}-mirror"] = Method(stage, name, {"mirror": 8})
    return found


def _ships(stage: str, name: str) -> bool:
    try:
        models.shipped(stage, name)
    except VoxelwayError:
        return False
    return True


def chosen(asked: str, known: Mapping[str, Method], given: Mapping[str, Path]) -> dict[str, Method]:
    """Methods by name; a learned one that does not ship needs its stage, as ``superres:saint``.

    Args:
        asked: names, comma between; empty for all.
        known: as of :func:`available`.
        given: bundles, by method.

    Raises:
        VoxelwayError: E-USAGE for an unknown method, and a bundle of one that is not asked for.
    """
    found = {}
    for entry in asked.split(",") if asked else known:
        stage, _, name = entry.rpartition(":")
        if stage:
            found[name] = Method(stage, name)
        elif name in known:
            found[name] = known[name]
        else:
            hint = f"Known: {', '.join(known)}; or STAGE:METHOD with --model METHOD BUNDLE"
            raise VoxelwayError("E-USAGE", f"No method {name}", hint=hint)
    lacking = sorted(set(given) - set(found))
    if lacking:
        raise VoxelwayError("E-USAGE", f"--model for {', '.join(lacking)}, which is not run")
    return found


@dataclass(frozen=True)
class Job:
    """An image that methods are run on.

    Attributes:
        given: the image made worse.
        reference: the sharp one.
        source: file of the image made worse.
        guide: file of another contrast of the subject; or None.
    """

    given: Given
    reference: Reference
    source: Path
    guide: Path | None


@dataclass(frozen=True)
class Setup:
    """What all jobs of a run share.

    Attributes:
        peers: Python of the peers' environment.
        cores: threads of each process.
        given: bundles of learned methods, by method, in place of those that ship.
        work: folder for what passes between the processes.
        axis: normal of thick slices (x, y, z = 0, 1, 2).
        shape: of the slice profile.
        segment: whether the later segmentation is compared, too.
        guide: contrast beside each image that may guide its super-resolution; or empty.
    """

    peers: Path
    cores: int
    given: Mapping[str, Path]
    work: Path
    axis: int = 2
    shape: str = "box"
    segment: bool = False
    guide: str = ""


def run(
    paths: Sequence[Path],
    tasks: Sequence[Task],
    chosen: Mapping[str, Method],
    setup: Setup,
    each: Callable[[Mapping[str, Any]], None],
) -> None:
    """Run methods on images.

    Args:
        paths: of the sharp images.
        tasks: how they are made worse.
        chosen: methods by name; each gets the tasks of its stage.
        setup: the rest.
        each: called with a :data:`ROW` after each method; ``error`` is empty where it went well.
    """
    for number, path in enumerate(paths):
        sharp = cases.read(path)
        folder = setup.work / f"{number:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        labels = _labels(sharp.image, folder / "sharp", setup) if setup.segment else None
        for task in tasks:
            reference = cases.whole(sharp, task, setup.axis)
            given = cases.worse(reference, task, setup.axis, setup.shape, number)
            source = folder / f"sub-1_{cases.contrast(path)}.nii.gz"
            cases.write(given, source)
            guide = cases.beside(path, setup.guide) if setup.guide else None
            job = Job(given, reference, source, guide)
            for name, method in _of(task, chosen):
                row = {"case": reference.name, "task": task.name, "method": name}
                each(row | _one(method, job, labels, folder, setup))
        shutil.rmtree(folder)


def _of(task: Task, chosen: Mapping[str, Method]) -> Iterator[tuple[str, Method]]:
    for name, method in chosen.items():
        if method.stage == task.stage:
            yield name, method


def _one(
    method: Method, job: Job, labels: sitk.Image | None, folder: Path, setup: Setup
) -> dict[str, Any]:
    """The scores of one method on one image, or its error."""
    try:
        found, cost = restored(method, job, folder, setup)
        row = {**cost, **scores.measure(found, job.reference), "error": ""}
        if labels is not None:
            there = images.resample(labels, found, labels=True)
            row["dice"] = scores.dice(_labels(found, folder / "found", setup), there)
    except (JobError, VoxelwayError) as error:
        return {"error": str(error)}
    return row


def restored(
    method: Method, job: Job, folder: Path, setup: Setup
) -> tuple[sitk.Image, dict[str, Any]]:
    """What a method makes of an image, and its seconds, memory and version.

    Raises:
        JobError: when its process failed.
    """
    if method.name == NONE:
        return job.given.image, {"seconds": None, "peak_mb": None, "version": ""}
    out = folder / "out"
    if method.name == "bm4d":
        return _bm4d(job.given, folder, out, setup)
    content = {
        "stage": method.stage,
        "method": method.name,
        "options": dict(method.options),
        "image": str(job.source.resolve()),
        "guide": str(job.guide.resolve()) if job.guide else "",
        "model": str(setup.given[method.name].resolve()) if method.name in setup.given else "",
    }
    if method.stage == "superres":
        content["spacing"] = list(job.reference.image.GetSpacing())
    cost = process("ours", content, out, setup)
    return images.read_image(out / "restored.nii.gz"), cost


def _bm4d(given: Given, folder: Path, out: Path, setup: Setup) -> tuple[sitk.Image, dict[str, Any]]:
    """BM4D between the transform that makes Rician noise Gaussian, and its inverse."""
    stable = rician.stabilise(images.array(given.image).astype(np.float64) / given.sigma)
    path = folder / "stable.npy"
    np.save(path, stable)
    cost = process("peers", {"image": str(path.resolve())}, out, setup)
    found = rician.unstabilise(np.load(out / "restored.npy").astype(np.float64)) * given.sigma
    return images.like(found.astype(np.float32), given.image), cost


def _labels(image: sitk.Image, out: Path, setup: Setup) -> sitk.Image:
    """The later segmentation."""
    source = out.with_name(f"{out.name}_T1w.nii.gz")
    images.write_image(image, source)
    method = str(config.section("segment", {})["method"])
    content = {"stage": "segment", "method": method, "options": {}, "image": str(source.resolve())}
    process("ours", content, out, setup)
    return images.read_labels(out / "restored.nii.gz")


def process(module: str, content: Mapping[str, Any], out: Path, setup: Setup) -> dict[str, Any]:
    """Run one process.

    Args:
        module: ``ours`` or ``peers``.
        content: of its job.
        out: folder for what it writes, made anew.
        setup: the rest.

    Returns:
        ``seconds``, ``peak_mb`` and ``version``.

    Raises:
        JobError: when it failed.
    """
    peers = setup.peers if module == "peers" else None
    return launch.run("restore", {**content, "cores": setup.cores}, out, peers)
