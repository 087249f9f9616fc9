"""Pairs from label maps, whose images are drawn, and from images, whose labels are estimated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.register.engine import cropped
from pipeline.register.learning.anatomy import NOT_SCORED, STRUCTURES, Structure
from tests.benchmarks.register.pairs import Made, Side, choose

#: Mean of each tissue on T2w, fluid at 1; rounded from the order of tissues at 3 T.
T2 = {
    "white matter": 0.36,
    "cortex": 0.56,
    "fluid": 1.0,
    "cerebellar white matter": 0.38,
    "cerebellar cortex": 0.56,
    "thalamus": 0.46,
    "striatum": 0.50,
    "pallidum": 0.34,
    "limbic": 0.58,
    "brain stem": 0.42,
}
#: Spread of a structure's mean, of its texture, of the bias field's logarithm and of the noise.
MEAN, TEXTURE, BIAS, NOISE = 0.04, 0.03, 0.06, 0.02
#: Blur of partial volume and of texture, voxels.
BLUR, GRAIN = 0.55, 1.5


def from_label_maps(
    paths: Sequence[Path], count: int, contrast: str, seed: int
) -> list[Callable[[], Made]]:
    """Makers of pairs of label maps with drawn images.

    Args:
        paths: label maps with FreeSurfer's numbers, one a subject.
        count: how many pairs.
        contrast: of the moving image, T1w or T2w; the fixed one is T1w.
        seed: of the drawing; each subject's image is the same in every pair.
    """

    def make(moving: int, fixed: int) -> Made:
        sides = [
            draw(images.read_labels(paths[index]), suffix, np.random.default_rng([seed, index]))
            for index, suffix in ((moving, contrast), (fixed, "T1w"))
        ]
        return _name(paths[moving], paths[fixed]), sides[0], sides[1], None

    return [partial(make, *pair) for pair in choose(len(paths), count)]


def from_images(paths: Sequence[Path], count: int) -> list[Callable[[], Made]]:
    """Makers of pairs of skull-stripped images, labelled by :func:`tissues`."""

    def make(moving: int, fixed: int) -> Made:
        read = [images.read_image(paths[index]) for index in (moving, fixed)]
        sides = [Side(image, tissues(image)) for image in read]
        return _name(paths[moving], paths[fixed]), sides[0], sides[1], None

    return [partial(make, *pair) for pair in choose(len(paths), count)]


def _name(moving: Path, fixed: Path) -> str:
    return "-".join(path.name.split(".")[0].split("_desc-")[0] for path in (moving, fixed))


def draw(labels: sitk.Image, suffix: str, rng: np.random.Generator) -> Side:
    """An image of a label map's brain in one contrast, and the labels that count.

    Structures get means near those of the contrast and a texture; partial volume, a bias field and
    noise follow. Small holes between structures belong to the brain and are dark.

    Raises:
        VoxelwayError: E-LABELS when the map has none of FreeSurfer's structures.
    """
    values = sitk.GetArrayFromImage(labels).astype(np.int32)
    known = np.isin(values, [s.value for s in STRUCTURES if s.value not in NOT_SCORED])
    if not known.any():
        raise VoxelwayError("E-LABELS", "The map has none of FreeSurfer's structures")
    labels = cropped(labels, images.like(known, labels))
    values = sitk.GetArrayFromImage(labels).astype(np.int32)
    kept = np.isin(values, [s.value for s in STRUCTURES if s.value not in NOT_SCORED])
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(kept, iterations=2))
    clean = np.zeros(values.shape, np.float32)
    for structure in STRUCTURES:
        mean = mean_of(structure, suffix) * (1 + MEAN * rng.standard_normal())
        clean[values == structure.value] = mean
    noisy = observed(clean, rng)
    # a voxel of the brain is above zero: that is how methods know the brain
    image = np.where(brain, np.maximum(noisy, 1e-3), 0.0).astype(np.float32)
    scored = np.where(kept, values, 0).astype(np.uint16)
    return Side(images.like(image, labels), images.like(scored, labels))


def mean_of(structure: Structure, suffix: str) -> float:
    """Mean of a structure on T1w or T2w."""
    return structure.t1 if suffix == "T1w" else T2[structure.tissue]


def observed(clean: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Texture, bias field, partial volume and noise on a clean image, (z, y, x)."""
    shape = clean.shape
    texture = ndimage.gaussian_filter(rng.standard_normal(shape).astype(np.float32), GRAIN)
    zoom = np.asarray(shape) / 4
    bias = ndimage.zoom(BIAS * rng.standard_normal((4, 4, 4)), zoom, order=3)
    image = clean * (1 + TEXTURE * texture / texture.std()) * np.exp(bias)
    image = ndimage.gaussian_filter(image, BLUR)
    noisy = image + NOISE * rng.standard_normal(shape)
    return np.asarray(noisy, dtype=np.float32)


def tissues(image: sitk.Image) -> sitk.Image:
    """Labels 1 to 3, dark to bright, of a skull-stripped image: a mixture of three Gaussians."""
    from sklearn.mixture import GaussianMixture

    values = images.array(image)
    inside = values > 0
    brain = values[inside][:, None]
    start = np.percentile(brain, [10, 45, 80])[:, None]
    mixture = GaussianMixture(3, random_state=0, means_init=start).fit(brain[::7])
    rank = np.argsort(np.argsort(mixture.means_[:, 0])) + 1
    labels = np.zeros(values.shape, np.uint8)
    labels[inside] = rank[mixture.predict(brain)]
    return images.like(labels, image)
