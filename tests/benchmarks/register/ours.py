"""One of our methods on one pair, in a process of its own, as its peers.

``python -m tests.benchmarks.register.ours JOB.json``. A job of the tool ``affine`` finds the
affine that all others start from; the others find the warp from there on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import __version__, config, images, methods, models
from pipeline.register import transforms
from pipeline.register.fields import Registration, zero_field
from pipeline.register.protocol import Method
from pipeline.runner import seed_everything
from tests.benchmarks import meter


def method_of(job: dict[str, Any]) -> Method:
    """The method of a job, ready."""
    name = job["tool"]
    params = {**config.section("register", job["options"]), "seed": 0}
    if name == "demons":
        return demons(params)
    model = None
    if methods.learned("register", name):
        model = Path(job["model"]) if job.get("model") else models.shipped("register", name)
    made: Method = methods.create("register", name, params, model)
    return made


def demons(params: dict[str, Any]) -> Method:
    """Our demons without their affine, which has no switch of its own."""
    from pipeline.register.methods.demons import deform

    def register(
        moving: sitk.Image, fixed: sitk.Image, moving_mask: sitk.Image, fixed_mask: sitk.Image
    ) -> Registration:
        start = Registration(sitk.AffineTransform(3), zero_field(fixed), zero_field(fixed))
        return deform(start, moving, fixed, (moving_mask, fixed_mask), params["demons"])

    return register


def check_affine(found: Registration, tool: str) -> None:
    """Refuse a method that looked for an affine of its own: it would not start where others do."""
    matrix = np.asarray(found.affine.GetMatrix()).reshape(3, 3)
    moved = np.asarray(found.affine.TransformPoint((0.0, 0.0, 0.0)))
    if not np.allclose(matrix, np.eye(3), atol=1e-9) or not np.allclose(moved, 0.0, atol=1e-9):
        raise RuntimeError(f"{tool} did not start from the common affine")


def main() -> None:
    """Run the job."""
    job = meter.job()
    folder = Path(job["out"])
    fixed, moving = (images.read_image(Path(job[side])) for side in ("fixed", "moving"))
    masks = [images.read_labels(Path(job[f"{side}_mask"])) for side in ("moving", "fixed")]
    method = method_of(job)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(int(job["cores"]))
    seed_everything(0)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(int(job["cores"]))
    found, seconds = meter.timed(lambda: method(moving, fixed, masks[0], masks[1]))
    if job["tool"] == "affine":
        transforms.write_affine(found.affine, folder / "affine.mat")
    else:
        check_affine(found, job["tool"])
        for name, field in (("warp", found.warp), ("inverse_warp", found.inverse_warp)):
            transforms.write_field(field, folder / f"{name}.nii")
    meter.account(folder, seconds, f"voxelway {__version__}")


if __name__ == "__main__":
    main()
