"""Clean-up of labels: fragments and holes, as far as the configuration asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Labels = NDArray[np.uint16]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Cleanup:
    """What is cleaned.

    Attributes:
        components: ``none``; ``whole``, all labels together are kept where they are connected to
            the largest part; ``structures``, the same for each label by itself.
        keep: further parts stay that have this share of the largest one's voxels; 1 keeps the
            largest alone.
        holes: whether background that the labels enclose is filled.
    """

    components: str = "whole"
    keep: float = 0.1
    holes: bool = True

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Cleanup:
        """From the section ``segment.cascade.cleanup``."""
        return cls(str(params["components"]), float(params["keep"]), bool(params["holes"]))

    def __call__(self, labels: Labels) -> Labels:
        """Cleaned labels (Z, Y, X); fragments become background, or with ``structures`` and in
        holes what is nearest to them."""
        result = labels.copy()
        if self.components == "whole":
            result[(result > 0) & ~largest(result > 0, self.keep)] = 0
        if self.components == "structures":
            result = _nearest(result, _fragments(result, self.keep))
        if self.holes:
            result = _filled(result)
        return result


def largest(mask: Mask, keep: float = 1.0) -> Mask:
    """Parts, connected by faces, that have at least a share of the largest one's voxels."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    wanted = sizes >= keep * sizes.max()
    if keep >= 1:
        wanted = np.arange(len(sizes)) == sizes.argmax()
    wanted[0] = False
    return np.asarray(wanted[parts])


def _filled(labels: Labels) -> Labels:
    """Labels where background that they enclose takes the nearest one."""
    parts, count = ndimage.label(labels == 0)
    faces = [parts.take(end, axis) for axis in range(3) for end in (0, -1)]
    open_ = {int(part) for face in faces for part in np.unique(face)}
    boxes = ndimage.find_objects(parts) if count > len(open_ - {0}) else []
    result = labels.copy()
    for part, box in enumerate(boxes, start=1):
        if part not in open_:
            # what is nearest to a hole touches it
            wide = tuple(slice(edge.start - 1, edge.stop + 1) for edge in box)
            result[wide] = _nearest(result[wide], parts[wide] == part)
    return result


def _fragments(labels: Labels, keep: float) -> Mask:
    result = np.zeros(labels.shape, np.bool_)
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            own = labels[box] == index
            result[box] |= own & ~largest(own, keep)
    return result


def _nearest(labels: Labels, wrong: Mask) -> Labels:
    """Labels where those that are wrong take the nearest right one, background among them."""
    if not wrong.any():
        return labels
    box = ndimage.find_objects(wrong.astype(np.uint8))[0]
    wide = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)
    own, hidden = labels[wide], wrong[wide]
    if hidden.all():
        return labels
    place = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    result = labels.copy()
    result[wide] = own[tuple(place)]
    return result
