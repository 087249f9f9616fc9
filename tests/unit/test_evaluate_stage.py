"""The stage on a made-up unit whose errors are known in advance."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images, status
from pipeline.errors import VoxelwayError
from pipeline.evaluate import of_labels, stage
from pipeline.evaluate.registration import points_in
from pipeline.paths import sidecar

from .evaluate_cases import SIGMA, Cohort, lps, true_rigid


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    cohort = Cohort(tmp_path_factory.mktemp("judged"))
    cohort.everything()
    outcome = cohort.evaluate()
    assert (outcome.status, outcome.message) == ("ok", "")
    return cohort


@pytest.mark.parametrize("suffix", ["T1w", "T2w"])
def test_denoise_a_quarter_of_the_noise_is_twelve_decibels(judged: Cohort, suffix: str) -> None:
    value, baseline = judged.rows()["denoise", "psnr", suffix]
    assert baseline is not None
    assert value - baseline == pytest.approx(20 * math.log10(4), abs=0.05)
    value, baseline = judged.rows()["denoise", "ssim", suffix]
    assert baseline is not None
    assert baseline < value < 1
    value, baseline = judged.rows()["denoise", "noise_level", suffix]
    assert baseline is not None
    assert baseline > value


def test_psnr_of_the_input_is_that_of_its_noise(judged: Cohort) -> None:
    inside = images.bool_array(judged.labels)
    span = np.ptp(images.array(judged.native["T1w"])[inside])
    found = judged.rows()["denoise", "psnr", "T1w"][1]
    assert found == pytest.approx(20 * math.log10(span / SIGMA), abs=0.2)


def test_denoise_raises_snr_and_lowers_joint_variation(judged: Cohort) -> None:
    rows = judged.rows()
    for metric, sign in (("snr", 1), ("cnr", 1), ("cjv", -1)):
        value, baseline = rows["denoise", metric, "T1w"]
        assert baseline is not None
        assert sign * (value - baseline) > 0


def test_preprocess_scaling_alone_changes_no_measure(judged: Cohort) -> None:
    for metric in ("snr", "cjv", "noise_level"):
        value, baseline = judged.rows()["preprocess", metric, "T1w"]
        assert value == pytest.approx(baseline, rel=1e-3)


def test_rigid_error_is_the_millimetre_that_was_added(judged: Cohort) -> None:
    value, baseline = judged.rows()["preprocess", "rigid_error", "T2w"]
    assert value == pytest.approx(1.0, abs=1e-4)
    points = points_in(judged.labels > 0)
    moved = np.array([true_rigid().TransformPoint(point.tolist()) for point in points])
    assert baseline == pytest.approx(np.linalg.norm(moved - points, axis=1).mean(), rel=1e-4)
    assert ("preprocess", "rigid_error", "T1w") not in judged.rows()


def test_brain_mask_against_the_true_one(judged: Cohort) -> None:
    rows = judged.rows()
    assert rows["preprocess", "dice", "brain"] == (1.0, None)
    assert rows["preprocess", "surface_dice", "brain"] == (1.0, None)
    assert rows["preprocess", "hd95", "brain"] == (0.0, None)
    voxels = np.count_nonzero(sitk.GetArrayViewFromImage(judged.labels))
    assert rows["preprocess", "volume", "brain"][0] == pytest.approx(voxels * 0.027, rel=1e-4)


def test_superres_beats_nearest_neighbour_and_skips_the_anchor(judged: Cohort) -> None:
    rows = judged.rows()
    value, baseline = rows["superres", "psnr", "T2w"]
    assert baseline is not None
    assert value > baseline + 5
    assert rows["superres", "psnr", "T1w"][1] is None
    assert rows["superres", "psnr", "T1w"][0] == pytest.approx(
        rows["denoise", "psnr", "T1w"][0], abs=0.3
    )
    assert rows["superres", "consistency_rmse", "T2w"] == (0.0125, None)


def test_synthesis_beside_its_source(judged: Cohort) -> None:
    value, baseline = judged.rows()["synthesize", "psnr", "T2w"]
    assert baseline is not None
    assert value == pytest.approx(20 * math.log10(0.64 / 0.03), abs=1.0)
    assert value > baseline


def test_labels_fine_beside_coarse(judged: Cohort) -> None:
    rows = judged.rows()
    whole, missed = 36, int(36 / 3)
    expected = 2 * (whole - missed) / (2 * whole - missed)
    assert rows["segment", "dice", "lesion"] == (pytest.approx(expected, rel=1e-5), 0.0)
    volume, coarse = rows["segment", "volume_error", "lesion"]
    assert volume == pytest.approx(-missed * 0.027)
    assert coarse == pytest.approx(-whole * 0.027)
    assert rows["segment", "hd95", "lesion"][1] is None
    assert rows["segment", "dice", "CSF"] == (1.0, 1.0)
    fine, baseline = rows["segment", "dice", "mean"]
    labels = ("CSF", "GM", "WM", "lesion")
    assert fine == pytest.approx(np.mean([rows["segment", "dice", n][0] for n in labels]), rel=1e-5)
    assert baseline is not None
    assert fine > baseline
    fine, baseline = rows["segment", "surface_dice", "mean"]
    labels = ("CSF", "GM", "WM", "lesion")
    shown = [rows["segment", "surface_dice", n] for n in labels]
    assert fine == pytest.approx(np.mean([value for value, _ in shown]), rel=1e-5)
    assert baseline == pytest.approx(np.mean([value for _, value in shown]), rel=1e-5)
    assert rows["segment", "surface_dice", "lesion"][1] == 0.0  # missed by coarse
    assert rows["segment", "sensitivity", "lesion"] == (pytest.approx(24 / 36, rel=1e-5), 0.0)
    assert rows["segment", "precision", "lesion"] == (1.0, None)
    # only coarse has the core, and no reference: nothing of it is defined for fine but its volume
    assert ("segment", "dice", "lesion-core") not in rows
    assert rows["segment", "volume", "lesion-core"] == (0.0, None)


def test_the_place_of_the_largest_error_is_in_what_was_missed(judged: Cohort) -> None:
    told = files.read_json(sidecar(judged.results.unit_metrics(judged.unit)))["LargestError"]
    true = lps(judged.labels)
    fine = images.read_labels(judged.results.image("segment", judged.unit, "dseg", space="T1w"))
    index = true.TransformPhysicalPointToIndex(told)
    assert (true[index], fine[index]) == (4, 3)


def test_the_place_of_the_largest_error_is_inside_the_thickest_region() -> None:
    wrong = np.zeros((9, 9, 20), dtype=bool)
    wrong[:, :, 1] = True  # a rim, larger but thin
    wrong[2:7, 2:7, 10:15] = True
    grid = images.like(wrong.astype(np.uint8), sitk.Image(20, 9, 9, sitk.sitkUInt8))
    grid.SetSpacing((2.0, 2.0, 2.0))
    grid.SetOrigin((100.0, 0.0, -50.0))
    # three voxels from the ends along each axis
    assert of_labels.largest_error(wrong, grid) == (124.0, 8.0, -42.0)
    assert of_labels.largest_error(np.zeros_like(wrong), grid) is None


def test_range_of_the_bias_field_is_that_of_the_sidecar(judged: Cohort) -> None:
    assert judged.rows()["preprocess", "bias_p01", "T2w"] == (0.75, None)
    assert judged.rows()["preprocess", "bias_p99", "T1w"] == (1.25, None)


def test_lesions_one_by_one_fine_beside_coarse(judged: Cohort) -> None:
    rows = judged.rows()
    assert rows["segment", "lesion_sensitivity", "whole-lesion"] == (1.0, 0.0)
    assert rows["segment", "lesion_f1", "whole-lesion"] == (1.0, 0.0)
    assert rows["segment", "lesions_missed", "whole-lesion"] == (0.0, 1.0)
    # coarse has one false voxel of core
    assert rows["segment", "lesions_false", "whole-lesion"] == (0.0, 1.0)
    assert rows["segment", "lesion_precision", "whole-lesion"] == (1.0, 0.0)


def test_dice_of_registration_is_that_of_the_shifted_labels(judged: Cohort) -> None:
    # the true labels at the template's brain voxels, shifted as the fields of the fixture are
    points = points_in(judged.template())

    def looked_up(shift: float) -> np.ndarray:
        moved = (points + np.array((shift, 0.0, 0.0))).tolist()
        places = [judged.labels.TransformPhysicalPointToIndex(point) for point in moved]
        size = judged.labels.GetSize()
        inside = [all(0 <= i < n for i, n in zip(place, size, strict=True)) for place in places]
        pairs = zip(places, inside, strict=True)
        return np.array([judged.labels[place] if there else 0 for place, there in pairs])

    true, fine, affine = looked_up(5.0), looked_up(5.5), looked_up(3.0)
    rows = judged.rows()
    dice = []
    for index, name in ((1, "CSF"), (2, "GM"), (3, "WM"), (4, "lesion")):
        if (true == index).any():
            dice.append([
                2 * np.sum((found == index) & (true == index))
                / (np.sum(found == index) + np.sum(true == index))
                for found in (fine, affine)
            ])  # fmt: skip
            assert rows["register", "dice", name] == pytest.approx(tuple(dice[-1]), rel=1e-5)
    assert len(dice) > 1
    assert rows["register", "dice", "mean"] == pytest.approx(tuple(np.mean(dice, axis=0)), rel=1e-5)


def test_tolerance_and_share_are_those_of_the_configuration(cohort: Cohort) -> None:
    cohort.labelled()
    cohort.restored()
    assert cohort.evaluate(surface_tolerance=0.0, lesion_overlap=0.9).status == "ok"
    strict = cohort.rows()
    assert cohort.evaluate(surface_tolerance=10.0).status == "ok"
    loose = cohort.rows()
    assert strict["segment", "surface_dice", "lesion"][0] < 1
    assert loose["segment", "surface_dice", "lesion"][0] == 1
    # two of three slabs are no nine tenths
    assert strict["segment", "lesion_sensitivity", "whole-lesion"][0] == 0
    assert loose["segment", "lesion_sensitivity", "whole-lesion"][0] == 1


def test_registration_errors_are_those_put_in(judged: Cohort) -> None:
    rows = judged.rows()
    assert rows["register", "tre", ""] == (pytest.approx(0.5), pytest.approx(2.0))
    assert rows["register", "tre_p95", ""] == (pytest.approx(0.5), pytest.approx(2.0))
    assert rows["register", "folding", ""][0] == pytest.approx(100 / 216, rel=1e-4)
    assert rows["register", "sd_log_jacobian", ""][0] == pytest.approx(0, abs=1e-6)
    assert rows["register", "jacobian_min", ""] == (-1.0, None)
    assert rows["register", "jacobian_max", ""][0] == pytest.approx(math.e, rel=1e-5)
    mean = (215 * math.e - 1) / 216
    assert rows["register", "jacobian_mean", ""][0] == pytest.approx(mean, rel=1e-5)
    assert rows["register", "inverse_consistency", ""] == (0.25, None)
    value, baseline = rows["register", "ncc", ""]
    assert baseline is not None
    assert value > baseline
    assert rows["register", "seconds", ""] == (12.25, None)


def test_table_names_units_and_hides_the_patient(judged: Cohort) -> None:
    path = judged.results.unit_metrics(judged.unit)
    table = files.read_tsv(path)
    assert {row["unit"] for row in table if row["metric"] == "tre"} == {"mm"}
    assert {row["subject"] for row in table} == {judged.unit.subject}
    written = path.read_text() + sidecar(path).read_text()
    assert "Patient" not in written
    assert "P001" not in written
    facts = files.read_json(sidecar(path))
    assert facts["Truth"] is True
    assert facts["Units"]["psnr"] == "dB"


def test_two_runs_give_the_same_table(judged: Cohort) -> None:
    path = judged.results.unit_metrics(judged.unit)
    before = path.read_bytes()
    judged.evaluate()
    assert path.read_bytes() == before


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return Cohort(tmp_path)


def test_without_truth_only_what_needs_none(cohort: Cohort) -> None:
    cohort.everything()
    assert cohort.evaluate(truth="").status == "ok"
    rows = cohort.rows()
    metrics = {(name, metric) for name, metric, _ in rows}
    assert ("segment", "volume") in metrics
    assert ("register", "ncc") in metrics
    assert {("ingest", "efc"), ("ingest", "qi1"), ("ingest", "qi2")} <= metrics
    gone = {"tre", "rigid_error", "dice", "hd95", "surface_dice", "lesions_false", "lesion_f1"}
    assert not gone & {metric for _, metric in metrics}
    assert not {("denoise", "psnr"), ("superres", "psnr")} & metrics
    # the acquired T2w is the reference of the made one
    assert rows["synthesize", "psnr", "T2w"][0] > 20


def test_a_subject_that_the_truth_does_not_list_has_none(cohort: Cohort) -> None:
    cohort.everything()
    (cohort.truth / "participants.tsv").write_text("patient_id\tfolder\nOther\tP002\n")
    assert cohort.evaluate().status == "ok"
    assert not any(metric == "tre" for _, metric, _ in cohort.rows())


def test_a_subject_that_was_broken_on_purpose_has_no_truth(cohort: Cohort) -> None:
    cohort.restored()
    table = "patient_id\tfolder\tbroken\nPatient 7\tX001\ttruncated\n"
    (cohort.truth / "participants.tsv").write_text(table)
    assert cohort.evaluate().status == "ok"
    assert not any(metric == "rigid_error" for _, metric, _ in cohort.rows())


def test_stages_that_failed_have_no_rows_and_the_rest_is_judged(cohort: Cohort) -> None:
    cohort.everything()
    for name in ("superres", "register"):
        failed = status.Status(cohort.unit.subject, "01", name, "failed", "E-TOOL", "broken")
        status.write(cohort.results, cohort.unit, failed)
    assert cohort.evaluate().status == "ok"
    stages = {name for name, _, _ in cohort.rows()}
    assert stages == {"ingest", "preprocess", "denoise", "synthesize", "segment"}


def test_before_segment_there_are_no_tissues_but_noise(cohort: Cohort) -> None:
    cohort.restored()
    assert cohort.evaluate().status == "ok"
    rows = cohort.rows()
    assert ("denoise", "noise_level", "T2w") in rows
    assert not any(metric == "snr" for _, metric, _ in rows)


def test_nothing_at_all_gives_an_empty_table(cohort: Cohort) -> None:
    assert cohort.evaluate().status == "ok"
    assert cohort.rows() == {}


def test_an_image_left_as_it_was_has_no_baseline(cohort: Cohort) -> None:
    cohort.restored()
    preproc = cohort.results.image("preprocess", cohort.unit, "T1w", desc="preproc")
    cohort.image("denoise", images.read_image(preproc), "T1w", desc="denoised")
    assert cohort.evaluate().status == "ok"
    rows = cohort.rows()
    assert rows["denoise", "psnr", "T1w"][1] is None
    assert rows["denoise", "noise_level", "T1w"][1] is None
    assert rows["denoise", "psnr", "T2w"][1] is not None


def remove_field(cohort: Cohort) -> None:
    (cohort.truth / "P001/field.nii.gz").unlink()


def remove_folder(cohort: Cohort) -> None:
    (cohort.truth / "P001").rename(cohort.truth / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "code", "left"),
    [
        (remove_field, "E-TRUTH", ("segment", "dice", "mean")),
        (remove_folder, "E-TRUTH", ("segment", "volume", "GM")),
    ],
)
def test_what_cannot_be_judged_fails_the_unit_and_leaves_the_rest(
    cohort: Cohort,
    damage: Callable[[Cohort], None],
    code: str,
    left: tuple[str, str, str],
) -> None:
    cohort.everything()
    damage(cohort)
    outcome = cohort.evaluate()
    assert (outcome.status, outcome.code) == ("failed", code)
    assert "P001" not in outcome.message
    assert left in cohort.rows()
    assert (
        cohort.results.unit_metrics(cohort.unit).relative_to(cohort.results.root).as_posix()
        in outcome.outputs
    )


def test_labels_that_were_damaged_are_left_to_the_next_run(cohort: Cohort) -> None:
    """No status: segment has to run again, and evaluate after it; the rest is judged already."""
    cohort.everything()
    path = cohort.results.image("segment", cohort.unit, "dseg", space="T1w")
    files.write_json(sidecar(path), {"Sha256": {path.name: "0" * 64}})
    with pytest.raises(VoxelwayError, match=r"E-IMG-CHANGED.*the next run makes segment anew"):
        cohort.evaluate()
    assert ("denoise", "psnr", "T1w") in cohort.rows()
    for name in ("segment", "evaluate"):
        assert status.read(cohort.results, cohort.unit, name) is None


@pytest.mark.parametrize("content", [None, "name\nx\n"])
def test_a_truth_that_is_none_is_refused_at_once(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "truth"
    with pytest.raises(VoxelwayError) as caught:
        stage.prepare({"truth": str(folder)}, None)
    assert caught.value.code == "E-CONFIG-PATH"
    folder.mkdir()
    if content is not None:
        (folder / "participants.tsv").write_text(content)
    with pytest.raises(VoxelwayError) as caught:
        stage.prepare({"truth": str(folder)}, None)
    assert caught.value.code == "E-TRUTH"
