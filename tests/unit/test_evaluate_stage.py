"""The stage on a made-up unit whose errors are known in advance."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import config, files, images, runner, status
from pipeline.cli import main
from pipeline.errors import Exit, VoxelwayError
from pipeline.evaluate import of_labels, stage
from pipeline.evaluate.quality import efc
from pipeline.evaluate.registration import points_in
from pipeline.evaluate.registry import MEASURES
from pipeline.ingest import identity
from pipeline.paths import Results, Unit, sidecar

TEMPLATE = "MNI152NLin2009aSym"
T1W = np.array([0.05, 0.2, 0.6, 0.9, 0.5, 0.3])
T2W = np.array([0.05, 0.9, 0.5, 0.3, 0.7, 0.8])
SIGMA = 0.02


def anatomy() -> sitk.Image:
    """Nested balls: CSF, GM, WM, in it a lesion; 3 mm, axes towards RAS, slightly oblique."""
    z, y, x = np.ogrid[:30, :32, :34]
    radius = np.sqrt((z - 15.0) ** 2 + (y - 16.0) ** 2 + (x - 17.0) ** 2)
    labels = np.select([radius < 6, radius < 9, radius < 11], [3, 2, 1], 0).astype(np.uint8)
    labels[13:16, 14:18, 15:18] = 4
    image = sitk.GetImageFromArray(labels)
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.1, 0.05, -0.05)
    ras = np.diag([-1.0, -1.0, 1.0])
    image.SetDirection((np.asarray(turn.GetMatrix()).reshape(3, 3) @ ras).ravel().tolist())
    image.SetSpacing((3, 3, 3))
    image.SetOrigin((40.0, 45.0, -50.0))
    return image


def true_rigid() -> sitk.Euler3DTransform:
    """T1w points to T2w points."""
    transform = sitk.Euler3DTransform((0.0, 0.0, 0.0))
    transform.SetRotation(0.02, 0.0, 0.03)
    transform.SetTranslation((2.0, -1.0, 3.0))
    return transform


def painted(labels: sitk.Image, palette: np.ndarray) -> sitk.Image:
    values = palette[sitk.GetArrayFromImage(labels)].astype(np.float32)
    # a smooth texture: no tissue is flat
    grid = np.indices(values.shape).sum(axis=0)
    return images.like((values + 0.02 * np.sin(grid / 3)).astype(np.float32), labels)


def plus_noise(image: sitk.Image, sigma: float, seed: int = 0) -> sitk.Image:
    values = images.array(image)
    noise = np.random.default_rng(seed).normal(0, sigma, values.shape)
    return images.like((values + noise).astype(np.float32), image)


def lps(image: sitk.Image) -> sitk.Image:
    return sitk.DICOMOrient(image, "LPS")


class Cohort:
    """Writes one unit's truth and results, with errors of known size."""

    def __init__(self, root: Path, patient: str = "Patient 7") -> None:
        self.truth = root / "truth"
        self.results = Results(root / "results")
        key = identity.make_key(self.results)
        self.unit = Unit(identity.pseudonym(key, patient), "01")
        rows = [
            {"patient_id": "Other", "folder": "P002"},
            {"patient_id": patient, "folder": "P001"},
        ]
        files.write_tsv(self.truth / "participants.tsv", ("patient_id", "folder"), rows)
        (self.truth / "P002").mkdir()
        self.labels = anatomy()
        self.thick = images.spaced_grid(self.labels, (3.0, 3.0, 6.0))
        self.native = {"T1w": painted(self.labels, T1W), "T2w": self._native_t2w()}
        self._write_truth()

    def _native_t2w(self) -> sitk.Image:
        back = true_rigid().GetInverse()
        return images.resample(painted(self.labels, T2W), self.thick, back, order=1)

    def _write_truth(self) -> None:
        folder = self.truth / "P001"
        for suffix, palette in (("T1w", T1W), ("T2w", T2W)):
            images.write_image(painted(self.labels, palette), folder / f"{suffix}.nii.gz")
            images.write_image(self.native[suffix], folder / f"native_{suffix}.nii.gz")
        images.write_image(self.labels, folder / "dseg.nii.gz")
        images.write_image(self.labels > 0, folder / "brain_mask.nii.gz")
        sitk.WriteTransform(true_rigid(), str(folder / "T2w_to_T1w.mat"))
        images.write_image(self.field((5.0, 0.0, 0.0)), folder / "field.nii.gz")

    def template(self) -> sitk.Image:
        values = np.zeros((12, 13, 14), dtype=np.uint8)
        values[3:9, 3:9, 3:9] = 1
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((4, 4, 4))
        image.SetOrigin((-44.0, -30.0, -30.0))
        return image

    def field(self, shift: tuple[float, float, float]) -> sitk.Image:
        values = np.tile(np.asarray(shift), (12, 13, 14, 1))
        image = sitk.GetImageFromArray(values, isVector=True)
        image.CopyInformation(self.template())
        return image

    def ok(self, *stages: str, seconds: float = 1.5) -> None:
        for name in stages:
            outcome = status.Status(
                self.unit.subject, self.unit.session, name, "ok", seconds=seconds
            )
            status.write(self.results, self.unit, outcome)

    def image(self, stage_name: str, image: sitk.Image, suffix: str, **entities: str) -> Path:
        path = self.results.image(stage_name, self.unit, suffix, **entities)
        images.write_image(image, path)
        return path

    def restored(self) -> None:
        """Ingest, preprocess and denoise: noise, and a quarter of it left, on a changed scale."""
        for suffix in ("T1w", "T2w"):
            noisy = plus_noise(self.native[suffix], SIGMA)
            self.image("ingest", noisy, suffix)
            path = self.image("preprocess", lps(noisy) * 3.0, suffix, desc="preproc")
            files.write_json(sidecar(path), {"BiasFieldRange": [0.75, 1.25]})
            clean = plus_noise(self.native[suffix], SIGMA / 4)
            self.image("denoise", lps(clean) * 3.0 + 0.5, suffix, desc="denoised")
        mask = lps(sitk.Cast(self.labels > 0, sitk.sitkUInt8))
        path = self.image("preprocess", mask, "mask", desc="brain")
        files.write_json(sidecar(path), {"Anchor": "T1w"})
        thick = images.resample(mask, lps(self.thick), true_rigid().GetInverse(), labels=True)
        self.image("preprocess", thick, "mask", desc="brain", space="T2w")
        place = self.results.transform("preprocess", self.unit, "T2w", "T1w", extension=".mat")
        rigid = true_rigid()
        rigid.SetTranslation((np.asarray(rigid.GetTranslation()) + np.array((1, 0, 0))).tolist())
        sitk.WriteTransform(rigid, str(place))
        self.ok("ingest", "preprocess", "denoise")

    def isotropic(self) -> None:
        """Superres: the anchor left alone, T2w close to the truth; a made T2w that is noisier."""
        anchor = images.read_image(self.results.image("denoise", self.unit, "T1w", desc="denoised"))
        self.image("superres", anchor, "T1w", space="T1w", desc="superres")
        truth = lps(painted(self.labels, T2W))
        path = self.image("superres", plus_noise(truth, 0.01), "T2w", space="T1w", desc="superres")
        files.write_json(sidecar(path), {"ConsistencyRMSE": 0.0125})
        mask = lps(sitk.Cast(self.labels > 0, sitk.sitkUInt8))
        self.image("superres", mask, "mask", space="T1w", desc="brain")
        self.image("synthesize", plus_noise(truth, 0.03), "T2w", space="T1w", desc="synth")
        self.ok("superres", "synthesize")

    def labelled(self) -> None:
        """Segment: fine lacks one slab of the lesion, coarse has none and a false core."""
        true = sitk.GetArrayFromImage(lps(self.labels))
        fine, coarse = true.copy(), true.copy()
        rows = np.unique(np.argwhere(true == 4)[:, 0])
        part = np.zeros(true.shape, dtype=bool)
        part[rows[0]] = True
        fine[part & (true == 4)] = 3
        coarse[true == 4] = 3
        coarse[0, 0, 0] = 5
        grid = lps(self.labels)
        self.image("segment", images.like(fine, grid), "dseg", space="T1w")
        self.image("segment", images.like(coarse, grid), "dseg", space="T1w", desc="coarse")
        self.ok("segment")

    def registered(self) -> None:
        """Register: 0.5 mm off after the deformation, 2 mm after the affine."""
        grid, unit, place = self.template(), self.unit, self.results
        rng = np.random.default_rng(0)
        fixed = images.like(rng.random((12, 13, 14)).astype(np.float32), grid)
        folder = place.model("register", TEMPLATE)
        images.write_image(fixed, folder / "T1w.nii.gz")
        images.write_image(grid, folder / "brain_mask.nii.gz")
        for desc, noise in (("moved", 0.1), ("affine", 0.5)):
            self.image("register", plus_noise(fixed, noise), "T1w", space=TEMPLATE, desc=desc)
        jacobian = np.full((12, 13, 14), math.e, dtype=np.float32)
        jacobian[4, 4, 4] = -1
        path = images.like(jacobian, grid)
        self.image("register", path, "T1w", space=TEMPLATE, desc="jacobian")
        shift = sitk.TranslationTransform(3, (3.0, 0.0, 0.0))
        affine = place.transform("register", unit, "T1w", TEMPLATE, desc="affine", extension=".mat")
        sitk.WriteTransform(shift, str(affine))
        warp = place.transform("register", unit, "T1w", TEMPLATE, desc="warp", extension=".nii.gz")
        images.write_image(self.field((2.5, 0.0, 0.0)), warp)
        metrics = place.anat("register", unit) / f"{unit.name}_metrics.json"
        files.write_json(metrics, {"inverse_consistency_mean_mm": 0.25})
        self.ok("register", seconds=12.25)

    def everything(self) -> None:
        self.restored()
        self.isotropic()
        self.labelled()
        self.registered()

    def evaluate(self, **overrides: Any) -> status.Status:
        params = {**config.section("evaluate", {"truth": str(self.truth), **overrides}), "seed": 0}
        setup = runner.Setup(self.results, params, keep_going=True)
        assert runner.run_units(stage, [self.unit], setup) == Exit.DONE
        found = status.read(self.results, self.unit, "evaluate")
        assert found is not None
        return found

    def rows(self) -> dict[tuple[str, str, str], tuple[float, float | None]]:
        table = files.read_tsv(self.results.unit_metrics(self.unit))
        return {
            (row["stage"], row["metric"], row["label"]): (
                float(row["value"]),
                float(row["baseline"]) if row["baseline"] else None,
            )
            for row in table
        }


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


