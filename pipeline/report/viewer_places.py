"""Places where the viewer opens and jumps to: the largest error, uncertainty, change of volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline.report.figures.geometry import place_of
from pipeline.report.record import Record
from pipeline.report.viewer_volumes import Volume, ras

#: Values are averaged over about this many mm, so that a single voxel does not draw the eye.
REGION = 4.0

#: Stage of a reason → places that show it, the first that there is.
_OF_STAGE: dict[str, tuple[str, ...]] = {
    "ingest": ("centre",),
    "preprocess": ("centre",),
    "denoise": ("centre",),
    "superres": ("centre",),
    "register": ("change", "centre"),
    "synthesize": ("spread", "centre"),
    "segment": ("uncertainty", "centre"),
    "segment-tissues": ("lesion", "uncertainty", "centre"),
}


@dataclass(frozen=True)
class Place:
    """A place to look at.

    Attributes:
        key: its name in the page's data.
        name: its name for people.
        mm: the point, RAS.
        layer: key of the volume that is laid over there; empty for none.
        base: key of the volume that it is seen on; empty for the first.
    """

    key: str
    name: str
    mm: tuple[float, float, float]
    layer: str = ""
    base: str = ""

    def as_data(self) -> dict[str, Any]:
        """For the page's data."""
        return asdict(self)


def find(record: Record, volumes: Sequence[Volume]) -> list[Place]:
    """Places of a unit, the one where the viewer opens first.

    That is the largest error against a reference where evaluate told one (``LargestError`` in the
    sidecar of its table: a point in LPS mm of the anchor's space), then the largest uncertainty.
    """
    known = {volume.key: volume for volume in volumes}
    found = [_error(record, known), _uncertain(known), _lesion(known), _change(known)]
    found += [_spread(known), _centre(volumes)]
    return [place for place in found if place is not None]


def of_reason(anchor: str, places: Sequence[Place]) -> str:
    """Key of the place that shows a reason of the verdict; empty when there is none."""
    keys = {place.key for place in places}
    wanted = _OF_STAGE.get(anchor, _OF_STAGE.get(anchor.split("-")[0], ()))
    return next((key for key in wanted if key in keys), "")


def _error(record: Record, known: Mapping[str, Volume]) -> Place | None:
    point = record.facts(record.results.unit_metrics(record.unit)).get("LargestError")
    if not isinstance(point, list) or len(point) != 3:
        return None
    layer = "labels" if "labels" in known else ""
    return Place("error", "largest error", ras([float(value) for value in point]), layer)


def _uncertain(known: Mapping[str, Volume]) -> Place | None:
    return _strongest(known.get("uncertainty"), "uncertainty", "most uncertain")


def _spread(known: Mapping[str, Volume]) -> Place | None:
    for key, volume in known.items():
        if key.startswith("spread-"):
            base = key.removeprefix("spread-")
            return _strongest(volume, "spread", f"{base} least certain", base=base)
    return None


def _change(known: Mapping[str, Volume]) -> Place | None:
    return _strongest(known.get("change"), "change", "largest change of volume")


def _strongest(volume: Volume | None, key: str, name: str, base: str = "") -> Place | None:
    """Where a map is largest regionally, of either sign."""
    if volume is None:
        return None
    image = sitk.Abs(sitk.Cast(volume.image, sitk.sitkFloat32))
    around = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(image, REGION))
    if float(around.max()) <= 0:
        return None
    index = np.unravel_index(int(around.argmax()), around.shape)[::-1]
    point = volume.image.TransformIndexToPhysicalPoint([int(n) for n in index])
    return Place(key, name, ras(point), volume.key, base)


def _lesion(known: Mapping[str, Volume]) -> Place | None:
    volume = known.get("labels")
    if volume is None:
        return None
    wanted = [label.index for label in volume.labels if "lesion" in label.name]
    chosen = np.isin(sitk.GetArrayViewFromImage(volume.image), wanted)
    return _middle(chosen, volume, "lesion", "lesion", "labels")


def _centre(volumes: Sequence[Volume]) -> Place | None:
    mask = next((volume for volume in volumes if volume.key == "brain"), None)
    if mask is not None:
        chosen = sitk.GetArrayViewFromImage(mask.image) != 0
        return _middle(chosen, mask, "centre", "middle of the brain", "brain")
    return _middle(np.ones(volumes[0].image.GetSize()[::-1], dtype=bool), volumes[0],
                   "centre", "middle of the image", "")  # fmt: skip


def _middle(
    chosen: NDArray[np.bool_], volume: Volume, key: str, name: str, layer: str
) -> Place | None:
    place = place_of(chosen, volume.image)
    if place is None:
        return None
    axes = np.asarray(volume.image.GetDirection()).reshape(3, 3)
    point = np.asarray(volume.image.GetOrigin()) + axes @ np.asarray(place)
    return Place(key, name, ras(point.tolist()), layer)
