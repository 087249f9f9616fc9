"""The interactive viewer of a subject page: its volumes inside the page, its program beside it.

The volumes are small copies of the unit's images, all on one grid in the space of the anchor, so
that one cross-hair serves all: 8 bits a voxel, 2 mm or coarser, and so many that the page stays
small. They are for looking; numbers come from the images themselves. A volume that can't be made
costs itself only, and a unit whose later stages failed shows what the earlier ones left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.errors import from_exception
from pipeline.labels import BRAIN
from pipeline.paths import Results
from pipeline.register import transforms
from pipeline.register.fields import displacement
from pipeline.report import render, viewer_places
from pipeline.report.figures import paint
from pipeline.report.figures.geometry import mask_box, upright, whole_box
from pipeline.report.record import Record
from pipeline.report.sections.register import template_of
from pipeline.report.sections.segment import channels, entropy_path, labelling
from pipeline.report.sections.synthesize import missing
from pipeline.report.viewer_volumes import Volume, encode, lattice, sampled

#: Largest size of the volumes in a page, bytes of text; less where pictures leave less of a page.
LIMIT = 3_200_000
LEAST = 400_000
PAGE = 5_600_000
#: mm a voxel at best, and by how much coarser each further try is.
FINEST = 2.0
COARSER = 1.25
#: mm around the brain.
MARGIN = 10.0
#: |log2| of the Jacobian determinant at the ends of the scale.
FURTHEST = 2.0
#: Program of the viewer in the folder of the pages, one for all of them.
PROGRAM = "niivue.js"

Maker = Callable[[sitk.Image], Volume]


@dataclass(frozen=True)
class Source:
    """Images that the viewer can show.

    Attributes:
        reference: gives the grid.
        mask: the brain on the lattice of ``reference``, where one is known.
        images: suffix → file, with the transform from the reference's points to its own.
        synthetic: suffixes of images that were made.
    """

    reference: sitk.Image
    mask: sitk.Image | None
    images: dict[str, tuple[Path, sitk.Transform | None]]
    synthetic: tuple[str, ...] = ()


@dataclass(frozen=True)
class Viewer:
    """What the page needs: data for the script, mm a voxel, and what could not be made."""

    data: dict[str, Any]
    places: tuple[viewer_places.Place, ...]
    spacing: float
    notices: list[str] = field(default_factory=list)


def build(record: Record, taken: int = 0) -> Viewer | None:
    """Make the volumes of a unit; None when it has no image yet.

    Args:
        record: everything that was recorded about the unit.
        taken: bytes of the page that its pictures take.

    Raises:
        VoxelwayError: E-IMG-... when the image that gives the grid can't be read.
    """
    source = find(record)
    if source is None:
        return None
    notices: list[str] = []
    limit = max(LEAST, min(LIMIT, PAGE - taken))
    volumes, encoded = _fitting(_makers(record, source), source, limit, notices)
    if not volumes or not volumes[0].base:
        return None
    places = viewer_places.find(record, volumes)
    data = {"volumes": encoded, "places": [place.as_data() for place in places]}
    return Viewer(data, tuple(places), volumes[0].image.GetSpacing()[0], notices)


def write_program(results: Results) -> Path:
    """Write the viewer's program beside the pages, with its licence, where it does not stand."""
    licence = render.asset("vendor/niivue-licence.txt").replace("*/", "* /")
    path = results.cohort_page.with_name(PROGRAM)
    text = f"/*!\n{licence}*/\n{render.asset('vendor/niivue.js')}"
    files.write_text_if_changed(path, text)
    return path


def find(record: Record) -> Source | None:
    """Images of the latest stage that left some: on the common grid, aligned, or as acquired."""
    return _common(record) or _aligned(record) or _acquired(record)


def _common(record: Record) -> Source | None:
    found = channels(record) if record.ran("superres") else {}
    if not found:
        return None
    anchor = record.anchor if record.anchor in found else next(iter(found))
    place = record.results.image("superres", record.unit, "mask", desc="brain", space=record.anchor)
    mask = record.labels(place) if place.is_file() else None
    ordered = {anchor: found[anchor], **found}
    made = tuple(missing(record)) if record.ran("synthesize") else ()
    shown = {suffix: (path, None) for suffix, path in ordered.items()}
    return Source(record.image(found[anchor]), mask, dict(shown), made)


def _aligned(record: Record) -> Source | None:
    found = record.contrasts("preprocess", desc="preproc") if record.ran("preprocess") else {}
    if record.anchor not in found:
        return None
    mask = record.results.image("preprocess", record.unit, "mask", desc="brain")
    shown = {
        suffix: (found[suffix], record.moves(suffix)) for suffix in {record.anchor: 0, **found}
    }
    brain = record.labels(mask) if mask.is_file() else None
    return Source(record.image(found[record.anchor]), brain, shown)


def _acquired(record: Record) -> Source | None:
    found = record.contrasts("ingest")
    if not found:
        return None
    first = "T1w" if "T1w" in found else next(iter(found))
    shown: dict[str, tuple[Path, sitk.Transform | None]] = {
        suffix: (found[suffix], None) for suffix in {first: 0, **found}
    }
    return Source(record.image(found[first]), None, shown)


