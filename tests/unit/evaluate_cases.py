"""One made-up unit with its truth, and results whose errors are known in advance."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import config, files, images, runner, status
from pipeline.errors import Exit
from pipeline.evaluate import stage
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
