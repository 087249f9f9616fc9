"""Pairs whose displacement a training-free method of this project has found: fields to learn from.

Yang et al. 2017 (Quicksilver), doi:10.1016/j.neuroimage.2017.07.008, learns the fields alone; with
a similarity beside them they only guide, Fan et al. 2019 (BIRNet),
doi:10.1016/j.media.2019.03.006. Which of both is trained is a matter of the losses.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline import config, files, images, methods
from pipeline.errors import VoxelwayError
from pipeline.fingerprint import code_fingerprint
from pipeline.register.fields import Registration, forward_transform, to_field, vectors
from pipeline.register.learning.cases import FULL, Case
from pipeline.register.learning.lattice import Lattice

STAGE = "register"


@dataclass(frozen=True)
class Taught:
    """Two brains and where to find the displacement between them.

    Attributes:
        moving: an image.
        fixed: an image of the same contrast.
        field: .npy, (3, Z, Y, X) float32, voxels, components z, y, x; from fixed to moving.
    """

    moving: Case
    fixed: Case
    field: Path


class Teacher:
    """Registers pairs of training images on the lattice, once; later calls read what was kept.

    Args:
        params: section ``register`` and the seed; ``learning.teacher`` names the method.
        place: lattice of the training.
        cache: folder for the fields.
    """

    def __init__(self, params: Mapping[str, Any], place: Lattice, cache: Path) -> None:
        method = str(params["learning"]["teacher"]["method"])
        self.register = methods.create(STAGE, method, params)
        self.place, self.cache = place, cache
        self.seed = int(params.get("seed", 0))
        self.mark = mark(params) + place.mark

    def teach(self, cases: Sequence[Case], count: int) -> list[Taught]:
        """Random ordered pairs of two images of one contrast, no pair twice.

        Args:
            cases: of one side of the split.
            count: number of pairs, fewer where there are not so many.

        Raises:
            VoxelwayError: E-OVERLAP, E-SIGNAL of the method.
        """
        shown = [case for case in cases if case.image is not None]
        known = [(a, b) for a in shown for b in shown if a is not b and a.contrast == b.contrast]
        order = np.random.default_rng(self.seed).permutation(len(known))[:count]
        self.cache.mkdir(parents=True, exist_ok=True)
        bar = tqdm(order, "teach", file=sys.stderr, disable=None)
        return [self._taught(*known[index]) for index in bar]

    def _taught(self, moving: Case, fixed: Case) -> Taught:
        text = ":".join([self.mark, _digest(moving), _digest(fixed)])
        kept = self.cache / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}-taught.npy"
        if not kept.is_file():
            pair = _image(moving, self.place.grid), _image(fixed, self.place.grid)
            found = self.register(*pair, *(sitk.Cast(each > 0, sitk.sitkUInt8) for each in pair))
            with files.atomic(kept) as part, part.open("wb") as handle:
                np.save(handle, in_voxels(found, self.place.grid))
        return Taught(moving, fixed, kept)


def sides(
    params: Mapping[str, Any], cases: Sequence[Sequence[Case]], place: Lattice, cache: Path
) -> list[list[Taught]]:
    """Taught pairs to train on and to validate on; none where no share of them is asked for.

    Raises:
        VoxelwayError: those of :func:`asked` and :meth:`Teacher.teach`.
    """
    if not asked(params):
        return [[], []]
    teacher, learning = Teacher(params, place, cache), params["learning"]
    count = int(learning["teacher"]["pairs"])
    few = math.ceil(float(learning["validation"]) * count)
    return [teacher.teach(side, n) for side, n in zip(cases, (count, few), strict=True)]


def asked(params: Mapping[str, Any]) -> bool:
    """Whether the training draws taught pairs.

    Raises:
        VoxelwayError: E-CONFIG-VALUE when it should, of none; E-METHOD for an unknown method,
            E-MODEL-MISSING for a learned one.
    """
    learning = params["learning"]
    if float(learning["pairs"]["taught"]) == 0:
        return False
    method = str(learning["teacher"]["method"])
    if methods.learned(STAGE, method):
        what = f"learning.teacher.method is {method}, which has to be trained itself"
        raise VoxelwayError("E-MODEL-MISSING", what, hint="Choose syn, adaptive or demons")
    if int(learning["teacher"]["pairs"]) == 0:
        what = "learning.pairs.taught asks for taught pairs, learning.teacher.pairs is 0"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint="Raise learning.teacher.pairs")
    return True


def mark(params: Mapping[str, Any]) -> str:
    """Hash of what decides a field beside its images: the method, its code and its settings."""
    method = str(params["learning"]["teacher"]["method"])
    settings = config.used_by(STAGE, params, "inference")
    code = code_fingerprint(methods.module_name(STAGE, method))
    text = json.dumps([method, settings, code], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def in_voxels(found: Registration, grid: sitk.Image) -> NDArray[np.float32]:
    """The whole map from fixed to moving, affine and warp, as a displacement on a grid.

    Returns:
        (3, Z, Y, X), voxels of the grid, components z, y, x.
    """
    moves = vectors(to_field(forward_transform(found), grid))
    direction = np.asarray(grid.GetDirection()).reshape(3, 3)
    # mm along LPS become voxels along the grid's axes x, y, z, then z, y, x
    along = moves @ direction / np.asarray(grid.GetSpacing())
    return np.ascontiguousarray(np.moveaxis(along, -1, 0)[::-1], dtype=np.float32)


def _image(case: Case, grid: sitk.Image) -> sitk.Image:
    assert case.image is not None
    return images.like((case.image / FULL).astype(np.float32), grid)


def _digest(case: Case) -> str:
    assert case.image is not None
    return hashlib.sha256(case.image.tobytes()).hexdigest()
