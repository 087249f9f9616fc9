"""The cohort on disk: DICOM, truth, determinism, refusals."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.phantom import cohort, export, identity, protocol
from pipeline.phantom.protocol import CONTRASTS

SPACING = 6.0


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """P002 (lesion, oblique), P003 (no FLAIR) and the two broken ones, 6 mm."""
    output = tmp_path_factory.mktemp("phantom")
    for folder in ("P002", "P003", "X001", "X002"):
        cohort.write_subject(folder, output, SPACING, 0)
    return output


def dicom_files(output: Path, folder: str) -> list[Path]:
    return sorted((output / "dicom" / identity.draw(folder, 0).patient_id).rglob("*.dcm"))


def series(output: Path, folder: str) -> dict[str, list[Dataset]]:
    found = defaultdict(list)
    for path in dicom_files(output, folder):
        dataset = pydicom.dcmread(path)
        found[str(dataset.SeriesDescription)].append(dataset)
    return found


def digests(root: Path) -> dict[str, str]:
    paths = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def test_series_of_a_subject(written: Path) -> None:
    found = series(written, "P002")
    assert set(found) == {
        "localizer", "t1_mprage_tra", "t2_tse_tra", "t2_flair_tra", "t1_mprage_tra_MPR_tra",
        "Report",
    }  # fmt: skip
    assert "t2_flair_tra" not in series(written, "P003")
    assert found["Report"][0].Modality == "SR"
    assert "PixelData" not in found["Report"][0]
    assert found["t1_mprage_tra_MPR_tra"][0].ImageType[0] == "DERIVED"
    planes = {tuple(item.ImageOrientationPatient) for item in found["localizer"]}
    assert len(planes) == len(found["localizer"]) == 3


def test_one_patient_study_and_frame_with_unique_instances(written: Path) -> None:
    items = [item for group in series(written, "P002").values() for item in group]
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber"):
        assert len({str(item.get(keyword)) for item in items}) == 1
    images = [item for item in items if item.Modality == "MR"]
    assert len({item.FrameOfReferenceUID for item in images}) == 1
    assert max(Counter(item.SOPInstanceUID for item in items).values()) == 1
    others = [item for group in series(written, "P003").values() for item in group]
    assert not {i.SOPInstanceUID for i in items} & {i.SOPInstanceUID for i in others}
    for item in items:
        for uid in (item.SOPInstanceUID, item.SeriesInstanceUID, item.StudyInstanceUID):
            assert pydicom.uid.UID(uid).is_valid


@pytest.mark.parametrize("suffix", CONTRASTS)
def test_headers_and_pixels_agree_with_the_truth(written: Path, suffix: str) -> None:
    name = {"T1w": "t1_mprage_tra", "T2w": "t2_tse_tra", "FLAIR": "t2_flair_tra"}[suffix]
    items = sorted(series(written, "P002")[name], key=lambda item: int(item.InstanceNumber))
    truth = written / "truth" / "P002"
    clean = sitk.ReadImage(str(truth / f"native_{suffix}.nii.gz"))
    bias = sitk.GetArrayFromImage(sitk.ReadImage(str(truth / f"bias_{suffix}.nii.gz")))
    direction = np.asarray(clean.GetDirection()).reshape(3, 3)
    thickness = {"T1w": 1, "T2w": 3, "FLAIR": 2}[suffix] * SPACING
    assert clean.GetSpacing() == pytest.approx((SPACING, SPACING, thickness))
    for index, item in enumerate(items):
        corner = clean.TransformIndexToPhysicalPoint((0, 0, index))
        np.testing.assert_allclose(item.ImagePositionPatient, corner, atol=1e-3)
        cosines = np.asarray(item.ImageOrientationPatient, float)
        np.testing.assert_allclose(cosines, [*direction[:, 0], *direction[:, 1]], atol=1e-5)
        assert float(item.SpacingBetweenSlices) == float(item.SliceThickness) == thickness
    assert abs(direction - np.round(direction)).max() > 0.01  # this subject is oblique
    stored = np.stack([item.pixel_array for item in items]).astype(float)
    expected = sitk.GetArrayFromImage(clean) * bias
    sigma = files.read_json(truth / "subject.json")["NoiseSigma"][suffix]
    bright = expected > 6 * sigma
    assert (stored - expected)[bright].std() == pytest.approx(sigma, rel=0.08)
    assert stored.max() < 4096


def test_truth_of_a_subject(written: Path) -> None:
    truth = written / "truth" / "P002"
    labels = sitk.ReadImage(str(truth / "dseg.nii.gz"))
    brain = sitk.ReadImage(str(truth / "brain_mask.nii.gz"))
    values, mask = sitk.GetArrayFromImage(labels), sitk.GetArrayFromImage(brain)
    assert set(np.unique(values)) == {0, 1, 2, 3, 4, 5}
    assert ((values > 0) == (mask > 0)).all()
    litres = mask.sum() * SPACING**3 / 1e6
    assert 1.1 < litres < 2.0
    signal = {}
    for suffix in CONTRASTS:
        image = sitk.ReadImage(str(truth / f"{suffix}.nii.gz"))
        assert image.GetSize() == labels.GetSize()
        array = sitk.GetArrayFromImage(image)
        signal[suffix] = [array[values == label].mean() for label in range(1, 5)]
    csf, gm, wm, lesion = signal["T1w"]
    assert csf < gm < wm
    csf, gm, wm, lesion = signal["T2w"]
    assert csf > gm > wm
    csf, gm, wm, lesion = signal["FLAIR"]
    assert csf < wm < lesion
    assert not (written / "truth" / "X001").exists()
    assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(
        str(written / "truth" / "P003" / "dseg.nii.gz"))))) == {0, 1, 2, 3}  # fmt: skip


def test_motion_in_the_truth_brings_the_series_onto_the_t1w(written: Path) -> None:
    truth = written / "truth" / "P002"
    isotropic = sitk.ReadImage(str(truth / "FLAIR.nii.gz"))
    native = sitk.ReadImage(str(truth / "native_FLAIR.nii.gz"))
    transform = sitk.ReadTransform(str(truth / "FLAIR_to_T1w.mat"))
    inside = sitk.GetArrayFromImage(sitk.ReadImage(str(truth / "brain_mask.nii.gz"))) > 0

    def likeness(chosen: sitk.Transform) -> float:
        moved = sitk.Resample(native, isotropic, chosen, sitk.sitkBSpline)
        pair = [sitk.GetArrayFromImage(image)[inside] for image in (moved, isotropic)]
        return float(np.corrcoef(*pair)[0, 1])

    right, inverted = likeness(transform), likeness(transform.GetInverse())
    assert right > likeness(sitk.Transform(3, sitk.sitkIdentity)) > inverted


def test_field_maps_the_template_to_the_subject(written: Path) -> None:
    from pipeline.phantom import anatomy

    truth = written / "truth" / "P002"
    field = sitk.Cast(sitk.ReadImage(str(truth / "field.nii.gz")), sitk.sitkVectorFloat64)
    maps = anatomy.load()
    template = sitk.Shrink(maps.lattice.image(maps.wm + maps.gm + maps.csf), [4, 4, 4])
    brain = sitk.ReadImage(str(truth / "brain_mask.nii.gz"), sitk.sitkFloat32)

    def overlap(transform: sitk.Transform) -> float:
        moved = sitk.GetArrayFromImage(sitk.Resample(brain, template, transform)) > 0.5
        fixed = sitk.GetArrayFromImage(template) > 0.5
        return float(2 * (moved & fixed).sum() / (moved.sum() + fixed.sum()))

    before = overlap(sitk.Transform(3, sitk.sitkIdentity))
    after = overlap(sitk.DisplacementFieldTransform(field))
    assert after > 0.97 > before


def test_broken_subjects(written: Path) -> None:
    found = series(written, "X001")
    assert set(found) == {"localizer", "t1_mprage_sag"}
    numbers = sorted(int(item.InstanceNumber) for item in found["t1_mprage_sag"])
    gaps = np.diff(numbers)
    assert sorted(gaps)[-2:] == [1, numbers[-1] - len(numbers) + 1]
    assert max(gaps) > 1
    short = []
    for path in dicom_files(written, "X002"):
        try:
            _ = pydicom.dcmread(path).pixel_array
        except (ValueError, EOFError, AttributeError):
            short.append(path)
    assert len(short) == 1


def test_a_subject_is_the_same_again(written: Path, tmp_path: Path) -> None:
    cohort.write_subject("P002", tmp_path, SPACING, 0)
    known = digests(written)
    again = digests(tmp_path)
    assert len(again) > 50
    assert {name: known[name] for name in again} == again


def test_plans_do_not_depend_on_the_number_of_subjects() -> None:
    plans = [protocol.plan(f"P{number:03d}", 0) for number in range(1, 7)]
    assert sum(plan.lesion for plan in plans) == 3
    assert sum("FLAIR" not in plan.contrasts for plan in plans) == 2
    assert {plan.name for plan in plans} == {"sag", "tra", "cor"}
    ids = {identity.draw(f"P{number:03d}", 0).patient_id for number in range(1, 60)}
    assert len(ids) == 59
    assert identity.draw("P001", 0) != identity.draw("P001", 1)


def test_cohort_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def write_all(folders: list[str], part: Path, spacing: float, seed: int) -> None:
        calls.append(folders)
        for name in ("dicom", "truth"):
            (part / name).mkdir()

    monkeypatch.setattr(cohort, "_write_all", write_all)
    output = tmp_path / "new"
    cohort.write_cohort(output, 2, 4.0, 7)
    rows = files.read_tsv(output / "truth" / "participants.tsv")
    assert [row["folder"] for row in rows] == ["P001", "P002", "X001", "X002"]
    assert [row["broken"] for row in rows] == ["", "", "missing-slices", "truncated"]
    assert [row["lesion"] for row in rows] == ["false", "true", "false", "false"]
    (output / "dicom" / "arrival").mkdir()
    cohort.write_cohort(output, 2, 4.0, 7)
    assert len(calls) == 1
    assert sorted(path.name for path in output.iterdir()) == ["dicom", "phantom.json", "truth"]
    with pytest.raises(VoxelwayError, match="E-USAGE"):
        cohort.write_cohort(output, 3, 4.0, 7)
    assert (output / "dicom" / "arrival").is_dir()


def test_other_peoples_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "scan.dcm").write_bytes(b"mine")
    with pytest.raises(VoxelwayError, match="E-USAGE"):
        cohort.write_cohort(tmp_path, 1, 4.0, 0)
    assert [path.name for path in tmp_path.rglob("*")] == ["dicom", "scan.dcm"]


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folders: list[str], part: Path, spacing: float, seed: int) -> None:
        (part / "dicom").mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cohort, "_write_all", full)
    with pytest.raises(VoxelwayError, match="E-DISK-FULL"):
        cohort.write_cohort(tmp_path / "new", 1, 4.0, 0)
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("subjects", "spacing", "seed"), [(0, 2.0, 0), (1, 0.9, 0), (1, 6.1, 0), (1, 2.0, -1)]
)
def test_arguments_out_of_range(tmp_path: Path, subjects: int, spacing: float, seed: int) -> None:
    with pytest.raises(VoxelwayError, match="E-USAGE"):
        cohort.write_cohort(tmp_path / "new", subjects, spacing, seed)
    assert not (tmp_path / "new").exists()


def test_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VoxelwayError, match="E-DIR-WRITE"):
        cohort.write_cohort(tmp_path / "file", 1, 4.0, 0)


def test_timing_refuses_an_unknown_sequence() -> None:
    with pytest.raises(TypeError):
        export.timing(object())  # type: ignore[arg-type]
