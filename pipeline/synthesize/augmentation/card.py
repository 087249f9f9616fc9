"""What a generator's bundle says of itself, and its picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.segment.learning import cohort
from pipeline.synthesize.augmentation.kinds import ONE_SHOT, STAGE, Job, Made, Request, Sources
from pipeline.training import bundle
from pipeline.training.bundle import Score

#: Samples in the picture, at most.
SHOWN = 8

LIMITS = (
    "diagnosis, teaching, or any use as an image of a person",
    "the validation or the test of a method: made cases belong on the training side",
    "structures, lesions or scanners that the training cases do not show",
)
GUARDED = (
    "the guard against copies finds shifted, brighter or darker copies of training images; a copy "
    "that is bent by several voxels is not found"
)
OPEN = (
    "made cases are training cases in another shape and look: each is as confidential as the case "
    "that it was made from; the bundle itself holds no image"
)


def about(
    request: Request, job: Job, sources: Sources, scores: Mapping[str, Score], code: str
) -> bundle.About:
    """Of the bundle."""
    section = request.section
    name = str(section["generator"])
    entries = [*section["data"], *(section["scans"] if name == ONE_SHOT else [])]
    sets = {entry["name"]: entry["licence"] for entry in entries}
    if any(case.name.startswith(cohort.NAME + "/") for case in request.train):
        sets[cohort.NAME] = cohort.LICENCE
    trained_on = [case.digest for case in (*request.train, *request.scans)]
    return bundle.About(
        stage=STAGE,
        architectures=job.architectures,
        inputs={**sources.section, "labels": list(request.known), "trained_on": trained_on},
        outputs={"image": "a made image with its labels; never an acquired one"},
        subjects={
            "train": len({case.person for case in request.train}),
            "val": len({case.person for case in request.validation}),
        },
        data=[{"name": key, "licence": licence} for key, licence in sets.items()],
        code=code,
        scores=scores,
        title=f"Generated training cases ({name})",
        purpose=(
            "training cases of a segmenter beside real ones "
            "(`segment.learning.augmentation`), where labels are few."
        ),
        limits=(*LIMITS, OPEN if name == ONE_SHOT else GUARDED),
    )


def grid(request: Request, made: Sequence[Made]) -> bytes:
    """Middle planes of made cases with the borders of their labels, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = made[:SHOWN]
    figure = Figure(figsize=(1.6 * len(shown), 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, len(shown), squeeze=False)
    for column, one in enumerate(shown):
        for axis in range(3):
            place = axes[axis][column]
            middle = one.classes.shape[axis] // 2
            plane = np.take(one.image[0], middle, axis=axis)
            place.imshow(plane, cmap="gray", vmin=-1, vmax=1, origin="lower")
            labels = np.take(one.classes, middle, axis=axis)
            for number in range(1, len(request.known) + 1):
                if (labels == number).any() and not (labels == number).all():
                    place.contour(labels == number, levels=[0.5], linewidths=0.7,
                                  colors=f"C{number}")  # fmt: skip
            place.set_axis_off()
    figure.suptitle(f"made, not acquired: {request.section['generator']}", fontsize=9)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    return picture.getvalue()