def run(*arguments: object) -> int:
    return main(["evaluate", *map(str, arguments)])


def test_file_form_of_labels(tmp_path: Path) -> None:
    reference = anatomy()
    values = sitk.GetArrayFromImage(reference)
    values[values == 4] = 3
    images.write_image(images.like(values, reference), tmp_path / "a.nii.gz")
    images.write_image(reference, tmp_path / "b.nii.gz")
    table = tmp_path / "dseg.tsv"
    files.write_tsv(table, ("index", "name"), [{"index": n, "name": f"L{n}"} for n in range(1, 6)])
    out = tmp_path / "out.json"
    assert run(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", out, "--labels", table) == 0
    content = json.loads(out.read_text())
    assert content["kind"] == "labels"
    assert content["labels"]["4"]["name"] == "L4"
    assert content["labels"]["4"]["dice"] == 0
    assert content["labels"]["4"]["hd95"] is None
    assert content["labels"]["5"]["dice"] is None
    assert content["labels"]["2"]["dice"] == 1
    dice = [content["labels"][key]["dice"] for key in "1234"]
    assert content["mean"]["dice"] == pytest.approx(np.mean(dice))
    assert content["units"]["hd95"] == "mm"
    assert content["mean"].keys() == {"dice", "jaccard", "sensitivity", "surface_dice"}
    jaccard = [content["labels"][key]["jaccard"] for key in "1234"]
    assert content["mean"]["jaccard"] == pytest.approx(np.mean(jaccard))
    # the lesion was called white matter: all labels together are right
    assert content["overall"]["dice"] == content["overall"]["surface_dice"] == 1
    assert content["overall"]["mhd"] == 0
    registered = {n for n, e in MEASURES.items() if e.family in ("overlap", "surface", "detection")}
    assert content["labels"]["4"].keys() == registered | {"name"}
    assert content["labels"]["4"]["lesions_missed"] == 1
    assert content["labels"]["4"]["lesion_precision"] is None
    assert run(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", out) == 0
    assert json.loads(out.read_text())["labels"].keys() == {"1", "2", "3", "4"}


def test_file_form_of_images(tmp_path: Path) -> None:
    reference = painted(anatomy(), T1W)
    images.write_image(reference, tmp_path / "b.nii.gz")
    images.write_image(plus_noise(reference, SIGMA) * 2.0 + 1.0, tmp_path / "a.nii.gz")
    out = tmp_path / "out.json"
    assert run(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", out) == 0
    content = json.loads(out.read_text())
    assert content["kind"] == "images"
    assert content["fit"]["gain"] == pytest.approx(0.5, rel=0.02)
    span = np.ptp(images.array(reference))
    expected = 20 * math.log10(span / SIGMA)
    assert content["measures"]["psnr"] == pytest.approx(expected, abs=0.2)
    assert content["measures_without_fit"]["psnr"] < 5
    registered = {name for name, entry in MEASURES.items() if entry.family == "similarity"}
    assert content["measures"].keys() == content["measures_without_fit"].keys() == registered
    assert 0.5 < content["measures"]["gms"] < 1
    alone = content["without_reference"]
    assert alone["predicted"].keys() == alone["reference"].keys() == {"efc", "fber", "qi1", "qi2"}
    assert alone["predicted"]["efc"] == pytest.approx(efc(images.array(images.read_image(
        tmp_path / "a.nii.gz"))))  # fmt: skip
    assert content["units"].keys() == registered | alone["predicted"].keys()
    assert run(tmp_path / "b.nii.gz", tmp_path / "b.nii.gz", out) == 0
    assert json.loads(out.read_text())["measures_without_fit"]["psnr"] is None


def test_whole_numbers_of_an_image_are_no_labels(tmp_path: Path) -> None:
    values = np.arange(1000, dtype=np.int16).reshape(10, 10, 10)
    images.write_image(sitk.GetImageFromArray(values), tmp_path / "a.nii.gz")
    out = tmp_path / "out.json"
    assert run(tmp_path / "a.nii.gz", tmp_path / "a.nii.gz", out) == 0
    assert json.loads(out.read_text())["kind"] == "images"
    limit = json.dumps({"max_labels": 2000})
    assert run(tmp_path / "a.nii.gz", tmp_path / "a.nii.gz", out, "--params", limit) == 0
    assert json.loads(out.read_text())["kind"] == "labels"


@pytest.mark.parametrize("palette", [None, T1W], ids=["labels", "images"])
def test_other_grids_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], palette: np.ndarray | None
) -> None:
    a = anatomy() if palette is None else painted(anatomy(), palette)
    b = sitk.Image(a)
    b.SetSpacing((3, 3, 4))
    images.write_image(a, tmp_path / "a.nii.gz")
    images.write_image(b, tmp_path / "b.nii.gz")
    out = tmp_path / "out.json"
    assert run(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", out) == Exit.REFUSED
    assert capsys.readouterr().err.startswith("E-IMG-GRID")
    assert not out.exists()


def test_file_form_takes_its_tolerance_from_the_parameters(tmp_path: Path) -> None:
    reference = anatomy()
    moved = np.roll(sitk.GetArrayFromImage(reference), 1, 2)
    images.write_image(images.like(moved, reference), tmp_path / "a.nii.gz")
    images.write_image(reference, tmp_path / "b.nii.gz")
    out, found = tmp_path / "out.json", []
    for tolerance in (2.9, 3.0):  # the voxels are 3 mm
        limit = json.dumps({"surface_tolerance": tolerance})
        files_given = (tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", out)
        assert run(*files_given, "--params", limit) == 0
        found.append(json.loads(out.read_text())["overall"]["surface_dice"])
    assert found[0] < found[1] == 1


def test_missing_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    assert run(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", out) == Exit.REFUSED
    assert capsys.readouterr().err.startswith("E-IMG-MISSING")
