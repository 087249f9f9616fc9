"""Training pairs, drawn: two subjects' images, two label maps in made-up contrasts, known fields.

Images from label maps with random contrasts follow Hoffmann et al. 2022, SynthMorph,
doi:10.1109/TMI.2021.3116879, and Billot et al. 2023, SynthSeg, doi:10.1016/j.media.2023.102789:
a network that has seen every contrast registers any to any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.errors import VoxelwayError
from pipeline.networks.spatial import affine_displacement, integrate, warp
from pipeline.register.learning.anatomy import NOT_SCORED, STRUCTURES, TISSUES
from pipeline.register.learning.cases import FULL, Case
from pipeline.register.learning.teacher import Taught

Floats = NDArray[np.float32]
Sample = dict[str, Any]

#: Largest random affine between two images after their common one: rotation in radians, scale and
#: shear as shares, shift in voxels.
ROTATION, SCALE, SHIFT = 0.06, 0.06, 1.5

TISSUE_OF = np.asarray([TISSUES.index(structure.tissue) for structure in STRUCTURES])
SCORED = [i for i, structure in enumerate(STRUCTURES) if structure.value not in NOT_SCORED]


class Pairs:
    """Draws pairs of cases.

    Args:
        cases: subjects of one side of the split.
        shares: kind of pair → how often: ``images`` (two images of one contrast), ``labels`` (two
            label maps, both drawn in one T1w-like contrast), ``contrasts`` (two label maps, two
            contrasts), ``simulated`` (an image and itself under a known field), ``taught`` (two
            images and the field that a training-free method found).
        batch: samples of a batch, which are all of one kind.
        seed: of the choice of kinds.
        structures: most structures of a pair of label maps that are handed on, at random; 0: all.
        taught: pairs of the kind ``taught``, whose subjects are of the same side.

    Raises:
        VoxelwayError: E-TRAIN-DATA when the cases are too few for any kind.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        shares: Mapping[str, float],
        batch: int,
        seed: int,
        structures: int = 0,
        taught: Sequence[Taught] = (),
    ) -> None:
        contrasts = {case.contrast for case in cases if case.image is not None}
        groups = [
            [case for case in cases if case.contrast == name] for name in sorted(contrasts, key=str)
        ]
        self.images = [group for group in groups if len(group) > 1]
        self.singles = [case for case in cases if case.image is not None]
        self.labelled = [case for case in cases if case.shares is not None]
        self.taught = taught
        enough = {
            "images": bool(self.images),
            "labels": len(self.labelled) > 1,
            "contrasts": len(self.labelled) > 1,
            "simulated": bool(self.singles),
            "taught": bool(taught),
        }
        kept = {kind: float(share) for kind, share in shares.items() if enough[kind] and share > 0}
        if not kept:
            what = f"{len(cases)} subjects make no pair of any kind that is asked for"
            raise VoxelwayError("E-TRAIN-DATA", what, hint="Add subjects, or label maps")
        self.kinds = list(kept)
        self.odds = np.asarray(list(kept.values())) / sum(kept.values())
        self.batch, self.seed = batch, seed
        self.structures = structures or len(SCORED)

    def __call__(self, rng: np.random.Generator, index: int) -> Sample:
        """Draw one pair: ``moving`` and ``fixed``, (1, Z, Y, X), and what is known of them."""
        chooser = np.random.default_rng([self.seed, index // self.batch])
        kind = self.kinds[int(chooser.choice(len(self.kinds), p=self.odds))]
        sample: Sample = getattr(self, f"_{kind}")(rng)
        if rng.random() < 0.5:
            # left and right are alike: both images mirrored are as good a pair
            return {name: _mirrored(name, values) for name, values in sample.items()}
        return sample

    def _images(self, rng: np.random.Generator) -> Sample:
        group = self.images[int(rng.integers(len(self.images)))]
        moving, fixed = rng.choice(len(group), 2, replace=False)
        pair = {"moving": _image(group[moving]), "fixed": _image(group[fixed])}
        pair["moving"] = _shaken(pair["moving"], rng)
        return {name: _exposed(values, rng) for name, values in pair.items()} | {"alike": True}

    def _labels(self, rng: np.random.Generator) -> Sample:
        return self._drawn(rng, alike=True)

    def _contrasts(self, rng: np.random.Generator) -> Sample:
        return self._drawn(rng, alike=False)

    def _drawn(self, rng: np.random.Generator, alike: bool) -> Sample:
        moving, fixed = (self.labelled[i] for i in rng.choice(len(self.labelled), 2, replace=False))
        assert moving.shares is not None and fixed.shares is not None
        count = min(self.structures, len(SCORED))
        chosen = np.sort(rng.choice(SCORED, count, replace=False))
        return {
            "moving": contrast(moving.shares, rng, t1_like=alike),
            "fixed": contrast(fixed.shares, rng, t1_like=alike),
            "moving_labels": moving.shares[chosen],
            "fixed_labels": fixed.shares[chosen],
            "alike": alike,
        }

    def _simulated(self, rng: np.random.Generator) -> Sample:
        case = self.singles[int(rng.integers(len(self.singles)))]
        moving = _image(case)
        field = random_field(moving.shape[1:], rng)
        fixed = warp(torch.from_numpy(moving)[None], torch.from_numpy(field)[None])[0].numpy()
        return {
            "moving": _exposed(moving, rng),
            "fixed": _exposed(fixed, rng),
            "target_field": field,
            "alike": True,
        }

    def _taught(self, rng: np.random.Generator) -> Sample:
        known = self.taught[int(rng.integers(len(self.taught)))]
        fixed = _image(known.fixed)
        return {
            "moving": _exposed(_image(known.moving), rng),
            "fixed": _exposed(fixed, rng),
            "target_field": np.load(known.field, allow_pickle=False),
            # in the background a method's field is what its smoothing left there
            "target_mask": (fixed > 0).astype(np.float32),
            "alike": True,
        }


def contrast(shares: NDArray[np.uint8], rng: np.random.Generator, t1_like: bool) -> Floats:
    """An image (1, Z, Y, X), 0 to 1, of a label map.

    Each tissue has a random mean, or one near that on T1w; each structure moves it a little;
    texture, a bias field, blur and noise follow.
    """
    if t1_like:
        means = np.asarray([structure.t1 for structure in STRUCTURES])
        means = np.clip(means + 0.04 * rng.standard_normal(len(TISSUES))[TISSUE_OF], 0.05, 1)
    else:
        means = rng.uniform(0.05, 1.0, len(TISSUES))[TISSUE_OF]
    means = means * (1 + 0.03 * rng.standard_normal(len(means)))
    flat = shares.reshape(len(shares), -1)
    clean = (means.astype(np.float32) @ flat.astype(np.float32)).reshape(shares.shape[1:]) / FULL
    inside = shares.max(axis=0) > 0
    texture = ndimage.gaussian_filter(rng.standard_normal(clean.shape).astype(np.float32), 1.0)
    clean *= 1 + rng.uniform(0.0, 0.05) * texture / texture.std()
    clean = ndimage.gaussian_filter(clean, rng.uniform(0.0, 0.6))
    clean += rng.uniform(0.0, 0.03) * rng.standard_normal(clean.shape).astype(np.float32)
    return _exposed(np.where(inside, np.clip(clean, 0.0, 1.5), 0.0)[None].astype(np.float32), rng)


def random_field(shape: Sequence[int], rng: np.random.Generator) -> Floats:
    """Displacement (3, Z, Y, X) in voxels, of a velocity that is smooth at random scales."""
    velocity = np.zeros((3, *shape), dtype=np.float32)
    for scale, size in ((4.0, 0.8), (8.0, 1.5), (16.0, 2.0)):
        knots = [max(4, round(n / scale) + 3) for n in shape]
        coarse = rng.standard_normal((3, *knots)).astype(np.float32)
        zoom = [(n + 1) / k for n, k in zip(shape, knots, strict=True)]
        box = tuple(slice(n) for n in shape)
        for axis in range(3):
            fine = ndimage.zoom(coarse[axis], zoom, order=2)[box]
            velocity[axis] += rng.uniform(0, size) * fine
    field = integrate(torch.from_numpy(velocity)[None], steps=6)
    return np.asarray(field[0].numpy())


def _image(case: Case) -> Floats:
    assert case.image is not None
    return np.asarray(case.image[None] / FULL, dtype=np.float32)


def _exposed(image: Floats, rng: np.random.Generator) -> Floats:
    """Another scanner: gain, gamma, a smooth bias field."""
    shape = image.shape[1:]
    bias = ndimage.zoom(rng.standard_normal((4, 4, 4)), [n / 4 for n in shape], order=2)
    changed = np.clip(image, 0, None) ** np.exp(rng.normal(0, 0.1))
    changed = changed * np.exp(rng.uniform(0, 0.1) * bias) * rng.uniform(0.85, 1.1)
    return np.asarray(changed, dtype=np.float32)


def _shaken(image: Floats, rng: np.random.Generator) -> Floats:
    """A small affine, as the one between two images that a common affine left over."""
    generator = rng.uniform(-1, 1, (3, 3))
    linear = (
        np.eye(3) + SCALE / 2 * (generator + generator.T) + ROTATION / 2 * (generator - generator.T)
    )
    matrix = np.concatenate([linear, rng.uniform(-SHIFT, SHIFT, (3, 1))], axis=1)
    field = affine_displacement(torch.from_numpy(matrix.astype(np.float32))[None], image.shape[1:])
    return np.asarray(warp(torch.from_numpy(image)[None], field)[0].numpy())


def _mirrored(name: str, values: Any) -> Any:
    if not isinstance(values, np.ndarray):
        return values
    flipped = np.flip(values, axis=-1).copy()
    if name == "target_field":
        flipped[2] *= -1
    return flipped
