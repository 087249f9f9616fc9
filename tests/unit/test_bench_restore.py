"""The benchmark of restoration: what is made worse by hand, scores, the table, a small run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import cli, files, images
from pipeline.errors import Exit, VoxelwayError
from tests.benchmarks import launch
from tests.benchmarks.restore import __main__ as bench_main
from tests.benchmarks.restore import bench, cases, noisy, picture, scores
from tests.benchmarks.restore.table import gains, table

from . import superres_cases


def reference() -> cases.Reference:
    ball = superres_cases.ball()
    mask = images.array(ball) > 1
    return cases.Reference("ball", ball, mask, 100.0)


def test_slices_are_means_and_noise_is_as_strong_as_told() -> None:
    ramp = np.tile(np.arange(12.0)[:, None, None], (1, 6, 6))
    made = cases.thick(superres_cases.image(ramp, (1, 1, 1)), 2, 3.0, "box")
    assert made.GetSpacing() == (1.0, 1.0, 3.0)
    # slices over 0..2, 3..5, 6..8, 9..11; the outer ones see the ends go on
    assert images.array(made)[1:3, 2, 2] == pytest.approx([4.0, 7.0], abs=1e-4)
    bright = superres_cases.image(np.full((20, 20, 20), 1000.0), (1, 1, 1))
    spread = images.array(cases.noisy(bright, 7.0, 1)).std()
    assert spread == pytest.approx(7.0, rel=0.05)


def test_thin_slices_are_refused() -> None:
    with pytest.raises(VoxelwayError, match="E-CONFIG-VALUE"):
        cases.worse(reference(), cases.Task("superres", 1.0), 2, "box", 0)


def test_the_thick_axis_is_the_one_that_would_be_sharpened() -> None:
    values = np.ones((6, 30, 30))
    flat = cases.Reference("a", superres_cases.image(values, (1, 1, 4)), values > 0, 1.0)
    with pytest.raises(VoxelwayError, match=r"E-CONFIG-VALUE.*as long as slices of 3 mm"):
        cases.worse(flat, cases.Task("superres", 3.0), 0, "box", 0)
    assert cases.worse(flat, cases.Task("superres", 5.0), 0, "box", 0).image.GetSpacing()[0] == 5.0


def test_what_fills_no_whole_slice_is_left_out() -> None:
    # 36 voxels of 1 mm hold seven slices of 5 mm
    found = cases.whole(reference(), cases.Task("superres", 5.0), 2)
    assert found.image.GetSize() == (28, 32, 35) and found.mask.shape == (35, 32, 28)
    made = cases.worse(found, cases.Task("superres", 5.0), 2, "box", 0).image
    assert images.same_grid(images.spaced_grid(made, (1.0, 1.0, 1.0)), found.image)


def test_scores_by_hand() -> None:
    sharp = reference()
    same = scores.measure(sharp.image, sharp)
    assert same["ssim"] == pytest.approx(1.0) and same["gms"] == pytest.approx(1.0)
    # off by a tenth of the range everywhere: 20 dB
    assert scores.measure(sharp.image + 10.0, sharp)["psnr"] == pytest.approx(20.0, abs=1e-3)
    moved = sitk.Image(sharp.image)
    moved.SetOrigin((1.0, 0.0, 0.0))
    with pytest.raises(VoxelwayError, match="E-IMG-GRID"):
        scores.measure(moved, sharp)


def test_dice_by_hand() -> None:
    truth = superres_cases.image(np.repeat([0, 1, 1, 2], 4).reshape(4, 2, 2), (1, 1, 1))
    found = superres_cases.image(np.repeat([0, 1, 0, 2], 4).reshape(4, 2, 2), (1, 1, 1))
    # label 1: 2 * 4 / (8 + 4); label 2: 1
    assert scores.dice(found, truth) == pytest.approx((2 / 3 + 1) / 2)


def test_the_table_has_a_line_a_task_and_method() -> None:
    rows = [
        {"task": "3 mm slices", "method": "bspline", "psnr": 20.0, "seconds": 1.0},
        {"task": "3 mm slices", "method": "bspline", "psnr": 22.0, "seconds": 1.0},
        {"task": "3 mm slices", "method": "lost", "error": "it broke"},
    ]
    lines = table(rows).splitlines()
    assert lines[0] == "| task | method | images | PSNR, dB | seconds |"
    # Student's t for one degree of freedom is 12.706, the standard error 1
    assert lines[2] == "| 3 mm slices | bspline | 2 | 21.00 ± 12.71 | 1.0 ± 0.0 |"
    assert lines[3] == "| 3 mm slices | lost | 0 |  |  |"


def test_gains_are_paired_with_the_better_rival_of_each_image() -> None:
    psnr = {"bspline": (20.0, 30.0), "sinc": (21.0, 29.0), "anyscale": (22.0, 33.0)}
    rows = [
        {"case": case, "task": "5 mm slices", "method": name, "psnr": value}
        for name, values in psnr.items()
        for case, value in zip("ab", values, strict=True)
    ]
    # 22 - 21 and 33 - 30: the mean is 2, the standard error 1, Student's t 12.706
    lines = gains(rows, ["anyscale", "saint"]).splitlines()
    assert lines[2:] == [
        "| 5 mm slices | anyscale | bspline and sinc | 2 | +2.00 ± 12.71 | +1.00 |"
    ]
    assert gains(rows[:4], ["anyscale"]) == ""


def test_gains_over_one_rival_leave_out_images_that_it_lacks() -> None:
    psnr = {"none": {"a": 20.0, "b": 24.0}, "bm4d": {"b": 30.0}, "nlm": {"a": 29.0, "b": 31.0}}
    rows = [
        {"case": case, "task": "3% noise", "method": name, "psnr": value}
        for name, values in psnr.items()
        for case, value in values.items()
    ]
    # 29 - 20 and 31 - 24: the standard error is 1; nlm is not held against itself
    assert gains(rows, ["nlm"]).splitlines()[2:] == [
        "| 3% noise | nlm | none | 2 | +8.00 ± 12.71 | +7.00 |",
        "| 3% noise | nlm | bm4d | 1 | +1.00 | +1.00 |",
    ]


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(VoxelwayError, match="E-USAGE"):
        bench_main.main(["--methods", "magic"])
    with pytest.raises(VoxelwayError, match="E-USAGE"):
        bench_main.main(["--methods", "none", "--model", "anyscale", "x"])
    known = bench.available()
    assert {"none", "bm4d", "nlm", "bspline", "bspline-plain", "nearest"} <= set(known)
    assert known["refined_filters-mirror"].options == {"mirror": 8}
    assert "nlm-mirror" not in known


def test_a_run_from_images_to_rows(tmp_path: Path) -> None:
    superres_cases.write_subjects(tmp_path, 1)
    bundle = superres_cases.bundle(tmp_path / "bundle", "anyscale")
    out = tmp_path / "rows.tsv"
    command = [str(tmp_path / "sub-01_T1w.nii.gz"), "--noise", "9", "--thickness", "3", "--cores",
               "1", "--out", str(out), "--peers", str(tmp_path / "nothing"), "--methods",
               "none,curvature_flow,bm4d,linear,superres:anyscale", "--model", "anyscale",
               str(bundle)]  # fmt: skip
    assert bench_main.main(command) is Exit.SOME
    rows = {row["method"]: row for row in files.read_tsv(out)}
    assert set(rows) == {"none", "curvature_flow", "bm4d", "linear", "anyscale"}
    # there is no Python for the peer: its line says so, the others are there
    assert rows["bm4d"]["error"] and not rows["bm4d"]["psnr"]
    assert float(rows["none"]["psnr"]) < float(rows["curvature_flow"]["psnr"])
    for name in ("linear", "anyscale"):
        assert float(rows[name]["psnr"]) > 15 and float(rows[name]["seconds"]) > 0


def test_the_guide_is_the_same_subjects_other_contrast(tmp_path: Path) -> None:
    for name in ("sub-1_T2w.nii.gz", "sub-1_T1w.nii.gz", "T2w.nii.gz", "T1w.nii.gz"):
        (tmp_path / name).touch()
    assert cases.contrast(tmp_path / "sub-1_acq-x_T2w.nii.gz") == "T2w"
    assert cases.contrast(tmp_path / "head.nii.gz") == "T1w"
    assert cases.beside(tmp_path / "sub-1_T2w.nii.gz", "T1w").name == "sub-1_T1w.nii.gz"
    assert cases.beside(tmp_path / "T2w.nii.gz", "T1w").name == "T1w.nii.gz"
    with pytest.raises(VoxelwayError, match=r"E-IMG-MISSING.*--guide FLAIR"):
        cases.beside(tmp_path / "T2w.nii.gz", "FLAIR")


def test_noisy_copies_hold_the_noise_and_stay_empty_where_nothing_was(tmp_path: Path) -> None:
    truth = superres_cases.ball()
    source = tmp_path / "sub-1_T1w.nii.gz"
    images.write_image(truth, source)
    noisy.main([str(tmp_path / "copies"), str(source), "--noise", "5"])
    before = images.array(images.read_image(source))
    after = images.array(images.read_image(tmp_path / "copies" / "sub-1_T1w.nii.gz"))
    assert (after[before == 0] == 0).all()
    sigma = 0.05 * cases.read(source).extent
    bright = before > 10 * sigma
    assert np.std((after - before)[bright]) == pytest.approx(sigma, rel=0.1)


def test_methods_get_their_threads_ours_as_the_command_line_does() -> None:
    ours, peers = (launch.environment(2, ours=one) for one in (True, False))
    assert ours["VOXELWAY_THREADS"] == peers["OPENBLAS_NUM_THREADS"] == "2"
    for name in launch.ONE_EACH:
        assert ours[name] == cli.THREADS[name]


def test_a_picture_has_a_panel_a_method_and_tells_scores(tmp_path: Path) -> None:
    source, drawn = tmp_path / "sub-1_T1w.nii.gz", tmp_path / "seen.png"
    images.write_image(superres_cases.ball(), source)
    asked = [str(source), str(drawn), "--methods", "none,curvature_flow,linear", "--cores", "1"]
    picture.main(asked)
    assert drawn.read_bytes().startswith(b"\x89PNG")
    options = picture.arguments(asked)
    setup = bench.Setup(tmp_path / "none", 1, {}, tmp_path / "work")
    setup.work.mkdir()
    chosen = {bench.NONE: bench.available()[bench.NONE]}
    sharp = cases.read(source)
    first, second = picture.panels_of(sharp, cases.Task("denoise", 5.0), chosen, setup, options)
    assert first.title == "sharp" and not first.error.any()
    assert second.title.startswith("as it is\n") and second.title.endswith(" dB")
    # the plane across y through the middle, the image's last slice at the top
    plane = images.array(sharp.image)[:, 16] / sharp.extent
    assert first.plane == pytest.approx(plane[::-1]) and first.aspect == 1.0
    assert second.plane - first.plane == pytest.approx(second.error, abs=1e-6)
