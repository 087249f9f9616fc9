"""Siemens mosaics: the slices of a volume laid out as tiles of one image.

The header places the whole image; where the tiles belong is told by the private CSA header alone,
which nibabel reads. Geometry as in Brett et al., "Siemens mosaic format" (nibabel documentation).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from pipeline.ingest.headers import Common, Frame

#: CSA Image Header Info of the block of SIEMENS CSA HEADER.
CSA = (0x0029, 0x1010)


def unfold(stream: BinaryIO, common: Common, whole: Frame) -> tuple[Common, tuple[Frame, ...]]:
    """The size of a tile, and a frame for each of them in the order of the slices.

    Args:
        stream: the file; it is read again for the private header.
        common: header of the whole image, ``rows`` and ``columns`` of all tiles together.
        whole: plane of the whole image.

    Returns:
        ``common`` with the size of one tile, and the planes in LPS mm. Without a private header
        that can be read, one frame without position, so that the gate refuses the series.
    """
    unknown = (dataclasses.replace(whole, position=None, orientation=None),)
    told = _csa(stream)
    if told is None or whole.position is None or whole.orientation is None or not whole.spacing:
        return common, unknown
    count, normal = told
    edge = math.ceil(math.sqrt(count))
    distance = common.slice_distance or common.thickness
    if not distance or common.rows % edge or common.columns % edge:
        return common, unknown
    rows, columns = common.rows // edge, common.columns // edge
    row, column = np.asarray(whole.orientation[:3]), np.asarray(whole.orientation[3:])
    # the position is that of an image of the mosaic's size around the centre of the tile
    corner = np.asarray(whole.position)
    corner = corner + row * whole.spacing[1] * (common.columns - columns) / 2
    corner = corner + column * whole.spacing[0] * (common.rows - rows) / 2
    frames = [
        dataclasses.replace(whole, position=_three(corner + normal * distance * n), index=n)
        for n in range(count)
    ]
    return dataclasses.replace(common, rows=rows, columns=columns), tuple(frames)


def tile(pixels: Any, number: int, rows: int, columns: int) -> Any:
    """The pixels of one slice, (rows, columns), of a mosaic."""
    across = pixels.shape[1] // columns
    top, left = rows * (number // across), columns * (number % across)
    return pixels[top : top + rows, left : left + columns]


def _csa(stream: BinaryIO) -> tuple[int, Any] | None:
    """Number of tiles and direction of the slices, LPS; None where they can't be read."""
    import pydicom
    from nibabel.nicom import csareader

    stream.seek(0)
    try:
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=[CSA])
        header = csareader.read(dataset[CSA].value)
        count = csareader.get_n_mosaic(header)
        normal = csareader.get_slice_normal(header)
    except Exception:
        # the block is private and may hold anything; without it the tiles have no place
        return None
    if not count or normal is None or abs(float(np.linalg.norm(normal)) - 1.0) > 0.01:
        return None
    return int(count), np.asarray(normal, dtype=np.float64)


def _three(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
