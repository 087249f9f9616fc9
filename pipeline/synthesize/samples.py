"""Training samples of one session: acquired target voxels and the sources' patches across them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.paths import Results, Unit, sidecar
from pipeline.synthesize import patches
from pipeline.synthesize.fit import Floats, Samples
from pipeline.synthesize.patches import Points

#: Slices thicker than this many voxels of the common grid are averaged over their profile.
THICK = 1.3


@dataclass(frozen=True)
class Session:
    """One training session on its common grid.

    Attributes:
        sources: contrast → image in units of the brain's median, zero outside the rim.
        levels: contrast → the brain's median in the scale that preprocess gave.
        mask: brain.
        rim: brain and margin.
    """

    unit: Unit
    anchor: str
    sources: dict[str, sitk.Image]
    levels: dict[str, float]
    mask: sitk.Image
    rim: sitk.Image


def read_session(results: Results, unit: Unit, margin: float) -> Session | None:
    """Read what superres left of a unit; None when it left no mask."""
    folder = results.anat("superres", unit)
    masks = sorted(folder.glob(f"{unit.name}_space-*_desc-brain_mask.nii.gz"))
    if not masks:
        return None
    anchor = masks[0].name.split("_space-")[1].split("_")[0]
    mask = images.read_labels(masks[0]) > 0
    images.check_mask(mask, unit.name)
    rim = patches.grown(mask, margin)
    start = results.image("superres", unit, "", space=anchor, desc="superres", extension="").name
    sources, levels = {}, {}
    for path in sorted(folder.glob(f"{start}*.nii.gz")):
        suffix = path.name.removeprefix(start).removesuffix(".nii.gz")
        image = images.read_image(path)
        images.check_same_grid(image, mask, unit.name)
        levels[suffix] = patches.level(image, mask, unit.name)
        sources[suffix] = patches.ready(image, mask, rim, unit.name)
    return Session(unit, anchor, sources, levels, mask, rim)


def draw(
    results: Results,
    session: Session,
    target: str,
    sources: Sequence[str],
    params: Mapping[str, Any],
    seed: int,
) -> Samples:
    """Samples for one target.

    The values are voxels of the acquired target on its own lattice, never interpolated. Across a
    thick slice the patches are taken at several points, equally spaced over the profile (a box).
    """
    native = _native(results, session, target)
    common = to_anchor(results, session, target)
    region = images.resample(session.rim, native, common, labels=True)
    inside = images.bool_array(region)
    values = images.array(native)[inside] / session.levels[target]
    points = patches.voxel_points(native, inside)
    rng = np.random.default_rng(seed)
    most = min(int(params["voxels_per_subject"]), len(values))
    chosen = np.sort(rng.choice(len(values), most, replace=False))
    moved, normal = _moved(points[chosen], native, common)
    shifts = _profile(results, session, target, native, int(params["profile_samples"]))
    given = [session.sources[name] for name in sources]
    step = float(params["patch_step"])
    across = [patches.features(given, moved + shift * normal, step) for shift in shifts]
    return Samples(np.stack(across, axis=1), values[chosen].astype(np.float32))


def _native(results: Results, session: Session, target: str) -> sitk.Image:
    return images.read_image(results.image("denoise", session.unit, target, desc="denoised"))


def to_anchor(results: Results, session: Session, target: str) -> sitk.Transform:
    """Point map from the target's own space to the common one."""
    if target == session.anchor:
        return sitk.Transform(3, sitk.sitkIdentity)
    path = results.transform("preprocess", session.unit, target, session.anchor, extension=".mat")
    return sitk.ReadTransform(str(path)).GetInverse()


def _moved(points: Points, native: sitk.Image, transform: sitk.Transform) -> tuple[Points, Points]:
    """Points and slice normal of the native lattice in the common space (linear transform)."""
    origin = np.asarray(transform.TransformPoint((0.0, 0.0, 0.0)))
    axes = [np.asarray(transform.TransformPoint(tuple(row))) - origin for row in np.eye(3)]
    matrix = np.stack(axes, axis=1)
    axis = int(np.argmax(native.GetSpacing()))
    direction = np.asarray(native.GetDirection()).reshape(3, 3)[:, axis]
    return points @ matrix.T + origin, matrix @ direction


def _profile(
    results: Results, session: Session, target: str, native: sitk.Image, count: int
) -> Floats:
    """Offsets in mm across a slice, ``count`` of them; all zero where slices are thin."""
    path = sidecar(results.image("denoise", session.unit, target, desc="denoised"))
    told = files.read_json(path).get("SliceThickness") if path.is_file() else None
    thickness = float(told) if told else float(max(native.GetSpacing()))
    thin = float(min(session.mask.GetSpacing()))
    isotropic = max(native.GetSpacing()) <= THICK * min(native.GetSpacing())
    if isotropic or thickness <= THICK * thin:
        return np.zeros(count, np.float32)
    return (((np.arange(count) + 0.5) / count - 0.5) * thickness).astype(np.float32)
