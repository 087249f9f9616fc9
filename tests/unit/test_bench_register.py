"""The benchmark of registration: pairs, scores and statistics by hand; one run on a small pair."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.errors import Exit, VoxelwayError
from pipeline.phantom.deformation import Shape
from pipeline.phantom.lattice import AXIAL, Lattice
from pipeline.register.fields import Registration, field_like, forward_transform, to_field
from tests.benchmarks import meter
from tests.benchmarks.register import __main__ as bench_main
from tests.benchmarks.register import drawn, pairs, peers, phantom, scores
from tests.benchmarks.register.table import difference, mean_of, table

from . import register_cases as cases

ROWS = [
    {"pair": "a", "method": "greedy", "dice": 0.5, "seconds": 10.0},
    {"pair": "b", "method": "greedy", "dice": 0.6, "seconds": 12.0},
    {"pair": "a", "method": "ours", "dice": 0.6, "seconds": 1.0},
    {"pair": "b", "method": "ours", "dice": 0.8, "seconds": 1.0},
    {"pair": "c", "method": "ours", "dice": 0.1, "seconds": 1.0},
    {"pair": "a", "method": "lost", "error": "it broke"},
]


def test_mean_and_interval_by_hand() -> None:
    found = mean_of([1.0, 2.0, 3.0, math.nan])
    # Student's t for two degrees of freedom is 4.3027; the standard error 1 / sqrt(3)
    assert (found.mean, found.count) == (2.0, 3)
    assert found.half == pytest.approx(2.4842, abs=1e-4)
    assert math.isnan(mean_of([1.0]).half) and math.isnan(mean_of([]).mean)


def test_differences_are_paired() -> None:
    found = difference(ROWS, "ours", "greedy", "dice")
    # 0.1 and 0.2 on the pairs that both have; t for one degree of freedom is 12.706
    assert found.mean == pytest.approx(0.15) and found.count == 2
    assert found.half == pytest.approx(12.7062 * 0.05, abs=1e-4)


def test_table_shows_means_differences_and_failures() -> None:
    lines = table(ROWS, "greedy").splitlines()
    assert lines[0] == "| method | pairs | Dice | seconds |"
    assert lines[2] == "| greedy | 2 | 0.550 ± 0.635 | 11.0 ± 12.7 |"
    assert lines[3].startswith("| ours | 3 | 0.500 ± 0.896 (+0.150 ± 0.635) | 1.0 ± 0.0 (-10.0")
    assert lines[4] == "| lost | 0 |  |  |"


def test_every_case_comes_once_before_any_comes_again() -> None:
    assert pairs.choose(5, 4) == [(0, 1), (2, 3), (1, 2), (3, 4)]
    for count in (0, 5):
        with pytest.raises(VoxelwayError, match="E-USAGE"):
            pairs.choose(5, count)


def test_tables_of_pairs_are_read_from_their_folder(tmp_path: Path) -> None:
    row = {name: f"{name}.nii.gz" for name in pairs.NEEDED} | {"name": "p"}
    row["moving"] = "/data/moving.nii.gz"
    files.write_tsv(tmp_path / "pairs.tsv", pairs.NEEDED, [row])
    (found,) = pairs.read(tmp_path / "pairs.tsv")
    assert found.fixed == tmp_path / "fixed.nii.gz" and found.truth_field is None
    assert found.moving == Path("/data/moving.nii.gz")
    files.write_tsv(tmp_path / "twice.tsv", pairs.NEEDED, [row, row])
    files.write_tsv(tmp_path / "short.tsv", pairs.NEEDED[:3], [row])
    for name in ("twice.tsv", "short.tsv"):
        with pytest.raises(VoxelwayError, match="E-USAGE"):
            pairs.read(tmp_path / name)


def test_true_field_between_two_subjects_of_the_phantom() -> None:
    coarse = Lattice((2, 2, 2), (50.0, 50.0, 50.0), (-50.0, -50.0, -50.0), AXIAL)

    def shape(u: float, matrix: list[float], offset: list[float]) -> Shape:
        field = np.zeros((3, 2, 2, 2), np.float32)
        field[0] = u
        return Shape(coarse, field, field, -field, np.diag(matrix), np.asarray(offset), 0.0)

    fixed = shape(0.5, [1, 1, 1], [1, 2, 3])
    moving = shape(0.0, [2, 1, 1], [5, 0, 0])
    # about C = (0, 16, 15): the fixed point C + (2.5, 2, 3) is the template's C + (1, 0, 0), which
    # the moving subject has at C + (2, 0, 0) + (5, 0, 0)
    at = Lattice((1, 1, 1), (1.0, 1.0, 1.0), (2.5, 18.0, 18.0), AXIAL)
    field = phantom.between(fixed, moving, at)
    assert field[0, 0, 0] == pytest.approx((4.5, -2.0, -3.0), abs=1e-4)


def label_map() -> sitk.Image:
    values = np.zeros((44, 44, 44), np.uint16)
    values[2:42, 2:42, 2:42] = 502  # skull
    values[6:38, 6:38, 6:38] = 3
    values[10:34, 10:34, 10:34] = 2
    values[18:26, 18:26, 18:26] = 4
    return images.like(values, sitk.Image(44, 44, 44, sitk.sitkUInt16))


@pytest.mark.parametrize(("suffix", "order"), [("T1w", [4, 3, 2]), ("T2w", [2, 3, 4])])
def test_images_are_drawn_from_label_maps(suffix: str, order: list[int]) -> None:
    side = drawn.draw(label_map(), suffix, np.random.default_rng(1))
    image, labels = images.array(side.image), images.array(side.labels)
    assert set(np.unique(labels)) == {0, 2, 3, 4}
    means = [float(image[labels == label].mean()) for label in order]
    assert means == sorted(means) and means[2] - means[0] > 0.3
    assert np.array_equal(image > 0, labels > 0)
    again = drawn.draw(label_map(), suffix, np.random.default_rng(1))
    assert np.array_equal(image, images.array(again.image))


def test_a_label_map_without_structures_is_refused() -> None:
    with pytest.raises(VoxelwayError, match="E-LABELS"):
        drawn.draw(label_map() * 0 + 502, "T1w", np.random.default_rng(1))


def test_tissues_of_an_image_are_ranked_by_brightness() -> None:
    truth = np.zeros((12, 12, 12), np.uint8)
    truth[1:11, 1:11, 1:11] = 3
    truth[1:11, 1:11, 1:4] = 1
    truth[1:11, 1:11, 4:7] = 2
    noise = np.random.default_rng(0).normal(0, 0.02, truth.shape)
    image = np.where(truth > 0, np.asarray([0.0, 0.3, 0.6, 0.9])[truth] + noise, 0)
    grid = sitk.Image(12, 12, 12, sitk.sitkFloat32)
    found = drawn.tissues(images.like(image.astype("f4"), grid))
    assert np.array_equal(sitk.GetArrayFromImage(found), truth)


def test_pairs_are_written_and_read(tmp_path: Path) -> None:
    images.write_image(label_map(), tmp_path / "maps" / "a.nii.gz")
    images.write_image(label_map(), tmp_path / "maps" / "b.nii.gz")
    arguments = ["label-maps", tmp_path / "maps", tmp_path / "out", "--count", 1]
    assert pairs.main([str(a) for a in [*arguments, "--moving-contrast", "T2w"]]) == 0
    (pair,) = pairs.read(tmp_path / "out" / "pairs.tsv")
    assert pair.name == "a-b" and pair.labels_by.startswith("FreeSurfer")
    moving, labels = images.read_image(pair.moving), images.read_labels(pair.moving_labels)
    assert images.same_grid(moving, labels)
    fluid = images.array(moving)[images.array(labels) == 4].mean()
    assert fluid > 0.8  # T2w: fluid is bright


def test_label_scores_by_hand() -> None:
    fixed = np.zeros((10, 10, 10), np.int32)
    fixed[2:6, 2:6, 2:6] = 5
    fixed[8, 8, 8] = 9
    moved = np.roll(np.where(fixed == 5, 5, 0), 1, axis=2)
    found = scores.label_scores(moved, fixed, [5, 9], (1.0, 1.0, 2.0))
    # three of four slices in common, 2 mm apart; the lost label counts 0 and has no distance
    assert found[5] == {"dice": pytest.approx(0.75), "hd95_mm": pytest.approx(2.0)}
    assert found[9]["dice"] == 0 and math.isnan(found[9]["hd95_mm"])
    means = scores.label_means(found)
    assert means == {"dice": pytest.approx(0.375), "hd95_mm": pytest.approx(2.0)}


def shifted(x: float, y: float, z: float) -> Registration:
    grid = cases.oblique((10, 10, 10), (2.0, 2.0, 2.0))
    values = np.broadcast_to(np.asarray([x, y, z]), (10, 10, 10, 3))
    field = field_like(values, grid)
    return Registration(sitk.AffineTransform(3), field, field_like(-values, grid))


def test_overlap_and_field_error_follow_the_map_from_fixed_to_moving() -> None:
    grid = cases.oblique((10, 10, 10), (2.0, 2.0, 2.0))
    values = np.zeros((10, 10, 10), np.uint8)
    values[3:7, 3:7, 3:7] = 1
    fixed = images.like(values, grid)
    moving = sitk.Image(fixed)
    moving.SetOrigin((np.asarray(fixed.GetOrigin()) + np.asarray([3.0, -1.0, 2.0])).tolist())
    right = shifted(3.0, -1.0, 2.0)
    assert scores.overlap_scores(right, moving, fixed)[1]["dice"] == 1.0
    assert scores.overlap_scores(shifted(-3.0, 1.0, -2.0), moving, fixed)[1]["dice"] < 0.5
    truth = shifted(3.0, 2.0, 6.0).warp  # 3 and 4 mm away
    assert scores.field_error(right, truth, fixed) == pytest.approx(5.0, abs=1e-6)
    numbers = scores.regularity_scores(right, fixed, has_inverse=True)
    assert numbers["folded_share"] == 0 and numbers["inverse_consistency_mm"] == pytest.approx(0)
    assert scores.regularity_scores(right, fixed, False)["inverse_consistency_mm"] is None


def test_fields_of_peers_in_voxels_become_physical() -> None:
    grid = sitk.Image(2, 2, 2, sitk.sitkFloat32)
    grid.SetSpacing((2.0, 3.0, 4.0))
    grid.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))  # the axis x of the grid points along y
    voxels = np.zeros((2, 2, 2, 3))
    voxels[...] = (0.5, 0.0, 1.0)  # along z, y, x
    assert peers.field_of_voxels(voxels, grid)[0, 0, 0] == pytest.approx((0.0, 2.0, 2.0))


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux only")
def test_peak_memory_is_the_process_s_own() -> None:
    before = meter.peak_mb()
    block = np.ones(50 * 2**20)
    after = meter.peak_mb()
    assert after > before + 300 or after > 800
    # a process started by a large one is not large itself
    code = "from tests.benchmarks import meter; print(meter.peak_mb())"
    root = Path(__file__).parents[2]
    child = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert 1 < float(child.stdout) < 100
    assert block.size


def write_pair(folder: Path) -> Path:
    (moving, _), (fixed, mask), truth = cases.pair()
    values = images.array(fixed)
    levels = np.where(images.bool_array(mask), 1 + (values > 0.6) + (values > 0.75), 0)
    labels = images.like(levels.astype(np.uint8), fixed)
    backward = sitk.CompositeTransform(
        [sitk.DisplacementFieldTransform(sitk.Image(truth.inverse_warp)), truth.affine.GetInverse()]
    )
    images.write_image(moving, folder / "moving.nii.gz")
    images.write_image(fixed, folder / "fixed.nii.gz")
    images.write_image(labels, folder / "fixed_labels.nii.gz")
    moved = images.resample(labels, moving, backward, labels=True)
    images.write_image(moved, folder / "moving_labels.nii.gz")
    images.write_image(to_field(forward_transform(truth), fixed), folder / "truth_field.nii.gz")
    row = {name: f"{name}.nii.gz" for name in (*pairs.NEEDED, "truth_field")} | {"name": "made"}
    files.write_tsv(folder / "pairs.tsv", pairs.COLUMNS, [row])
    return folder / "pairs.tsv"


def test_a_run_scores_our_methods_and_tells_of_failures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "bench.tsv"
    arguments = ["--pairs", write_pair(tmp_path), "--cores", 1, "--out", out]
    chosen = ["--methods", "affine,demons,greedy", "--baseline", "affine"]
    nowhere = ["--peers", tmp_path / "no-python"]
    code = bench_main.main([str(a) for a in [*arguments, *chosen, *nowhere]])
    assert code == Exit.SOME
    rows = {row["method"]: row for row in files.read_tsv(out)}
    number = {n: {k: float(rows[n][k] or "nan") for k in rows[n] if k in KEYS} for n in rows}
    assert number["demons"]["dice"] > number["affine"]["dice"] + 0.02
    assert number["demons"]["tre_mm"] < 0.75 * number["affine"]["tre_mm"]
    assert number["demons"]["hd95_mm"] > 0 and number["demons"]["folded_share"] == 0
    assert 0 < number["demons"]["inverse_consistency_mm"] < 0.2
    assert number["affine"]["log_jacobian_sd"] == 0 < number["demons"]["log_jacobian_sd"]
    for name in ("affine", "demons"):
        assert number[name]["seconds"] > 0 and number[name]["peak_mb"] > 50
    assert "no-python" in rows["greedy"]["error"] and rows["greedy"]["dice"] == ""
    labels = files.read_tsv(out.with_name("bench_labels.tsv"))
    assert [(row["method"], row["label"]) for row in labels] == [
        (method, label) for method in ("affine", "demons") for label in "123"
    ]
    dice = [float(row["dice"]) for row in labels if row["method"] == "demons"]
    assert sum(dice) / 3 == pytest.approx(number["demons"]["dice"], abs=1e-4)
    shown = capsys.readouterr().out
    assert "1 pairs, 1 cores" in shown and "| demons | 1 |" in shown and "| greedy | 0 |" in shown
    assert not list((tmp_path / "out" / "bench-register" / "work").iterdir())


KEYS = (
    "dice", "hd95_mm", "tre_mm", "folded_share", "log_jacobian_sd", "inverse_consistency_mm",
    "seconds", "peak_mb",
)  # fmt: skip


def test_an_unknown_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VoxelwayError, match="ants-syn-cc"):
        bench_main.main(["--methods", "magic", "--out", str(tmp_path / "b.tsv")])
