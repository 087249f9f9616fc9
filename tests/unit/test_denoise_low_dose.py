"""Low-dose CT: projections by hand, noise that is what it is said to be, a network in a window."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import config, images, methods
from pipeline.denoise import noise
from pipeline.denoise.learning import low_dose, presets, samples
from pipeline.denoise.learning.low_dose import Doses, LowDose, Projected, Scanner
from pipeline.denoise.learning.projections import Geometry, Region, line_integrals
from pipeline.denoise.noise import Noise
from pipeline.denoise.request import Request
from pipeline.errors import Exit, VoxelwayError
from pipeline.restore.volumes import Source, Volume, read_volume

from .contract_cases import SMALL, voxelway
from .test_denoise_refined import bundle

WINDOW = (-1000.0, 1000.0)
#: A slice of 64 x 80 voxels of 1 mm.
GEOMETRY = Geometry((64, 80), (1.0, 1.0), 90, 1.0)


def disc(radius: float, middle: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
    """0.02 / mm inside; finer than the voxels at the edge."""
    y, x = np.mgrid[: 64 * 5, : 80 * 5] / 5 - np.array([31.9, 39.9])[:, None, None]
    fine = np.hypot(y - middle[0], x - middle[1]) < radius
    values = fine.reshape(64, 5, 80, 5).mean(axis=(1, 3)) * 0.02
    return torch.from_numpy(values.astype(np.float32))[None]


def whole(reach: int) -> Region:
    return Region(GEOMETRY, (0, 0), (64, 80), reach)


def test_a_ray_through_a_disc_is_as_long_as_its_chord() -> None:
    found = line_integrals(disc(20.0, (4.0, -6.0)), GEOMETRY)[0]
    for view in (0, 20, 45, 71):
        angle = math.pi * view / 90
        middle = -6.0 * math.cos(angle) + 4.0 * math.sin(angle)
        offset = np.arange(GEOMETRY.bins) - (GEOMETRY.bins - 1) / 2 - middle
        chord = 2.0 * np.sqrt(np.maximum(0.0, 400.0 - offset**2))
        # half a step from the edge a chord changes by more than a voxel
        far = np.abs(np.abs(offset) - 20.0) > 1.5
        assert np.allclose(found[view].numpy()[far], 0.02 * chord[far], atol=0.02 * 0.9)


def test_back_projection_gives_the_attenuation_back() -> None:
    given = disc(20.0, (4.0, -6.0))
    region = whole(GEOMETRY.bins)
    found = region.reconstructed(region.cut(line_integrals(given, GEOMETRY)))
    y, x = np.mgrid[:64, :80]
    far = np.hypot(y - 35.5, x - 33.5)
    assert np.allclose(found[0].numpy()[far < 17], 0.02, rtol=0.02)
    assert np.abs(found[0].numpy()[far > 24]).max() < 0.001


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 50), st.integers(0, 66), st.integers(1, 14), st.integers(1, 14))
def test_a_part_is_what_it_is_in_the_whole(y: int, x: int, height: int, width: int) -> None:
    sinogram = torch.from_numpy(
        np.random.default_rng(y + x).normal(size=(2, 90, GEOMETRY.bins)).astype(np.float32)
    )
    all_of_it, part = whole(10), Region(GEOMETRY, (y, x), (height, width), 10)
    expected = all_of_it.reconstructed(all_of_it.cut(sinogram))[:, y : y + height, x : x + width]
    found = part.reconstructed(part.cut(sinogram))
    assert torch.allclose(found, expected, atol=1e-4)


def test_the_deviation_is_that_of_many_draws() -> None:
    rng = np.random.default_rng(0)
    variance = torch.exp(line_integrals(disc(25.0), GEOMETRY)) / 1e4
    region = whole(12)
    told = region.deviation(region.cut(variance))[0].numpy()
    drawn = rng.normal(size=(200, *variance.shape[1:])).astype(np.float32)
    rays = torch.from_numpy(drawn) * variance.sqrt()
    seen = region.reconstructed(region.cut(rays)).numpy().std(axis=0)
    ratio = (seen / told)[4:-4, 4:-4]
    # 200 draws tell a deviation to 5 %
    assert ratio.mean() == pytest.approx(1.0, abs=0.01) and ratio.std() < 0.06
    assert told[32, 40] > 1.15 * told[2, 2]


def scan(spacing: tuple[float, float, float] = (1.5, 1.0, 1.0), own: float = 0.0) -> Volume:
    """A cylinder of water in air, 60 mm wide."""
    _, y, x = np.mgrid[:24, :72, :80]
    water = np.hypot(y - 35.5, x - 39.5) < 30
    values = np.where(water, 0.5, 0.0).astype(np.float32)
    return Volume("ct/1", "CT", values, water, spacing, own, False, "d", magnitude=False)


def test_four_times_the_photons_halve_the_noise() -> None:
    projected = Projected(scan(), WINDOW, Scanner(electronic=0.0, views=90))
    few, many = (
        projected.noise((4, 20, 24), (12, 24, 24), photons, np.random.default_rng(1))
        for photons in (1e5, 4e5)
    )
    assert few[0].std() == pytest.approx(2.0 * many[0].std(), rel=0.05)
    assert np.allclose(few[1], 2.0 * many[1], rtol=1e-3)
    assert few[0].std() == pytest.approx(np.sqrt(np.mean(np.square(few[1]))), rel=0.05)
    assert abs(float(few[0].mean())) < 0.1 * few[0].std()


def test_the_electronics_add_noise_where_few_photons_come_through() -> None:
    without, beside = (
        Projected(scan(), WINDOW, Scanner(electronic=e, views=60)).noise(
            (0, 30, 34), (8, 12, 12), 1e3, np.random.default_rng(2)
        )
        for e in (0.0, 30.0)
    )
    # the ray through the middle: exp(-0.0206 * 60) of 1000 photons, and 900 more of variance
    assert beside[1].mean() / without[1].mean() == pytest.approx(
        math.sqrt(1.0 + 900.0 / (1000.0 * math.exp(-0.0206 * 60))), rel=0.1
    )


def test_a_part_beyond_the_volume_is_in_air() -> None:
    projected = Projected(scan(), WINDOW, Scanner(views=60))
    made, deviation = projected.noise((20, -6, -6), (10, 8, 8), 1e4, np.random.default_rng(0))
    assert made.shape == deviation.shape == (10, 8, 8)
    assert np.isfinite(made).all() and (deviation > 0).all()


def test_a_sample_tells_the_level_that_the_stage_would_estimate() -> None:
    source = LowDose([Projected(scan(), WINDOW, Scanner((1e4, 1e5), views=120))], 24)
    told, seen = [], []
    for number in range(6):
        sample = source(np.random.default_rng([3, number]), number)
        assert {key: value.shape for key, value in sample.items()} == dict.fromkeys(
            ("clean", "noisy", "level", "inside"), (1, 24, 24, 24)
        )
        assert sample["noisy"].min() >= 0.0 and sample["noisy"].max() <= 1.0
        picture = sitk.GetImageFromArray(sample["noisy"][0])
        picture.SetSpacing((1.0, 1.0, 1.5))
        inside = sitk.GetImageFromArray(sample["inside"][0].astype(np.uint8))
        told.append(float(np.median(sample["level"][sample["inside"] > 0])))
        seen.append(noise.estimate(picture, inside, "gaussian").sigma)
    assert np.allclose(np.log(np.array(seen) / told), 0.0, atol=0.25)
    assert np.mean(seen) == pytest.approx(np.mean(told), rel=0.12)


def test_the_validation_goes_from_the_most_photons_to_the_fewest() -> None:
    projected = [Projected(scan(), WINDOW, Scanner((1e3, 1e5), views=45))] * 2
    judged = Doses(projected, 20)
    assert judged.count == 6
    drawn = [judged(np.random.default_rng([0, k]), k) for k in range(6)]
    spread = [float((one["noisy"] - one["clean"]).std()) for one in drawn]
    assert spread[0] < spread[1] < spread[2] and spread[3] < spread[4] < spread[5]
    assert [judged.label("PSNR", k) for k in (0, 4, 5)] == [
        "PSNR at 1e+05 photons, dB", "PSNR at 1e+04 photons, dB", "PSNR at 1e+03 photons, dB",
    ]  # fmt: skip


def ct(path: Path, turned: bool = False) -> Path:
    """The cylinder in Hounsfield units, with a pin of 3000 HU and a table far below air."""
    values = images_of(scan())
    values[:, 34:37, 38:41] = 3000.0
    values[:, -2:] = -2000.0
    picture = sitk.GetImageFromArray(values)
    picture.SetSpacing((1.0, 1.0, 1.5))
    images.write_image(sitk.DICOMOrient(picture, "ASL") if turned else picture, path)
    return path


def images_of(volume: Volume) -> np.ndarray[Any, np.dtype[np.float32]]:
    rng = np.random.default_rng(5)
    drawn = rng.normal(0.0, 4.0, volume.values.shape).astype(np.float32)
    return np.asarray(volume.values * 2000.0 - 1000.0 + drawn, dtype=np.float32)


def test_slices_lie_along_the_first_axis_however_the_file_is_turned(tmp_path: Path) -> None:
    source = Source("ct", tmp_path, "*", "CT", "own", window=WINDOW)
    plain = read_volume(source, ct(tmp_path / "a.nii.gz"), "1")
    turned = read_volume(source, ct(tmp_path / "b.nii.gz", turned=True), "1")
    assert plain.values.shape == turned.values.shape and plain.spacing == (1.5, 1.0, 1.0)
    assert np.allclose(plain.values, turned.values)
    assert plain.values.min() == 0.0 and plain.values.max() == 1.0
    # 4 HU of a window of 2000
    assert plain.noise == pytest.approx(0.002, rel=0.2) and not plain.magnitude


def test_a_network_keeps_what_lies_beyond_its_window(tmp_path: Path) -> None:
    image = images.read_image(ct(tmp_path / "a.nii.gz"))
    asked = Request(image, image > -500, Noise(40.0, 2.0, "gaussian", None), 1.0)
    torch.manual_seed(0)
    for bias in (0.0, 0.25):
        folder = bundle(tmp_path / f"{bias}", bias, "drunet", window=list(WINDOW))
        found = images.array(methods.create("denoise", "drunet", {}, folder)(asked))
        gone = images.array(image) - found
        # the untrained network changes nothing but by its bias, in units of the level
        assert np.allclose(gone, bias * 40.0, atol=8.0)
        assert found.max() > 2900.0 and found.min() < -1950.0


def test_a_training_on_ct_ends_in_a_bundle_that_denoises_ct(tmp_path: Path) -> None:
    for number in range(3):
        folder = tmp_path / "data" / f"{number}"
        folder.mkdir(parents=True)
        ct(folder / "ct.nii.gz")
    section = {
        "method": "redcnn",
        "network": {"arguments": SMALL["redcnn"]},
        "learning": {
            "data": [{"name": "drawn", "folder": str(tmp_path / "data"), "files": "*/ct.nii.gz",
                      "contrast": "CT", "licence": "none"}],
            "noise": {"kind": "low_dose_ct", "photons": [1000, 10000], "views": 45},
            "window": [-1000, 1000], "patch": 16, "validation_patch": 16, "crops": 2,
        },
        "training": {"steps": 2, "batch": 1, "warmup": 0, "validate_every": 2},
    }  # fmt: skip
    settings_file = tmp_path / "config.yaml"
    settings_file.write_text(json.dumps({"denoise": section}))
    model = tmp_path / "model"
    assert voxelway("train", "denoise", "--config", settings_file, "--out", model) == Exit.DONE
    about = json.loads((model / "metadata.json").read_text())
    assert about["inputs"]["window"] == [-1000.0, 1000.0]
    assert about["inputs"]["contrasts"] == ["CT"]
    card = (model / "README.md").read_text()
    assert "low-dose CT" in card and "psnr at 1e+03 photons" in card
    result = tmp_path / "sub-1_CT.nii.gz"
    image = ct(tmp_path / "noisy_CT.nii.gz")
    settings_file.write_text(json.dumps({"denoise": {"threshold": 0}}))
    code = voxelway("denoise", image, result, "--config", settings_file, "--method", "redcnn",
                    "--model", model)  # fmt: skip
    assert code == Exit.DONE
    assert json.loads((tmp_path / "sub-1_CT.json").read_text())["LeftAlone"] is False
    assert images.array(images.read_image(result)).max() > 1500.0


@pytest.mark.parametrize(
    ("learning", "told"),
    [
        ({"noise": {"kind": "low_dose_ct"}}, "learning.window is not given"),
        ({"window": [100, -100]}, "-100 is not above 100"),
        ({"noise": {"kind": "low_dose_ct", "photons": [1000, 500]}, "window": [-1000, 1000]},
         "1000 is more than 500"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(learning: dict[str, Any], told: str) -> None:
    params = config.section("denoise", {"method": "drunet", "learning": learning})
    with pytest.raises(VoxelwayError, match=f"E-CONFIG-VALUE.*{told}"):
        samples.window_of(params["learning"])
        samples.make(params["learning"], presets.chosen(params), ([], []), 0)


def test_a_refiner_does_not_learn_low_dose_ct() -> None:
    learning = {"noise": {"kind": "low_dose_ct"}, "window": [-1000, 1000]}
    params = config.section("denoise", {"method": "refined_filters", "learning": learning})
    with pytest.raises(VoxelwayError, match=r"E-CONFIG-VALUE.*take drunet or redcnn"):
        samples.make(params["learning"], presets.chosen(params), ([], []), 0)


def test_neighbours_that_are_not_independent_hide_noise_from_the_estimate() -> None:
    rng = np.random.default_rng(0)
    white = rng.normal(size=(20, 30, 30)).astype(np.float32)
    assert low_dose.estimated(white, (1, 1, 1)) == pytest.approx(1.0, rel=0.05)
    # the mean of two neighbours: second differences see sqrt(3 * 5 / 36) of what is there
    mean = 0.5 * (white[..., 1:] + white[..., :-1])
    share = low_dose.estimated(mean, (1, 1, 1)) / mean.std()
    kernel = np.convolve([0.5, 0.5], noise.SECOND_DIFFERENCE)
    assert share == pytest.approx(math.sqrt(np.sum(kernel**2) / 0.5), rel=0.06)
