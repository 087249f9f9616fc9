"""One peer on one pair, run with the Python of the peers' own environment.

``python -m tests.benchmarks.register.peers JOB.json``; imports nothing of this project but the
meter. Each peer takes a fixed and a moving image on one grid, affine-aligned, and gives a
displacement field in ITK's convention (LPS, mm), some the inverse too.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from tests.benchmarks import meter

#: Displacement field, inverse field or None, seconds, version.
Found = tuple[sitk.Image, sitk.Image | None, float, str]


def ants_syn(fixed: sitk.Image, moving: sitk.Image, job: dict[str, Any]) -> Found:
    """SyN of ANTs without its affine (Avants et al. 2008, doi:10.1016/j.media.2007.06.004)."""
    import ants

    pair = {"fixed": ants.from_sitk(fixed), "moving": ants.from_sitk(moving)}
    with tempfile.TemporaryDirectory() as folder:
        options = {"outprefix": f"{folder}/x", "initial_transform": "Identity", "random_seed": 1}
        _, seconds = meter.timed(lambda: ants.registration(**pair, **options, **job["options"]))
        names = ("x1Warp.nii.gz", "x1InverseWarp.nii.gz")
        warp, inverse = (sitk.ReadImage(str(Path(folder) / name)) for name in names)
    return warp, inverse, seconds, f"antspyx {importlib.metadata.version('antspyx')}"


def greedy(fixed: sitk.Image, moving: sitk.Image, job: dict[str, Any]) -> Found:
    """Greedy diffeomorphic (Yushkevich et al. 2016, doi:10.1016/j.jalz.2016.06.205)."""
    from picsl_greedy import Greedy3D

    tool = Greedy3D()
    command = f"-i fixed moving -o warp -threads {job['cores']} -V 0 {job['options']['arguments']}"
    call = {"fixed": fixed, "moving": moving, "warp": None}
    _, seconds = meter.timed(lambda: tool.execute(command, **call))
    version = f"picsl-greedy {importlib.metadata.version('picsl-greedy')}"
    return tool["warp"], None, seconds, version


def convex_adam(fixed: sitk.Image, moving: sitk.Image, job: dict[str, Any]) -> Found:
    """Coupled convex optimisation and Adam on MIND (Siebert et al. 2024, arXiv:2408.14111)."""
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt

    torch.set_num_threads(int(job["cores"]))
    pair = [torch.from_numpy(sitk.GetArrayFromImage(image)) for image in (fixed, moving)]
    device = torch.device("cpu")
    voxels, seconds = meter.timed(
        lambda: convex_adam_pt(*pair, dtype=torch.float32, device=device, **job["options"])
    )
    version = f"convexAdam {importlib.metadata.version('convexAdam')}"
    return field_of_voxels(np.asarray(voxels), fixed), None, seconds, version


def field_of_voxels(voxels: np.ndarray, grid: sitk.Image) -> sitk.Image:
    """Field in LPS mm from displacements (Z, Y, X, 3) in voxels along the axes z, y, x."""
    along = voxels[..., ::-1] * np.asarray(grid.GetSpacing())
    physical = along @ np.asarray(grid.GetDirection()).reshape(3, 3).T
    field = sitk.GetImageFromArray(np.ascontiguousarray(physical, dtype=np.float32), isVector=True)
    field.CopyInformation(grid)
    return field


PEERS = {"ants": ants_syn, "greedy": greedy, "convexadam": convex_adam}


def main() -> None:
    """Run the job."""
    job = meter.job()
    folder = Path(job["out"])
    fixed, moving = (
        sitk.ReadImage(str(job[side]), sitk.sitkFloat32) for side in ("fixed", "moving")
    )
    warp, inverse, seconds, version = PEERS[job["tool"]](fixed, moving, job)
    for name, field in (("warp", warp), ("inverse_warp", inverse)):
        if field is not None:
            sitk.WriteImage(sitk.Cast(field, sitk.sitkVectorFloat32), str(folder / f"{name}.nii"))
    meter.account(folder, seconds, version)


if __name__ == "__main__":
    main()
