"""Build a DICOM Segmentation of a label image on the series that it belongs to.

Positions decide, not indices: every pixel of every frame of the series asks the label image at its
own place in patient space (LPS mm), so that flips, permutations, gantry tilt and other lattices
come out right. DICOM PS3.3 A.51; highdicom (Bridge et al. 2022, J Digit Imaging 35:1719).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import __version__
from pipeline.errors import VoxelwayError
from pipeline.export import identity
from pipeline.export.series import Series, sample
from pipeline.labels import TISSUE, TISSUES, Label, color_of
from pipeline.quiet import quiet

#: Date and time of what was made under a pseudonym: none that tells of the patient.
NO_DATE, NO_TIME = "19000101", "000000"
#: Key of the hash that makes UIDs of segmentations under the patient's own identity.
OPEN_KEY = b"voxelway"


@dataclass(frozen=True)
class Origin:
    """What the object says about how it came about.

    Attributes:
        algorithm: name of the method that made the labels.
        series_number: number of the new series.
        description: of the new series.
    """

    algorithm: str
    series_number: int
    description: str


@dataclass(frozen=True)
class Built:
    """A segmentation dataset, with the voxels of each label on the series' lattice.

    ``present`` are its segments in the order of their numbers, from 1; ``references`` are the
    headers of the series as the object refers to them.
    """

    dataset: Any
    voxels: dict[str, int]
    coverage: float
    present: list[Label]
    references: list[Any]


def labels_present(labels: sitk.Image, names: Mapping[int, Label]) -> list[Label]:
    """The labels that occur, in the order of their indices.

    Args:
        labels: whole numbers, 0 is background.
        names: what is known about each index; others are named by their number.

    Raises:
        VoxelwayError: E-LABELS when there are none.
    """
    values = np.unique(sitk.GetArrayViewFromImage(labels))
    found = [int(value) for value in values if value != 0]
    if not found:
        what = "The label image is empty: there is nothing to export"
        raise VoxelwayError("E-LABELS", what, hint="Look at the segmentation on the QC page")
    return [names.get(index) or _unknown(index) for index in found]


def _unknown(index: int) -> Label:
    return Label(index, f"label {index}", color_of(index), TISSUE, TISSUE)


def known(table: Sequence[Label] | None = None) -> dict[int, Label]:
    """Labels by index: those of a dseg.tsv, else the tissues."""
    return {item.index: item for item in (TISSUES if table is None else table)}


def build(
    labels: sitk.Image,
    series: Series,
    names: Mapping[int, Label],
    origin: Origin,
    pseudonym: identity.Pseudonym | None,
) -> Built:
    """Segmentation of ``labels`` that refers to ``series``.

    Raises:
        VoxelwayError: E-LABELS when the labels are empty, E-DCM-SERIES when they lie outside the
            series or the series can't be referred to.
    """
    present = labels_present(labels, names)
    values, coverage = on_series(labels, series)
    present = [item for item in present if (values == item.index).any()]
    segments = np.zeros(int(max(item.index for item in present)) + 1, np.uint16)
    for number, item in enumerate(present, 1):
        segments[item.index] = number
    references = identity.references(series, pseudonym)
    dataset = _dataset(segments[values], present, references, origin, pseudonym)
    voxels = {item.name: int(np.count_nonzero(values == item.index)) for item in present}
    return Built(dataset, voxels, coverage, present, references)


def on_series(labels: sitk.Image, series: Series) -> tuple[NDArray[np.uint16], float]:
    """Labels at every pixel of the series, (frames, rows, columns), and the share of volume kept.

    Raises:
        VoxelwayError: E-DCM-SERIES when no labelled voxel lies inside the series.
    """
    values = sitk.GetArrayViewFromImage(labels).astype(np.uint16)
    matrix = _to_index(labels)
    found = np.stack([sample(values, matrix, plane) for plane in series.planes])
    voxel = _voxel(series)
    before = np.count_nonzero(values) * float(np.prod(labels.GetSpacing()))
    share = float(np.count_nonzero(found) * voxel / before) if before else 0.0
    if not found.any():
        what = (
            f"No labelled voxel lies inside the series: {len(series.planes)} frames of "
            f"{series.planes[0].rows} x {series.planes[0].columns} pixels"
        )
        hint = "Give the series that the labels were made on"
        raise VoxelwayError("E-DCM-SERIES", what, hint=hint)
    return found, share


def _to_index(image: sitk.Image) -> NDArray[np.float64]:
    """4x4 from LPS mm to voxel index (x, y, z)."""
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    matrix = np.eye(4)
    matrix[:3, :3] = direction * np.asarray(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return np.asarray(np.linalg.inv(matrix))


def _voxel(series: Series) -> float:
    """Volume in mm3 that one pixel stands for: its area times the distance of the planes."""
    first = series.planes[0]
    normal = np.cross(first.column_step, first.row_step)
    area = float(np.linalg.norm(normal))
    places = np.sort([float(plane.position @ normal) / area for plane in series.planes])
    distance = float(np.median(np.diff(places))) if len(places) > 1 else 1.0
    return area * distance


def _dataset(
    values: NDArray[np.uint16],
    present: Sequence[Label],
    references: Sequence[Any],
    origin: Origin,
    pseudonym: identity.Pseudonym | None,
) -> Any:
    from highdicom.seg import Segmentation

    key = pseudonym.key if pseudonym else OPEN_KEY
    source = references[0].SeriesInstanceUID
    content = hashlib.sha256(values.tobytes()).hexdigest()
    uid = identity.hashed_uid(key, f"seg:{source}:{content}:{__version__}:{origin}")
    dates = {"content_date": NO_DATE, "content_time": NO_TIME} if pseudonym else {}
    try:
        with quiet():
            dataset = Segmentation(
                source_images=references,
                pixel_array=values,
                segmentation_type="BINARY",
                segment_descriptions=_segments(present, origin),
                series_instance_uid=identity.hashed_uid(key, f"seg-series:{uid}"),
                series_number=origin.series_number,
                series_description=origin.description,
                sop_instance_uid=uid,
                instance_number=1,
                manufacturer="Voxelway",
                manufacturer_model_name="voxelway",
                software_versions=__version__,
                device_serial_number="0",
                content_label="SEGMENTATION",
                content_description=origin.description,
                **dates,
            )
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        what = f"The series can't carry a segmentation ({type(error).__name__})"
        hint = "The series lacks attributes that DICOM asks of an image; see the log"
        raise VoxelwayError("E-DCM-SERIES", what, hint=hint) from error
    _fix_uids(dataset, identity.hashed_uid(key, f"seg-dimensions:{uid}"))
    if pseudonym:
        mark_hidden(dataset)
    return dataset


def _fix_uids(dataset: Any, uid: str) -> None:
    """Put a UID from the content in place of the random one that names the dimensions."""
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def mark_hidden(dataset: Any) -> None:
    """Say that the patient's identity was removed, and take out when the object was made."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    dataset.InstanceCreationDate, dataset.InstanceCreationTime = NO_DATE, NO_TIME
    for item in dataset.get("ContributingEquipmentSequence", []):
        item.pop("ContributionDateTime", None)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Pseudonym and keyed UIDs; only the geometry was kept"
    code = Dataset()
    code.CodeValue = "113100"
    code.CodingSchemeDesignator = "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    dataset.DeidentificationMethodCodeSequence = Items([code])
    dataset.LongitudinalTemporalInformationModified = "REMOVED"


def _segments(present: Sequence[Label], origin: Origin) -> list[Any]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from highdicom.sr.coding import CodedConcept
    from pydicom.sr.codedict import Code, codes

    algorithm = AlgorithmIdentificationSequence(
        name=origin.algorithm, family=codes.cid7162.ClusterAnalysis, version=__version__
    )
    described = [
        SegmentDescription(
            segment_number=number,
            segment_label=item.name,
            segmented_property_category=Code(item.category[0], "SCT", item.category[1]),
            segmented_property_type=Code(item.snomed[0], item.scheme, item.snomed[1]),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            display_color=CIELabColor.from_rgb(*_rgb(item.color)),
        )
        for number, item in enumerate(present, 1)
    ]
    for item, description in zip(present, described, strict=True):
        if item.modifier is not None:
            # left or right, anterior or posterior: DICOM PS3.3 C.8.20.4.1, Table 10.30-1
            kind = description.SegmentedPropertyTypeCodeSequence[0]
            kind.SegmentedPropertyTypeModifierCodeSequence = [
                CodedConcept(item.modifier[0], "SCT", item.modifier[1])
            ]
    return described


def _rgb(color: str) -> tuple[int, int, int]:
    text = color.lstrip("#")
    return int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)
