"""A DICOM series as planes in space: classic single-frame files or an enhanced multi-frame one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError

from pipeline.errors import VoxelwayError, from_os_error
from pipeline.quiet import quiet

#: Two planes nearer than this, in mm, are at the same place.
SAME_PLACE = 1e-3


@dataclass(frozen=True)
class Plane:
    """One frame: LPS mm of its first pixel's centre, and of the steps to the next column and row.

    ``rows`` and ``columns`` are its size.
    """

    position: NDArray[np.float64]
    column_step: NDArray[np.float64]
    row_step: NDArray[np.float64]
    rows: int
    columns: int


@dataclass(frozen=True)
class Series:
    """Headers of one series and its planes, in the order of the files and their frames."""

    datasets: list[pydicom.Dataset]
    planes: list[Plane]

    @property
    def multiframe(self) -> bool:
        """Whether the series is one enhanced multi-frame file."""
        return "PerFrameFunctionalGroupsSequence" in self.datasets[0]


def files_of(folder: Path) -> list[Path]:
    """The files of a series' folder, sorted.

    Raises:
        VoxelwayError: E-DCM-FOLDER when there are none.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    if not found:
        hint = "Give the folder that holds the series' DICOM files"
        raise VoxelwayError("E-DCM-FOLDER", "The folder holds no file", hint=hint)
    return found


def read(paths: Iterable[Path], echo: float | None = None) -> Series:
    """Read the headers of one series; what is no DICOM image is passed over.

    Args:
        paths: files.
        echo: echo time in ms of the files that count; None takes all.

    Raises:
        VoxelwayError: E-DCM-NONE without an image; E-DCM-SERIES when there are several series, or
            the planes can't be told apart.
    """
    with quiet():
        datasets = [found for path in paths if (found := _header(path)) is not None]
    if echo is not None:
        datasets = [item for item in datasets if _has_echo(item, echo)]
    if not datasets:
        raise VoxelwayError("E-DCM-NONE", "None of the files holds a DICOM image")
    count = len({item.SeriesInstanceUID for item in datasets})
    if count > 1:
        hint = "Give a folder with the files of one series"
        raise VoxelwayError("E-DCM-SERIES", f"The files belong to {count} series", hint=hint)
    if len(datasets) > 1 and any("NumberOfFrames" in item for item in datasets):
        what = f"The series has {len(datasets)} files of several frames, one is supported"
        raise VoxelwayError("E-DCM-SERIES", what)
    planes = [plane for item in datasets for plane in _planes(item)]
    _check(planes)
    return Series(datasets, planes)


def _header(path: Path) -> pydicom.Dataset | None:
    try:
        found = pydicom.dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, EOFError, ValueError):
        return None
    except OSError as error:
        # the name of a source file may tell the patient's
        raise from_os_error(OSError(error.errno, error.strerror), "a source file") from error
    return found if "Rows" in found and "SeriesInstanceUID" in found else None


def _has_echo(dataset: pydicom.Dataset, echo: float) -> bool:
    value = dataset.get("EchoTime")
    return value is None or abs(float(value) - echo) < 0.05


def _planes(dataset: pydicom.Dataset) -> list[Plane]:
    try:
        if "PerFrameFunctionalGroupsSequence" not in dataset:
            return [_plane(dataset, dataset, dataset, dataset)]
        shared = dataset.SharedFunctionalGroupsSequence[0]
        return [
            _plane(
                dataset,
                frame.PlanePositionSequence[0],
                group(frame, shared, "PlaneOrientationSequence"),
                group(frame, shared, "PixelMeasuresSequence"),
            )
            for frame in dataset.PerFrameFunctionalGroupsSequence
        ]
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        what = "A frame does not tell its position, orientation or pixel spacing"
        raise VoxelwayError("E-DCM-SERIES", what, hint="Take a series of slices") from error


def group(frame: pydicom.Dataset, shared: pydicom.Dataset, keyword: str) -> pydicom.Dataset:
    """First item of a functional group, of the frame where it has one, else of all frames."""
    return (frame if keyword in frame else shared)[keyword][0]


def _plane(
    size: pydicom.Dataset,
    position: pydicom.Dataset,
    orientation: pydicom.Dataset,
    measures: pydicom.Dataset,
) -> Plane:
    along = np.asarray([float(value) for value in orientation.ImageOrientationPatient])
    between_rows, between_columns = (float(value) for value in measures.PixelSpacing)
    return Plane(
        np.asarray([float(value) for value in position.ImagePositionPatient]),
        along[:3] * between_columns,
        along[3:] * between_rows,
        int(size.Rows),
        int(size.Columns),
    )


def _check(planes: Sequence[Plane]) -> None:
    first = planes[0]
    for plane in planes[1:]:
        steps = np.stack([plane.column_step - first.column_step, plane.row_step - first.row_step])
        if np.abs(steps).max() > 1e-3 or (plane.rows, plane.columns) != (first.rows, first.columns):
            what = "The frames differ in orientation, size or pixel spacing"
            raise VoxelwayError("E-DCM-SERIES", what)
    normal = np.cross(first.column_step, first.row_step)
    normal /= np.linalg.norm(normal)
    places = np.sort([float(plane.position @ normal) for plane in planes])
    same = int(np.count_nonzero(np.diff(places) < SAME_PLACE))
    if same:
        what = f"{same} of {len(planes)} frames share a position, as several echoes or times do"
        raise VoxelwayError("E-DCM-SERIES", what, hint="Give the files of one volume")


def sample(labels: NDArray[Any], matrix: NDArray[np.float64], plane: Plane) -> NDArray[Any]:
    """Labels at the pixels of a plane, by position in space, nearest neighbour.

    Args:
        labels: (z, y, x).
        matrix: 4x4 from LPS mm to voxel index (x, y, z).
        plane: where to look.

    Returns:
        (rows, columns), 0 outside the label image.
    """
    turn = matrix[:3, :3]
    start = turn @ plane.position + matrix[:3, 3]
    rows = np.arange(plane.rows)[:, None, None] * (turn @ plane.row_step)
    columns = np.arange(plane.columns)[None, :, None] * (turn @ plane.column_step)
    # the small shift decides for the same neighbour everywhere when a pixel lies half-way
    index = np.floor(start + rows + columns + (0.5 + 1e-4)).astype(np.int64)
    size = np.asarray(labels.shape[::-1])
    inside: NDArray[np.bool_] = np.all((index >= 0) & (index < size), axis=-1)
    x, y, z = np.moveaxis(np.where(inside[..., None], index, 0), -1, 0)
    return np.asarray(np.where(inside, labels[z, y, x], labels.dtype.type(0)))
