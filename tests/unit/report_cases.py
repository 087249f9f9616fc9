"""A made-up results folder, as the stages would write it, for tests of its pages."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import config, files, images, status
from pipeline.evaluate.table import Table
from pipeline.ingest import manifest
from pipeline.paths import STAGES, Results, Unit
from pipeline.register import transforms
from pipeline.register.fields import zero_field
from pipeline.task import UnitTask

TEMPLATE = "MNI152NLin2009aSym"
HOSTILE = "<script>alert('x')</script>"


def brain_maps(spacing: float) -> dict[str, sitk.Image]:
    """T1 and tissue maps of MNI152, cropped to the head by a scalp around the brain."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template
    from nilearn.datasets import load_mni152_wm_template as load_wm

    found = {}
    for name, load in (("T1", load_mni152_template), ("GM", load_mni152_gm_template),
                       ("WM", load_wm)):  # fmt: skip
        nifti = load(resolution=round(spacing))
        values = np.asarray(nifti.get_fdata(), dtype=np.float32).transpose(2, 1, 0)
        image = sitk.GetImageFromArray(values[:, ::-1, ::-1])
        image.SetSpacing([spacing] * 3)
        found[name] = image
    return found


class Fake:
    """Writes the files of every stage for one unit, through the task of that stage."""

    def __init__(self, root: Path, spacing: float) -> None:
        self.results = Results(root)
        self.maps = brain_maps(spacing)
        self.spacing = spacing
        brain = sitk.GetArrayFromImage(self.maps["T1"])
        self.t1 = brain / np.percentile(brain[brain > 0], 99)
        self.inside = self.t1 > 0.05
        self.grid = self.maps["T1"]
        gm, wm = (sitk.GetArrayFromImage(self.maps[name]) for name in ("GM", "WM"))
        labels = np.where(wm > 0.5, 3, np.where(gm > 0.4, 2, 1))
        self.labels = np.where(self.inside, labels, 0).astype(np.uint8)
        self._write_template()

    def _write_template(self) -> None:
        folder = self.results.model("register", TEMPLATE)
        images.write_image(self.grid, folder / "T1w.nii.gz")
        images.write_image(self._as(self.inside), folder / "brain_mask.nii.gz")
        images.write_image(self.maps["WM"], folder / "WM_probseg.nii.gz")

    def _as(self, values: Any) -> sitk.Image:
        return images.like(values, self.grid)

    def unit(self, unit: Unit, seed: int, *, upto: str = "export", lacks: str = "") -> None:
        """Everything that the stages before and with ``upto`` write; nothing when it is empty."""
        rng = np.random.default_rng(seed)
        self.scale = 1.0 + 0.1 * rng.standard_normal()
        for stage in STAGES[: STAGES.index(upto) + 1] if upto else ():
            if stage in ("evaluate", "report"):
                continue
            params = {**config.section(stage), "seed": 0}
            task = UnitTask(stage, params, "c0de", base=self.results.root, results=self.results,
                            unit=unit)  # fmt: skip
            getattr(self, stage)(task, rng, lacks)
            self._status(task, "ok")
        self._numbers(unit, rng)

    def _status(self, task: UnitTask, state: Any, code: str = "", message: str = "") -> None:
        unit = task.unit
        one = status.Status(unit.subject, unit.session, task.stage, state, code, message, 3.21,
                            list(task.warnings), dict(task.outputs))  # fmt: skip
        status.write(self.results, unit, one)

    def stop(self, unit: Unit, stage: str, code: str, message: str) -> None:
        """Let a stage fail and the later ones be skipped."""
        for later in STAGES[STAGES.index(stage) :]:
            if later == "report" or (later == "evaluate" and stage != "evaluate"):
                continue
            task = UnitTask(later, {}, results=self.results, unit=unit)
            if later == stage:
                self._status(task, "failed", code, message)
            else:
                why = f"Not run, because {stage} failed ({code})"
                self._status(task, "skipped", "E-UPSTREAM", why)

    def _noisy(self, suffix: str, rng: Any) -> sitk.Image:
        contrast = {"T1w": self.t1, "T2w": (1.2 - self.t1) * self.inside,
                    "FLAIR": (0.4 + 0.5 * self.t1) * self.inside}[suffix]  # fmt: skip
        noise = 0.04 * rng.standard_normal((2, *contrast.shape))
        return self._as(np.hypot(contrast + noise[0], noise[1]).astype(np.float32))

    def _native(self, image: sitk.Image, suffix: str) -> sitk.Image:
        if suffix == "T1w":
            return image
        thick = (self.spacing, self.spacing, 3 * self.spacing)
        return images.resample(image, images.spaced_grid(image, thick), order=1)

    def _contrasts(self, lacks: str) -> list[str]:
        return [suffix for suffix in ("T1w", "T2w", "FLAIR") if suffix != lacks]

    def ingest(self, task: UnitTask, rng: Any, lacks: str) -> None:
        zz = np.linspace(0.7, 1.3, self.t1.shape[0], dtype=np.float32)[:, None, None]
        for suffix in self._contrasts(lacks):
            image = self._noisy(suffix, rng) * 800.0 * self._as(zz * np.ones_like(self.t1))
            path = self.results.image("ingest", task.unit, suffix)
            task.write(self._native(image, suffix), path, SliceThickness=self.spacing,
                       MagneticFieldStrength=3, SeriesDescription=HOSTILE)  # fmt: skip

    def preprocess(self, task: UnitTask, rng: Any, lacks: str) -> None:
        place, unit = self.results, task.unit
        mask = self._as(self.inside)
        task.write(mask, place.image("preprocess", unit, "mask", desc="brain"), Anchor="T1w")
        for suffix in self._contrasts(lacks):
            image = self._native(self._noisy(suffix, rng), suffix)
            path = place.image("preprocess", unit, suffix, desc="preproc")
            task.write(image, path, Anchor="T1w", BiasFieldRange=[0.8, 1.2])
            if suffix != "T1w":
                own = images.resample(mask, image, labels=True)
                task.write(own, place.image("preprocess", unit, "mask", desc="brain", space=suffix))
                path = place.transform("preprocess", unit, suffix, "T1w", extension=".mat")
                turn = sitk.Euler3DTransform((90.0, 100.0, 70.0), 0, 0, 0, (0.5, 0, 0))
                sitk.WriteTransform(turn, str(path))
        task.warn(f"T2w may not be aligned with T1w: {HOSTILE}")

    def denoise(self, task: UnitTask, rng: Any, lacks: str) -> None:
        for suffix, path in task.contrasts("preprocess", desc="preproc").items():
            image = sitk.CurvatureFlow(task.read(path), 0.06, 3)
            out = self.results.image("denoise", task.unit, suffix, desc="denoised")
            task.write(image, out, NoiseSigma=0.04, NoiseSigmaAfter=0.01, NoiseModel="Rician")
            if suffix == "T1w":
                doubt = self.results.image("denoise", task.unit, suffix, desc="uncertainty")
                task.write(sitk.Abs(image) * 0.02, doubt)

    def superres(self, task: UnitTask, rng: Any, lacks: str) -> None:
        place, unit = self.results, task.unit
        mask = place.image("superres", unit, "mask", space="T1w", desc="brain")
        task.write(self._as(self.inside), mask, Anchor="T1w")
        for suffix, path in task.contrasts("denoise", desc="denoised").items():
            image = images.resample(task.read(path), self.grid)
            out = place.image("superres", unit, suffix, space="T1w", desc="superres")
            task.write(image, out, ConsistencyRMSE=0.004, ConsistencyRMSEPlain=0.0123)
            doubt = place.image("superres", unit, suffix, space="T1w", desc="uncertainty")
            task.write(sitk.Abs(image) * 0.01, doubt)

    def register(self, task: UnitTask, rng: Any, lacks: str) -> None:
        place, unit = self.results, task.unit
        head = place.image("superres", unit, "T1w", space="T1w", desc="superres")
        moved = images.array(task.read(head)) * self.inside
        shifted = sitk.TranslationTransform(3, (3.0, -2.0, 2.0))
        jac = np.exp(
            sitk.GetArrayFromImage(
                sitk.SmoothingRecursiveGaussian(
                    self._as(rng.standard_normal(self.t1.shape).astype(np.float32)), 8.0
                )
            )
            * 30
        )
        for desc, image in (("moved", self._as(moved)),
                            ("affine", images.resample(self._as(moved), self.grid, shifted)),
                            ("jacobian", self._as(jac.astype(np.float32)))):  # fmt: skip
            task.write(image, place.image("register", unit, "T1w", space=TEMPLATE, desc=desc))
        where = transforms.unit_paths(place, unit, "T1w", TEMPLATE)
        sitk.WriteTransform(sitk.AffineTransform(3), str(where.affine))
        task.describe(where.affine)
        for path in (where.warp, where.inverse_warp):
            task.write(zero_field(self.grid), path)

    def synthesize(self, task: UnitTask, rng: Any, lacks: str) -> None:
        if lacks:
            image = self._noisy(lacks, rng)
            path = self.results.image("synthesize", task.unit, lacks, space="T1w", desc="synth")
            task.write(image, path, Synthetic=True, SourceContrasts=["T1w", "T2w"])
            spread = path.with_name(path.name.replace("desc-synth_", "desc-synthsd_"))
            task.write(sitk.Abs(image) * 0.1, spread, Synthetic=True)

    def segment(self, task: UnitTask, rng: Any, lacks: str) -> None:
        place, unit = self.results, task.unit
        fine = self.labels.copy()
        middle = [n // 2 for n in fine.shape]
        block = tuple(slice(m - 3, m + 3) for m in middle)
        fine[block] = 4
        low = [4, 4, 4]
        size = [n - 8 for n in self.grid.GetSize()]
        facts = {"Box": {"Index": low, "Size": size}, "BoxTouched": False}
        task.write(self._as(fine), place.image("segment", unit, "dseg", space="T1w"), **facts)
        coarse = place.image("segment", unit, "dseg", space="T1w", desc="coarse")
        task.write(self._as(self.labels), coarse)
        edges = sitk.GradientMagnitude(sitk.Cast(self._as(fine), sitk.sitkFloat32))
        values = np.clip(images.array(edges) / 4, 0, 1)
        task.write(self._as(values), place.image("segment", unit, "entropy", space="T1w",
                                                 desc="entropy"))  # fmt: skip

    def export(self, task: UnitTask, rng: Any, lacks: str) -> None:
        path = self.results.dicom_seg(task.unit)
        files.write_text(path, "DICM")
        task.describe(path, Identity="pseudonym", SegmentVoxels={"CSF": 3, "GM": 4, "WM": 5})

    def _numbers(self, unit: Unit, rng: Any) -> None:
        table = Table(unit)

        def add(stage: str, metric: str, label: str, value: float, before: Any = None) -> None:
            if (found := status.read(self.results, unit, stage)) and found.status == "ok":
                table.add(stage, metric, label, value * (1 + 0.05 * rng.standard_normal()), before)

        add("preprocess", "volume", "brain", 1500.0)
        for suffix in ("T1w", "T2w"):
            add("ingest", "efc", suffix, 0.6)
            add("preprocess", "noise_level", suffix, 4.0, 4.2)
            add("preprocess", "snr", suffix, 12.0, 10.0)
            add("preprocess", "bias_p01", suffix, 0.8)
            add("preprocess", "bias_p99", suffix, 1.2)
            add("denoise", "noise_level", suffix, 1.0, 4.0)
            add("denoise", "psnr", suffix, 31.0, 27.0)
            add("denoise", "ssim", suffix, 0.9, 0.95)
            add("superres", "psnr", suffix, 30.0, 26.0)
        add("register", "ncc", "", 0.93, 0.8)
        add("register", "tre", "", 1.2, 3.4)
        for name, volume in (("CSF", 300.0), ("GM", 700.0), ("WM", 500.0), ("lesion", 4.0)):
            add("segment", "volume", name, volume)
            add("segment", "dice", name, 0.85, 0.7)
        path = self.results.unit_metrics(unit)
        table.write(path)
        task = UnitTask("evaluate", {**config.section("evaluate"), "seed": 0}, "c0de",
                        base=self.results.root, results=self.results, unit=unit)  # fmt: skip
        task.describe(path)
        self._status(task, "ok")


def manifest_row(unit: Unit, suffix: str) -> manifest.Row:
    return manifest.Row(unit.subject, unit.session, "0001", suffix, "MR", "Acme", 3.0, 64, 64, 40,
                        4.0, 4.0, 4.0, 4.0, 40, 64 * 64 * 40, "train", 0, "0")  # fmt: skip


def make(root: Path, spacing: float, count: int = 2) -> Results:
    """A cohort: ``count`` whole subjects (the second lacks FLAIR), one that failed early."""
    fake = Fake(root, spacing)
    units = [Unit(f"A{n:03d}", "01") for n in range(count + 1)]
    for n, unit in enumerate(units[:-1]):
        fake.unit(unit, n, lacks="FLAIR" if n % 2 else "")
    fake.unit(units[-1], 99, upto="ingest")
    what = "The mask holds 0 voxels, 0.0 ml. In sub-A. Look at the head."
    fake.stop(units[-1], "preprocess", "E-MASK-EMPTY", what)
    rows = [manifest_row(unit, s) for unit in units for s in ("FLAIR", "T1w", "T2w")]
    manifest.write_manifest(fake.results.manifest, rows)
    files.write_tsv(fake.results.quarantine, ("code", "message", "subject", "series", "files"), [
        {"code": "D-SLICES-MISSING", "message": f"3 of 40 {HOSTILE}", "subject": "B001",
         "series": "9f", "files": 37},
        {"code": "D-LOCALIZER", "message": "3 slices", "subject": "A000", "series": "8e",
         "files": 3},
        {"code": "D-TRUNCATED", "message": "1 file", "subject": "A001", "series": "7d",
         "files": 40},
    ])  # fmt: skip
    return fake.results


def params() -> dict[str, Any]:
    return {**config.section("report"), "seed": 0}


def page(results: Results, name: str) -> str:
    return (results.root / "qc" / name).read_text(encoding="utf-8")


class Parsed(HTMLParser):
    """What a browser would make of a page: elements with their attributes, and their text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]
