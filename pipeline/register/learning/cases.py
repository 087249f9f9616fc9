"""Training subjects of a registration network: brains on one lattice, after an affine.

Images and label maps of any grid are aligned to the template by an affine and sampled on the box
around its brain, once; what was read is kept in a cache, so that a training that goes on, or comes
again, starts at once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline import files, images
from pipeline.errors import VoxelwayError
from pipeline.register.engine import cropped
from pipeline.register.learning.anatomy import STRUCTURES
from pipeline.register.learning.lattice import Lattice
from pipeline.register.learning.sources import Source, find
from pipeline.register.methods import affine

Bytes = NDArray[np.uint8]

#: Steps of a byte: images and shares of labels are kept as whole numbers from 0 to this.
FULL = 255


@dataclass(frozen=True)
class Case:
    """One brain on the training's lattice.

    Attributes:
        subject: what must not be on both sides of the split, with the name of its source.
        contrast: suffix of the image, None for a label map.
        image: (Z, Y, X), 0 to :data:`FULL`, zero outside the brain; None for a label map.
        shares: (L, Z, Y, X), share of each of the L labels in each voxel, 0 to :data:`FULL`; None
            for an image.
    """

    subject: str
    contrast: str | None
    image: Bytes | None
    shares: Bytes | None


def read_cases(
    sources: Sequence[Source], lattice: Lattice, params: Mapping[str, Any], cache: Path
) -> list[Case]:
    """Read and align all subjects.

    Args:
        sources: images (skull-stripped) and label maps.
        lattice: of the training.
        params: section ``register``; gives the affine.
        cache: folder for what was aligned.

    Raises:
        VoxelwayError: E-TRAIN-DATA when a source has no file, E-IMG-*, E-OVERLAP.
    """
    align = affine.create(params, None)
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    files_of = list(find(sources))
    for source, path, subject in tqdm(files_of, "align", file=sys.stderr, disable=None):
        mark = files.sha256(path)[:16] + lattice.mark
        kept = cache / f"{mark}-{source.contrast or 'labels'}.npy"
        if kept.is_file():
            values = np.load(kept, allow_pickle=False)
        else:
            values = _aligned(path, source, lattice, align)
            with files.atomic(kept) as part, part.open("wb") as handle:
                np.save(handle, values)
        is_image = source.contrast is not None
        found.append(
            Case(
                f"{source.name}/{subject}",
                source.contrast,
                values if is_image else None,
                None if is_image else values,
            )
        )
    return found


def _aligned(path: Path, source: Source, lattice: Lattice, align: Any) -> Bytes:
    if source.contrast is None:
        labels = images.read_labels(path)
        whole = contrast_of(labels)
        brain = sitk.Cast(whole > 0, sitk.sitkUInt8)
        labels, image = cropped(labels, brain), cropped(whole, brain)
    else:
        image = images.read_image(path)
        if source.mask is not None:
            image = sitk.Mask(image, images.read_labels(source.mask) > 0)
        elif source.strip:
            from pipeline.preprocess.methods import deepbet

            brain = deepbet.create({}, None)(image)
            image = sitk.Mask(image, brain)
    mask = sitk.Cast(image > 0, sitk.sitkUInt8)
    images.check_mask(mask, path.name)
    found = align(image, lattice.template, mask, lattice.mask)
    if source.contrast is None:
        return _shares(labels, lattice.grid, found.affine)
    return _bytes(images.resample(image, lattice.grid, found.affine, order=1))


def contrast_of(labels: sitk.Image) -> sitk.Image:
    """A T1-like image of a FreeSurfer label map's brain, for its affine only."""
    values = sitk.GetArrayViewFromImage(labels)
    table = np.zeros(int(values.max()) + 1, dtype=np.float32)
    for structure in STRUCTURES:
        if structure.value < len(table):
            table[structure.value] = structure.t1
    return images.like(table[values], labels)


def _shares(labels: sitk.Image, grid: sitk.Image, transform: sitk.Transform) -> Bytes:
    """Share of each label in each voxel of a grid, between the label map's voxels."""
    shares = []
    for structure in STRUCTURES:
        one = sitk.Cast(labels == structure.value, sitk.sitkFloat32)
        share = images.array(images.resample(one, grid, transform, order=1))
        shares.append(np.round(share * FULL).astype(np.uint8))
    return np.stack(shares)


def _bytes(image: sitk.Image) -> Bytes:
    values = images.array(image)
    inside = values > 0
    if not inside.any():
        raise VoxelwayError("E-OVERLAP", "The brain lies outside the template's box")
    top = float(np.percentile(values[inside], 99.5))
    return np.asarray(np.clip(values / top, 0, 1) * FULL, dtype=np.uint8)
