"""A results folder of any number of subjects, without images: tables, statuses, sidecars.

Two scanners at two sites differ in noise, volumes drift with the date, a few subjects are far off
in one measure or in many, some fail, some lack FLAIR. Same seed, same files.
"""

from __future__ import annotations

import base64
import datetime
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline import files, status
from pipeline.evaluate.registry import MEASURES
from pipeline.evaluate.table import Table
from pipeline.ingest import manifest
from pipeline.paths import STAGES, Results, Unit, sidecar

CONTRASTS = ("T1w", "T2w", "FLAIR")
TISSUES = ("CSF", "GM", "WM", "lesion", "deep-GM", "brainstem")
SCANNERS = (("Acme", "Tesseract", "North Hospital", 3.0), ("Bolt", "Ampere", "South Clinic", 1.5))
LABELS = {
    "ingest": CONTRASTS, "preprocess": CONTRASTS, "denoise": CONTRASTS, "superres": CONTRASTS,
    "register": ("",), "synthesize": (), "segment": TISSUES,
}  # fmt: skip
#: Subjects far off in many measures, and in one measure.
FAR_WHOLE, FAR_ONE = 7, 11
PICTURES = 40


def make(root: Path, subjects: int, seed: int = 0, dates: bool = True) -> Results:
    """Write the folder.

    Args:
        root: the results folder.
        subjects: of one session each.
        seed: of every number.
        dates: whether sidecars tell the day of the acquisition.
    """
    results = Results(root)
    rng = np.random.default_rng(seed)
    pictures = [_picture(rng) for _ in range(min(PICTURES, subjects))]
    units = [Unit(f"p{n:05d}", "01") for n in range(subjects)]
    for n, unit in enumerate(units):
        _unit(results, unit, n, rng, pictures[n % len(pictures)], dates)
    rows = [_manifest(unit, suffix, n) for n, unit in enumerate(units) for suffix in CONTRASTS
            if not (suffix == "FLAIR" and n % 5 == 0)]  # fmt: skip
    manifest.write_manifest(results.manifest, rows)
    files.write_tsv(results.quarantine, ("code", "message", "subject", "series", "files"), [
        {"code": "D-SLICES-MISSING" if n % 3 else "D-LOCALIZER", "message": f"{n} slices",
         "subject": f"r{n:05d}" if n % 50 == 2 else units[n].subject, "series": f"s{n:06d}",
         "files": 40}
        for n in range(0, subjects, 2)
    ])  # fmt: skip
    return results


def _manifest(unit: Unit, suffix: str, n: int) -> manifest.Row:
    maker, _, _, tesla = SCANNERS[n % 2]
    return manifest.Row(unit.subject, unit.session, f"s{n}", suffix, "MR", maker, tesla, 256, 256,
                        176, 1.0, 1.0, 1.0, 1.0, 176, 256 * 256 * 176, "train", n // 16,
                        "0" * 16)  # fmt: skip


def _unit(
    results: Results, unit: Unit, n: int, rng: np.random.Generator, picture: str, dates: bool
) -> None:
    failed = n % 97 == 96
    stages = STAGES[: STAGES.index("segment")] if failed else STAGES
    for stage in stages:
        one = status.Status(unit.subject, unit.session, stage, "ok", seconds=_seconds(stage, rng))
        status.write(results, unit, one)
        memory = 300 + 900 * rng.random()
        text = f"s\th:m:s\tmax_rss\n{one.seconds:.2f}\t0:00:01\t{memory:.2f}\n"
        files.write_text(results.benchmark(stage, unit), text)
    if failed:
        what = "The mask holds 0 voxels."
        one = status.Status(unit.subject, unit.session, "segment", "failed", "E-MASK-EMPTY", what)
        status.write(results, unit, one)
        status.write(results, unit, status.Status(unit.subject, unit.session, "report", "ok"))
    _table(unit, n, stages, rng).write(results.unit_metrics(unit))
    facts = {"PeakMemoryMB": 300, "Device": "cpu", "Code": "c0de", "Model": ""}
    files.write_json(sidecar(results.unit_metrics(unit)), facts)
    _page(results, unit, n, picture, failed)
    maker, model, site, tesla = SCANNERS[n % 2]
    header: dict[str, Any] = {"Manufacturer": maker, "ManufacturersModelName": model,
                              "InstitutionName": site, "MagneticFieldStrength": tesla}  # fmt: skip
    if dates:
        day = datetime.date(2020, 1, 1) + datetime.timedelta(days=n % 1500)
        header["AcquisitionDateTime"] = f"{day.isoformat()}T10:00:00"
    files.write_json(results.image("ingest", unit, "T1w", extension=".json"), header)


def _seconds(stage: str, rng: np.random.Generator) -> float:
    return round((90 if stage in ("register", "segment") else 12) * float(rng.lognormal(0, 0.3)), 2)


def _table(unit: Unit, n: int, stages: tuple[str, ...], rng: np.random.Generator) -> Table:
    table = Table(unit)
    for measure in MEASURES.values():
        for stage in measure.stages:
            if stage not in stages:
                continue
            for label in LABELS.get(stage, ()) or ("",):
                if label == "FLAIR" and n % 5 == 0:
                    continue
                table.add(stage, measure.name, label, _value(measure.name, n, rng))
    return table


def _value(name: str, n: int, rng: np.random.Generator) -> float:
    measure = MEASURES[name]
    spread = float(rng.standard_normal())
    if n % 500 == FAR_WHOLE:
        spread += 6 if measure.direction in ("lower", "zero") else -6
    if n % 500 == FAR_ONE and name == "ncc":
        spread -= 9
    if name == "noise_level" and n % 2:
        spread += 1.5
    if name == "volume":
        spread -= 1.2 * (n % 1500) / 1500
    middle, scale = (0.8, 0.02) if measure.high == 1 else (50.0, 3.0)
    return float(np.clip(middle + scale * spread, measure.low, measure.high))


def _page(results: Results, unit: Unit, n: int, picture: str, failed: bool) -> None:
    files.write_text(results.page(unit), f"<!doctype html><title>{unit.name}</title>")
    level = "fail" if failed else "look" if n % 4 == 0 else "pass"
    text = "segment failed: a mask is empty or implausibly small (E-MASK-EMPTY)"
    look = f"lesions of {n % 37}.{n % 10} ml were labelled"
    reasons = [] if level == "pass" else [{"level": level, "text": text if failed else look,
                                           "anchor": "segment-tissues"}]  # fmt: skip
    files.write_json(sidecar(results.page(unit)), {
        "Verdict": level, "Reasons": reasons, "Thumbnail": picture,
        "Acquired": [c for c in CONTRASTS if not (c == "FLAIR" and n % 5 == 0)],
        "Synthetic": ["FLAIR"] if n % 5 == 0 else [],
    })  # fmt: skip


def _picture(rng: np.random.Generator) -> str:
    """A blurred head as large as those of real pages."""
    y, x = np.mgrid[-1:1:113j, -1:1:96j]
    inside = (x**2 + y**2) < 0.8
    coarse = Image.fromarray(rng.integers(60, 220, (23, 20)).astype(np.uint8))
    texture = np.asarray(coarse.resize((96, 113), Image.Resampling.BICUBIC)) * inside
    grain = texture + 12 * rng.standard_normal(texture.shape) * inside
    buffer = io.BytesIO()
    Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8)).save(buffer, "WEBP", quality=60)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
