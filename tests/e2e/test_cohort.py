"""The whole workflow on a small phantom cohort: what a user gets, judged against the truth."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import files, status
from pipeline.paths import STAGES, sidecar

from .conftest import ROOT, Cohort, workflow

pytestmark = pytest.mark.e2e

BIN = Path(sys.executable).parent


def rows(cohort: Cohort, stage: str, metric: str, label: str | None = None) -> dict:
    """(unit, label) → (value, baseline) of one measure, where it has a baseline."""
    found = {}
    for row in files.read_tsv(cohort.results.metrics):
        wanted = row["stage"] == stage and row["metric"] == metric and row["baseline"]
        if wanted and label in (None, row["label"]):
            key = (row["subject"], row["session"], row["label"])
            found[key] = (float(row["value"]), float(row["baseline"]))
    assert found, f"no {stage} {metric} with a baseline in metrics.tsv"
    return found


def metric_names(cohort: Cohort) -> set[tuple[str, str]]:
    return {(row["stage"], row["metric"]) for row in files.read_tsv(cohort.results.metrics)}


def test_every_stage_of_every_subject_ended_well(cohort: Cohort) -> None:
    assert cohort.code == 0, cohort.text
    assert len(cohort.units) == 4
    table = files.read_tsv(cohort.results.status_table)
    bad = [row for row in table if row["status"] != "ok"]
    assert not bad
    assert {row["stage"] for row in table} == set(STAGES)


def test_broken_subjects_are_in_quarantine_and_nowhere_else(cohort: Cohort) -> None:
    quarantine = files.read_tsv(cohort.results.quarantine)
    codes = {row["code"] for row in quarantine}
    assert {"D-SLICES-MISSING", "D-TRUNCATED", "D-LOCALIZER", "D-DERIVED", "D-NOT-IMAGE"} <= codes
    broken = {r["subject"] for r in quarantine if r["code"] in ("D-SLICES-MISSING", "D-TRUNCATED")}
    assert len(broken) == 2
    assert not broken & {unit.subject for unit in cohort.units}
    page = cohort.results.cohort_page.read_text(encoding="utf-8")
    assert all(subject in page for subject in broken)


def test_golden_files(cohort: Cohort) -> None:
    """Kinds of files, with pseudonyms replaced: what appears or vanishes is seen in a review."""
    found = set()
    for path in cohort.results.root.rglob("*"):
        if path.is_file():
            name = path.relative_to(cohort.results.root).as_posix()
            found.add(re.sub(r"sub-[0-9A-Za-z]+", "sub-X", name))
    golden = (Path(__file__).with_name("golden.txt")).read_text().split()
    assert sorted(found) == golden


def test_denoise_is_better_than_its_input(cohort: Cohort) -> None:
    for key, (value, baseline) in rows(cohort, "denoise", "psnr").items():
        assert value > baseline, key


def test_superres_is_better_than_its_input(cohort: Cohort) -> None:
    for key, (value, baseline) in rows(cohort, "superres", "psnr").items():
        assert value > baseline, key


def test_diffeomorphic_registration_is_better_than_affine(cohort: Cohort) -> None:
    for key, (value, baseline) in rows(cohort, "register", "tre").items():
        assert value < baseline, key


def test_fine_segmentation_is_better_than_coarse(cohort: Cohort) -> None:
    for key, (value, baseline) in rows(cohort, "segment", "dice", "mean").items():
        assert value > baseline, key


def test_alignment_of_contrasts_is_better_than_the_headers(cohort: Cohort) -> None:
    pairs = rows(cohort, "preprocess", "rigid_error").values()
    assert sum(value for value, _ in pairs) < sum(baseline for _, baseline in pairs)


def test_images_have_sidecars_that_describe_them(cohort: Cohort) -> None:
    checked = 0
    for path in (cohort.results.root / "derivatives").rglob("anat/*.nii.gz"):
        content = json.loads(sidecar(path).read_text())
        assert content["Sha256"][path.name] == files.sha256(path)
        assert content["Code"] and content["Versions"] and "Seconds" in content
        checked += 1
    assert checked > 40


def test_made_contrasts_say_so(cohort: Cohort) -> None:
    made = list(cohort.results.derivatives("synthesize").rglob("*_desc-synth_*.nii.gz"))
    assert made
    for path in made:
        assert json.loads(sidecar(path).read_text())["Synthetic"] is True


def planted(cohort: Cohort) -> set[bytes]:
    """Every identifying value of the DICOM headers: names, ids, dates, numbers, original UIDs."""
    tags = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyInstanceUID",
            "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "InstitutionName",
            "ReferringPhysicianName", "StationName", "DeviceSerialNumber", "StudyID",
            "OperatorsName", "InstitutionAddress", "StudyDate")  # fmt: skip
    values = set()
    for path in (cohort.folder / "dicom").rglob("*"):
        if not path.is_file() or path.stat().st_size == 0:
            continue
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        for tag in tags:
            text = str(header.get(tag, "")).strip()
            if len(text) >= 6:
                values.add(text.encode())
    assert len(values) > 100
    return values


def found_in(content: bytes, pattern: re.Pattern[bytes]) -> list[bytes]:
    """What matches; of values of digits, those that a number begins with.

    Within the thousands of keyed UIDs, or in a fraction, any eight digits can stand by chance.
    """

    def stands(hit: re.Match[bytes]) -> bool:
        before = content[max(hit.start() - 1, 0) : hit.start()]
        return not (hit[0].isdigit() and (before.isdigit() or before == b"."))

    return [hit[0] for hit in pattern.finditer(content) if stands(hit)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"born 19470417", True),
        (b"19470417083159.1", True),
        (b"_19470417_", True),
        (b"2.25.19470417", False),
        (b"2.25.8194704179", False),
        (b"0.19470417", False),
    ],
)
def test_a_date_counts_where_a_number_begins(text: bytes, found: bool) -> None:
    assert bool(found_in(text, re.compile(b"19470417"))) is found


def test_nothing_identifying_is_in_the_results(cohort: Cohort) -> None:
    pattern = re.compile(b"|".join(re.escape(value) for value in planted(cohort)))
    for path in cohort.results.root.rglob("*"):
        name = path.relative_to(cohort.results.root).as_posix()
        assert not found_in(name.encode(), pattern), name
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
            assert not found_in(content, pattern), name


def test_the_key_is_for_its_owner_only(cohort: Cohort) -> None:
    private = cohort.results.private
    assert private.stat().st_mode & 0o077 == 0
    keys = [path for path in private.iterdir() if "key" in path.name]
    assert keys and all(path.stat().st_mode & 0o077 == 0 for path in keys)


def test_rawdata_pass_the_bids_validator(cohort: Cohort) -> None:
    command = [BIN / "bids-validator-deno", cohort.results.rawdata]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dicom_seg_passes_dciodvfy_and_reads_back(cohort: Cohort, tmp_path: Path) -> None:
    for unit in cohort.units:
        path = cohort.results.dicom_seg(unit)
        check = subprocess.run(
            [BIN / "dciodvfy", path], capture_output=True, text=True, check=False
        )
        errors = [line for line in check.stderr.splitlines() if line.startswith("Error")]
        assert not errors, errors
        folder = tmp_path / unit.name
        folder.mkdir()
        command = [BIN / "segimage2itkimage", "--inputDICOM", path, "--outputDirectory", folder,
                   "--outputType", "nii"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        dseg = next(cohort.results.anat("segment", unit).glob("*_space-T1w_dseg.nii.gz"))
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(dseg)))
        back = [
            sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in sorted(folder.glob("*.nii*"))
        ]
        assert sum(int((array != 0).sum()) for array in back) == int((labels != 0).sum())


def test_pages_are_whole_small_and_need_no_network(cohort: Cohort) -> None:
    pages = [cohort.results.page(unit) for unit in cohort.units]
    for path in [*pages, cohort.results.cohort_page]:
        assert path.stat().st_size < 8e6
        text = path.read_text(encoding="utf-8")
        loads = re.findall(r"""(?:src|href)=["']?(?:https?:)?//[^"' >]+""", text)
        assert not loads, loads


def test_a_second_run_has_nothing_to_do(cohort: Cohort) -> None:
    again = workflow(cohort.folder)
    assert again.returncode == 0 and "Nothing to be done" in again.stdout


def test_status_verb_lists_every_stage(cohort: Cohort) -> None:
    command = [sys.executable, "-m", "pipeline.cli", "status", cohort.results.root]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0
    assert done.stdout.count("\tok\t") == len(cohort.units) * len(STAGES)
    assert "D-TRUNCATED" in done.stdout


def test_two_runs_give_the_same_voxels(cohort: Cohort, tmp_path: Path) -> None:
    """The stages after ingest again, for one subject, in one process each."""
    from pipeline.paths import Results

    copy = tmp_path / "results"
    shutil.copytree(cohort.results.root, copy)
    shutil.copytree(cohort.results.private, copy.with_name("results-private"))
    unit = cohort.units[0]
    before: dict[str, dict[str, str]] = defaultdict(dict)
    chain = ("preprocess", "denoise", "superres", "register", "synthesize", "segment")
    for stage in chain:
        found = status.read(cohort.results, unit, stage)
        assert found is not None
        before[stage] = found.outputs
        parameters = json.dumps(_parameters(cohort, stage))
        command = [sys.executable, "-m", "pipeline.cli", stage, "--results", str(copy),
                   "--unit", unit.name, "--params", parameters]  # fmt: skip
        if stage == "synthesize":
            command += ["--model", str(next((copy / "models" / "synthesize").iterdir()))]
        subprocess.run(command, check=True, cwd=ROOT)
        again = status.read(Results(copy), unit, stage)
        assert again is not None
        images = {name for name in before[stage] if name.endswith((".nii.gz", ".mat"))}
        assert images == {name for name in again.outputs if name.endswith((".nii.gz", ".mat"))}
        for name in images:
            if name.endswith(".nii.gz"):
                assert _voxels(copy / name) == _voxels(cohort.results.root / name), name


def _voxels(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def _parameters(cohort: Cohort, stage: str) -> dict:
    for path in cohort.results.derivatives(stage).rglob("*.json"):
        content = json.loads(path.read_text())
        if content.get("Parameters"):
            return content["Parameters"]
    raise AssertionError(f"no sidecar of {stage} tells its parameters")


def test_a_new_subject_runs_alone(cohort: Cohort, tmp_path: Path) -> None:
    """The arrival of DICOM of one more subject leaves the others' files as they are."""
    more = tmp_path / "more"
    phantom = [sys.executable, "-m", "pipeline.cli", "phantom", str(more), "--subjects", "5",
               "--spacing", "3"]  # fmt: skip
    subprocess.run(phantom, check=True, cwd=ROOT)
    known = {path.name for path in (cohort.folder / "dicom").iterdir()}
    new = [path for path in (more / "dicom").iterdir() if path.name not in known]
    assert len(new) == 1
    ages = {p: p.stat().st_mtime_ns for p in (cohort.results.root / "derivatives").rglob("*.gz")}
    shutil.copytree(new[0], cohort.folder / "dicom" / new[0].name)
    try:
        run = workflow(cohort.folder)
        assert run.returncode == 0, run.stdout
        assert len(cohort.units) == 5
        assert all(path.stat().st_mtime_ns == age for path, age in ages.items())
    finally:
        shutil.rmtree(cohort.folder / "dicom" / new[0].name)