def _makers(record: Record, source: Source) -> list[tuple[str, Maker]]:
    """Name of each volume, and what makes it on a grid."""
    makers: list[tuple[str, Maker]] = [
        (suffix, partial(_image, record, source, suffix)) for suffix in source.images
    ]
    segmented = record.ran("segment")
    if source.mask is not None:
        makers.append(("brain mask", partial(_brain, source.mask)))
    if segmented:
        makers += [("labels", partial(_labels, record)), ("uncertainty", partial(_entropy, record))]
    for suffix in source.synthetic:
        makers.append((f"uncertainty of {suffix}", partial(_spread, record, suffix)))
    template = template_of(record) if record.ran("register") else ""
    if template and record.ran("superres"):
        backward = _backward(record, template)
        makers += [
            ("template", partial(_template, record, template, backward)),
            ("change of volume", partial(_change, record, source, template, backward)),
        ]
    return makers


def _fitting(
    makers: Sequence[tuple[str, Maker]], source: Source, limit: int, notices: list[str]
) -> tuple[list[Volume], list[dict[str, Any]]]:
    """Volumes as fine as the limit allows."""
    head = upright(source.reference)
    box = mask_box(upright(source.mask), MARGIN) if source.mask is not None else whole_box(head)
    spacing = max(FINEST, min(head.GetSpacing()))
    while True:
        notices.clear()
        volumes = _made(makers, lattice(head, box, spacing), notices)
        encoded = [encode(volume) for volume in volumes]
        if sum(len(one["data"]) for one in encoded) <= limit:
            return volumes, encoded
        spacing *= COARSER


def _made(
    makers: Sequence[tuple[str, Maker]], grid: sitk.Image, notices: list[str]
) -> list[Volume]:
    volumes = []
    for name, make in makers:
        try:
            volumes.append(make(grid))
        except Exception as error:  # one damaged file costs its own layer only
            coded = from_exception(error)
            notices.append(f"The viewer lacks {name}: {coded.message} ({coded.code})")
    return volumes


def _image(record: Record, source: Source, suffix: str, grid: sitk.Image) -> Volume:
    path, moves = source.images[suffix]
    image = sampled(record.image(path), grid, moves)
    brain = sampled(source.mask, grid, nearest=True) if source.mask is not None else None
    low, high = paint.window_of(image, brain)
    made = suffix in source.synthetic
    name = f"{suffix} (synthetic)" if made else suffix
    return Volume(suffix, name, "image", image, low, high, base=True, synthetic=made)


def _brain(mask: sitk.Image, grid: sitk.Image) -> Volume:
    image = sampled(sitk.Cast(mask != 0, sitk.sitkUInt8), grid, nearest=True)
    return Volume("brain", "brain mask", "labels", image, labels=(BRAIN,))


def _labels(record: Record, grid: sitk.Image) -> Volume:
    path = record.results.image("segment", record.unit, "dseg", space=record.anchor)
    image = sampled(record.labels(path), grid, nearest=True)
    present = set(np.unique(sitk.GetArrayViewFromImage(image)).tolist())
    names = tuple(label for label in labelling(path) if label.index in present)
    high = float(max((label.index for label in names), default=1))
    return Volume("labels", "labels", "labels", image, high=high, labels=names)


def _entropy(record: Record, grid: sitk.Image) -> Volume:
    return _amount("uncertainty", "uncertainty", record.image(entropy_path(record)), grid)


def _spread(record: Record, suffix: str, grid: sitk.Image) -> Volume:
    made = record.results.image("synthesize", record.unit, suffix, desc="synthsd",
                                space=record.anchor)  # fmt: skip
    return _amount(f"spread-{suffix}", f"uncertainty of {suffix}", record.image(made), grid)


def _amount(key: str, name: str, image: sitk.Image, grid: sitk.Image) -> Volume:
    small = sampled(image, grid)
    values = sitk.GetArrayViewFromImage(small)
    filled = values[values > 0]
    top = float(np.percentile(filled, 99.8)) if filled.size else 1.0
    return Volume(key, name, "amount", small, 0.0, top)


def _backward(record: Record, template: str) -> Callable[[], sitk.Transform]:
    """Map of the subject's points to the template's, read when it is first needed.

    As :func:`pipeline.register.fields.backward_transform`, without the warp that it does not use.
    """
    kept: list[sitk.Transform] = []

    def give() -> sitk.Transform:
        if not kept:
            where = transforms.unit_paths(record.results, record.unit, record.anchor, template)
            inverse = displacement(record.field(where.inverse_warp))
            affine = transforms.read_affine(record.task.use(where.affine))
            kept.append(sitk.CompositeTransform([inverse, affine.GetInverse()]))
        return kept[0]

    return give


def _template(
    record: Record, template: str, backward: Callable[[], sitk.Transform], grid: sitk.Image
) -> Volume:
    folder = record.results.model("register", template)
    image = record.template_image(folder, "T1w.nii.gz")
    brain = record.template_image(folder, "brain_mask.nii.gz")
    low, high = paint.window_of(image, brain)
    moved = sampled(image, grid, backward())
    return Volume("template", "template", "image", moved, low, high)


def _change(
    record: Record,
    source: Source,
    template: str,
    backward: Callable[[], sitk.Transform],
    grid: sitk.Image,
) -> Volume:
    """log2 of the Jacobian determinant in the subject's brain, 0 elsewhere."""
    path = record.results.image("register", record.unit, record.anchor, desc="jacobian",
                                space=template)  # fmt: skip
    small = images.array(sampled(record.image(path), grid, backward(), outside=1.0))
    log = np.log2(np.maximum(small, 2.0**-FURTHEST))
    if source.mask is not None:
        log *= images.bool_array(sampled(source.mask, grid, nearest=True))
    image = images.like(log.astype(np.float32), grid)
    return Volume("change", "change of volume", "change", image, -FURTHEST, FURTHEST)
