"""Volumes of the segments as a structured report: TID 1500 on the segmentation and its series.

DICOM PS3.16 TID 1500 (Measurement Report) with a TID 1411 (Volumetric ROI) for each segment, as a
Comprehensive 3D SR (PS3.3 A.35.13); highdicom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import __version__, files
from pipeline.errors import VoxelwayError
from pipeline.export import identity
from pipeline.export.seg import NO_DATE, NO_TIME, OPEN_KEY, Built, Origin, mark_hidden
from pipeline.quiet import quiet

#: SOP class of the source series' segmentation.
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def of_labels(labels: sitk.Image, names: Mapping[int, str]) -> dict[str, float]:
    """Volume in mm3 of each label by name: its voxels times the volume of one.

    Args:
        labels: whole numbers.
        names: index → name of those that are wanted.
    """
    values, counts = np.unique(sitk.GetArrayViewFromImage(labels), return_counts=True)
    voxel = float(np.prod(labels.GetSpacing()))
    found = dict(zip(values.tolist(), counts.tolist(), strict=True))
    return {name: round(found.get(index, 0) * voxel, 3) for index, name in names.items()}


def of_table(path: Path) -> dict[str, float]:
    """Volume in mm3 of each label by name, as segmentation wrote it.

    Raises:
        VoxelwayError: E-LABELS without the columns name and mm3.
    """
    try:
        return {row["name"]: float(row["mm3"]) for row in files.read_tsv(path)}
    except (KeyError, ValueError) as error:
        what = "The columns name and mm3 (a number) are needed"
        raise VoxelwayError("E-LABELS", what, where=str(path)) from error


def report(
    built: Built,
    volumes: Mapping[str, float],
    origin: Origin,
    pseudonym: identity.Pseudonym | None,
) -> Any:
    """Structured report on the segments of a segmentation.

    Args:
        built: the segmentation that the report refers to, with the headers of its series.
        volumes: name → mm3; every segment needs one.
        origin: algorithm of the labels, number and description of the new series.
        pseudonym: as for the segmentation.

    Raises:
        VoxelwayError: E-LABELS when a segment has no volume.
    """
    from highdicom.sr import Comprehensive3DSR

    missing = [item.name for item in built.present if item.name not in volumes]
    if missing:
        raise VoxelwayError("E-LABELS", f"There is no volume of {', '.join(missing)}")
    key = pseudonym.key if pseudonym else OPEN_KEY
    told = [(item.name, volumes[item.name]) for item in built.present]
    segmentation = built.dataset
    uid = identity.hashed_uid(key, f"sr:{segmentation.SOPInstanceUID}:{told}:{origin}")
    with quiet():
        dataset = Comprehensive3DSR(
            evidence=[*built.references, segmentation],
            content=_content(built, volumes, origin, key),
            series_instance_uid=identity.hashed_uid(key, f"sr-series:{uid}"),
            series_number=origin.series_number,
            sop_instance_uid=uid,
            instance_number=1,
            manufacturer="Voxelway",
            manufacturer_model_name="voxelway",
            software_versions=__version__,
            device_serial_number="0",
            series_description=origin.description,
            is_complete=True,
            is_final=False,
            is_verified=False,
        )
    if pseudonym:
        dataset.ContentDate, dataset.ContentTime = NO_DATE, NO_TIME
        mark_hidden(dataset)
    return dataset


def _content(
    built: Built, volumes: Mapping[str, float], origin: Origin, key: bytes
) -> Sequence[Any]:
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
    )
    from pydicom.sr.codedict import codes

    device = DeviceObserverIdentifyingAttributes(
        uid=identity.hashed_uid(OPEN_KEY, f"device:voxelway:{__version__}"),
        name="Voxelway",
        manufacturer_name="Voxelway",
        model_name="voxelway",
    )
    observer = ObserverContext(
        observer_type=codes.DCM.Device, observer_identifying_attributes=device
    )
    groups = [
        _group(built, number, volumes[item.name], origin, key)
        for number, item in enumerate(built.present, 1)
    ]
    found: Sequence[Any] = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    return found


def _group(built: Built, number: int, mm3: float, origin: Origin, key: bytes) -> Any:
    """TID 1411 of one segment."""
    from highdicom.sr import (
        AlgorithmIdentification,
        Measurement,
        ReferencedSegment,
        SourceSeriesForSegmentation,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )
    from pydicom.sr.codedict import Code, codes

    label, segmentation = built.present[number - 1], built.dataset
    tracking = identity.hashed_uid(key, f"roi:{segmentation.SOPInstanceUID}:{number}")
    algorithm = AlgorithmIdentification(name=origin.algorithm, version=__version__)
    volume = Measurement(
        name=codes.SCT.Volume,
        value=mm3,
        unit=codes.UCUM.CubicMillimeter,
        method=codes.DCM.SumOfSegmentedVoxelMethodForVolume,
        algorithm_id=algorithm,
    )
    series = built.references[0].SeriesInstanceUID
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=tracking, identifier=label.name),
        referenced_segment=ReferencedSegment(
            sop_class_uid=SEGMENTATION,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=SourceSeriesForSegmentation(series),
        ),
        finding_category=Code(label.category[0], "SCT", label.category[1]),
        finding_type=Code(label.snomed[0], "SCT", label.snomed[1]),
        measurements=[volume],
    )
