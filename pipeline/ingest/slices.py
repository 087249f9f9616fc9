"""The stored pixels of single slices, read by pydicom: what a converted image is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import VoxelwayError
from pipeline.ingest import mosaic
from pipeline.ingest.rewrite import read_whole
from pipeline.ingest.source import Source
from pipeline.quiet import quiet


def stored(source: Source, volume: int, number: int) -> NDArray[np.float64] | None:
    """Stored pixels of one slice, (rows, columns).

    Args:
        source: record of the index, its files no members of archives.
        volume: time point.
        number: slice in the order of the record's geometry.

    Returns:
        None where pydicom has no decoder for them.

    Raises:
        VoxelwayError: D-UNREADABLE when it has one, and can't decode them.
    """
    grid = source.geometry
    place = volume * grid.slices + number
    file, frame = source.planes[place] if source.planes else (place, 0)
    try:
        with quiet():
            dataset = read_whole(source.files[file].path)
            if not _decodable(dataset.file_meta.TransferSyntaxUID):
                return None
            pixels = _frame(dataset, frame)
    except Exception as error:
        what = f"The pixels of slice {number + 1} can't be decoded ({type(error).__name__})"
        raise VoxelwayError("D-UNREADABLE", what, hint="Export the series again") from error
    if pixels.shape != (grid.rows, grid.columns):
        pixels = mosaic.tile(pixels, frame, grid.rows, grid.columns)
    return np.asarray(pixels, dtype=np.float64)


def _decodable(syntax: Any) -> bool:
    from pydicom.pixels import get_decoder

    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _frame(dataset: Any, frame: int) -> Any:
    """One frame as it is stored, (rows, columns); a mosaic is one frame."""
    from pydicom.pixels import pixel_array

    many = int(dataset.get("NumberOfFrames") or 1) > 1
    return pixel_array(dataset, index=frame if many else 0, raw=True)
