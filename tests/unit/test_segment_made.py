"""Lesions that a made contrast loses or invents, and that nothing made is exported."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import config, files, images
from pipeline.errors import VoxelwayError
from pipeline.export import stage as export
from pipeline.paths import sidecar
from pipeline.segment import fine, made
from pipeline.segment.case import TISSUES, Case

SPACING = (1.0, 1.0, 1.0)
SHAPE = (32, 32, 32)


def ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"))
    return np.sqrt(((grid - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(0)) <= radius


def test_a_lesion_that_is_lost_and_one_that_is_invented() -> None:
    reference = np.zeros(SHAPE, bool)
    reference[2:4, 2:4, 2:5] = True  # 12 voxels that only the reference has
    reference[20:24, 20:24, 20:24] = True
    other = np.zeros(SHAPE, bool)
    other[21:23, 20:24, 20:26] = True  # the same lesion, of another shape
    other[10, 10, 10:15] = True  # 5 voxels that only the other has
    found = made.compare(reference, other, (2.0, 1.0, 1.0))
    assert found.lost == pytest.approx((0.024,))
    assert found.invented == pytest.approx((0.010,))
    assert found.reference == pytest.approx(0.152) and found.made == pytest.approx(0.106)


def test_nearby_counts_as_the_same_and_far_away_does_not() -> None:
    one, two = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    one[5, 5, 5], two[5, 5, 7] = True, True
    assert made.compare(one, two, SPACING).lost == ()
    # the same two voxels in thick ones
    assert made.compare(one, two, (3.0, 1.0, 1.0)).lost == pytest.approx((0.003,))


def test_no_lesion_on_either_side() -> None:
    none = np.zeros(SHAPE, bool)
    assert made.compare(none, none, SPACING) == made.Difference((), (), 0.0, 0.0)


def image(values: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(values.astype(np.float32))


def head(lesions: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """T1w and FLAIR of fluid inside white inside grey matter, and the tissues' labels."""
    tissue = np.where(ball((16, 16, 16), 14), 2, 0)
    tissue = np.where(ball((16, 16, 16), 11), 3, tissue)
    tissue = np.where(ball((16, 22, 10), 2), 1, tissue)
    rng = np.random.default_rng(0)
    t1w = np.take([0.0, 0.2, 0.6, 1.0], tissue) + rng.normal(0, 0.01, SHAPE)
    flair = np.take([0.0, 0.1, 0.6, 0.5], tissue) + rng.normal(0, 0.01, SHAPE)
    return {"T1w": t1w, "FLAIR": np.where(lesions, 1.2, flair)}, tissue


@pytest.mark.parametrize(
    ("lesions_of_made", "judged", "lost", "invented"),
    [
        (ball((16, 16, 21), 4), True, 0, 0),
        (np.zeros(SHAPE, bool), True, 1, 0),
        (ball((16, 16, 21), 4) | ball((13, 10, 12), 3.5), True, 0, 1),
        (ball((16, 16, 21), 4), False, 0, 1),
    ],
)
def test_the_lesion_step_compares_made_with_acquired(
    lesions_of_made: np.ndarray, judged: bool, lost: int, invented: int
) -> None:
    acquired, tissue = head(ball((16, 16, 21), 4))
    other = image(head(lesions_of_made)[0]["FLAIR"])
    given = {"T1w": image(acquired["T1w"]), "FLAIR": image(acquired["FLAIR"])}
    if not judged:
        given["FLAIR"] = other
    shares = {name: image(np.where(tissue == k, 1.0, 0.0)) for k, name in enumerate(TISSUES, 1)}
    case = Case(
        given, images.like(tissue > 0, given["T1w"]), shares, {},
        frozenset() if judged else frozenset({"FLAIR"}), {"FLAIR": other} if judged else {},
    )  # fmt: skip
    settings = fine.lesion_settings(config.section("segment", {"lesion": {"find": True}}))
    stack = np.stack([images.array(shares[name]) for name in TISSUES])
    found = fine.with_lesions(case, stack, settings)
    entries = cast(list[dict[str, Any]], found.facts["LesionsOfMade"])
    assert [(item["Lost"], item["Invented"]) for item in entries] == [(lost, invented)]
    assert entries[0]["Against"] == ("acquired" if judged else "without")
    told = made.warnings(entries)
    assert bool(told) == bool(lost or invented)
    # what is labelled rests on acquired contrasts alone
    assert (images.array(found.labels) == 4).any() == judged


def test_words_of_the_flag() -> None:
    entry = {"Suffix": "FLAIR", "Against": "acquired", "Lost": 2, "LostMl": 1.234,
             "Invented": 1, "InventedMl": 0.1}  # fmt: skip
    (text,) = made.warnings([entry])
    assert text == (
        "The made FLAIR loses 2 lesions (1.2 ml) and invents 1 lesion (0.1 ml) "
        "against the acquired one"
    )
    assert made.warnings(None) == []


def test_what_was_made_is_not_exported(tmp_path: Path) -> None:
    path = tmp_path / "sub-1_desc-synth_T2w.nii.gz"
    images.write_image(sitk.Cast(image(np.ones(SHAPE)), sitk.sitkUInt16), path)
    files.write_json(sidecar(path), {"Synthetic": True})
    row = {"labels": str(path), "series": str(tmp_path), "output": str(tmp_path / "o.dcm")}
    with pytest.raises(VoxelwayError) as error:
        export.run_file(cast(Any, SimpleNamespace()), {}, row)
    assert error.value.code == "E-IMG-MODALITY"
    files.write_json(sidecar(path), {"Synthetic": False})
    export.refuse_made(path)
