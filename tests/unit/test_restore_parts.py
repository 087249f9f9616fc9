"""Volumes, patches and tiles that denoising and super-resolution share."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.networks.shuffle import to_depth, to_space
from pipeline.restore import patches, tiles, volumes
from pipeline.restore.volumes import Source, Volume


def ball(side: int = 32, noise: float = 0.02, seed: int = 0) -> sitk.Image:
    """A ball of two tissues, 100 and 200, emptied outside."""
    place = np.mgrid[:side, :side, :side] - (side - 1) / 2
    radius = np.sqrt((place**2).sum(axis=0))
    values = np.where(radius < side / 4, 200.0, 100.0)
    values = ndimage.gaussian_filter(values, 0.8)
    drawn = np.random.default_rng(seed).normal(0, noise * 100, values.shape)
    return sitk.GetImageFromArray(np.where(radius < 0.45 * side, values + drawn, 0).astype("f4"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(1, 5):
        images.write_image(ball(seed=number), tmp_path / f"sub-{number}_T1w.nii.gz")
    return tmp_path


def source(folder: Path, **more: object) -> Source:
    entry = {"name": "set", "folder": folder, "files": "sub-*_T1w.nii.gz", "contrast": "T1w"}
    return Source.of({**entry, "licence": "CC0", **more})


def test_sides_share_no_subject_and_leave_the_held_out_unread(folder: Path) -> None:
    (folder / "sub-4_T1w.nii.gz").write_text("no image: reading it would be an error")
    given = source(folder, held_out=["sub-4"], validation=["sub-2"], weight=3)
    train, validation = volumes.read_sides([given], 0.1)
    assert [item.subject for item in train] == ["set/sub-1", "set/sub-3"]
    assert [item.subject for item in validation] == ["set/sub-2"]
    assert train[0].weight == pytest.approx(1.0)
    # without names the last ones are validated on, at least one
    train, validation = volumes.read_sides([source(folder, held_out=["sub-4"])], 0.1)
    assert [item.subject for item in validation] == ["set/sub-3"]


def test_a_volume_has_the_range_one_and_knows_its_noise(folder: Path) -> None:
    volume = volumes.read_sides([source(folder)], 0.1)[0][0]
    low, high = np.percentile(volume.values[volume.mask], [0.5, 99.5])
    assert high - low == pytest.approx(1.0, abs=0.02)
    # 2 of 100 between the tissues, whose robust range the noise widens a little
    assert volume.noise == pytest.approx(0.02, rel=0.25)
    assert volume.emptied and volume.contrast == "T1w"
    made_up = volumes.read_sides([source(folder, noise_free=True)], 0.1)[0][0]
    assert made_up.noise == 0.0


def test_one_subject_on_both_sides_is_refused(folder: Path) -> None:
    first = source(folder, validation=["sub-1"])
    second = source(folder, validation=["sub-2"])
    with pytest.raises(VoxelwayError) as caught:
        volumes.read_sides([first, second], 0.1)
    assert caught.value.code == "E-TRAIN-SPLIT"
    with pytest.raises(VoxelwayError) as caught:
        volumes.read_sides([source(folder, files="none*")], 0.1)
    assert caught.value.code == "E-TRAIN-DATA"


def made(values: np.ndarray, emptied: bool = False) -> Volume:
    mask = np.ones(values.shape, bool)
    return Volume("s/1", "T1w", values.astype("f4"), mask, (1, 1, 1), 0.0, emptied, "")


def test_a_patch_is_the_voxels_around_its_place() -> None:
    values = np.arange(10 * 11 * 12).reshape(10, 11, 12)
    patch = patches.cut(made(values), 4, (5, 5, 5))
    assert np.array_equal(patch.values, values[3:7, 3:7, 3:7])
    # at a face it moves inside, and a volume that is too small repeats its edge
    assert np.array_equal(patches.cut(made(values), 4, (0, 0, 11)).values, values[:4, :4, 8:])
    wide = patches.cut(made(values), 12, (5, 5, 5))
    assert np.array_equal(wide.values[1:-1, 0, :], values[:, 0, :])
    assert not wide.inside[0].any() and wide.inside[1:-1, 1, :].all()


def test_thicker_slices_are_means_of_slices() -> None:
    values = np.arange(24, dtype=float)[:, None, None] * np.ones((24, 4, 4))
    found = patches.thicker(patches.cut(made(values), 24, (0, 0, 0)), 4, np.random.default_rng(0))
    steps = np.diff(found.values[:, 0, 0])
    assert found.changed and np.allclose(steps, steps[0]) and steps[0] in (2.0, 3.0, 4.0)
    assert found.values[0, 0, 0] == (steps[0] - 1) / 2


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_variety_keeps_shape_range_and_emptiness(seed: int) -> None:
    values = images.array(ball(24)) / 100
    rng = np.random.default_rng(seed)
    patch = patches.cut(made(values, emptied=True), 16, (12, 12, 12))
    for change in (patches.turned, patches.recoloured):
        changed = change(patch, rng)
        assert changed.values.shape == (16, 16, 16) and np.isfinite(changed.values).all()
        assert changed.values.min() >= 0
    assert np.array_equal(
        np.sort(patches.turned(patch, rng).values, None), np.sort(patch.values, None)
    )
    recoloured = patches.recoloured(patch, rng)
    assert (recoloured.values[patch.values == 0] == 0).all()
    finer = patches.finer(patch, 16, rng)
    assert finer.values.shape == (16, 16, 16) and finer.changed


def test_weights_decide_how_often_a_volume_is_drawn() -> None:
    from dataclasses import replace

    one = made(np.ones((2, 2, 2)))
    both = [replace(one, subject="a/1", weight=3.0), replace(one, subject="b/1", weight=1.0)]
    rng = np.random.default_rng(0)
    drawn = [patches.choose(both, rng).subject for _ in range(400)]
    assert 0.68 < drawn.count("a/1") / 400 < 0.82


@given(shape=st.tuples(*[st.integers(1, 40)] * 3), tile=st.integers(4, 16), share=st.floats(0, 0.7))
@settings(max_examples=50, deadline=None)
def test_tiles_cover_every_voxel_and_overlap(
    shape: tuple[int, int, int], tile: int, share: float
) -> None:
    overlap = int(share * tile)
    count = np.zeros(shape, int)
    found = list(tiles.boxes(shape, tile, overlap))
    for box in found:
        assert all(0 <= part.start < part.stop <= n for part, n in zip(box, shape, strict=True))
        assert all(part.stop - part.start <= tile for part in box)
        count[box] += 1
    assert count.min() >= 1
    for axis in range(3):
        parts = sorted({(box[axis].start, box[axis].stop) for box in found})
        for one, other in itertools.pairwise(parts):
            assert one[0] < other[0] and one[1] - other[0] >= overlap
    volume = torch.rand((2, *shape))
    assert torch.allclose(tiles.run(lambda part: 2 * part, volume, tile, overlap), 2 * volume)


def test_little_is_computed_twice() -> None:
    # two of 58 would do: 100 and the 16 that they share
    spans = {(box[0].start, box[0].stop) for box in tiles.boxes((100, 5, 96), 96, 16)}
    assert spans == {(0, 64), (36, 100)}
    assert all(box[2] == slice(0, 96) for box in tiles.boxes((100, 5, 96), 96, 16))


def test_tiles_blend_what_differs_between_them() -> None:
    seen: list[int] = []

    def numbered(part: torch.Tensor) -> torch.Tensor:
        seen.append(len(seen))
        return torch.full_like(part, float(len(seen)))

    found = tiles.run(numbered, torch.zeros((1, 1, 1, 12)), 8, 4)[0, 0, 0]
    assert len(seen) == 2
    # alone at its ends, and an even mixture, without a step, in the middle
    assert found[0] == 1 and found[-1] == 2
    assert found[5:7].mean() == pytest.approx(1.5)
    assert (found.diff() >= 0).all() and found.diff().max() < 0.5


def test_a_tile_fits_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "free_bytes", lambda device: 2 * 1000 * 41**3)
    cpu = torch.device("cpu")
    assert tiles.fitting(1000.0, 8, 96, cpu) == 40
    assert tiles.fitting(10.0, 8, 96, cpu) == 96
    # never so small that nothing is left between the overlaps
    assert tiles.fitting(1e9, 8, 96, cpu) == 32


def test_space_to_depth_is_undone() -> None:
    volume = torch.arange(2 * 3 * 4 * 6 * 8.0).reshape(2, 3, 4, 6, 8)
    blocks = to_depth(volume, (2, 3, 4))
    assert blocks.shape == (2, 72, 2, 2, 2)
    assert torch.equal(to_space(blocks, (2, 3, 4)), volume)
    # the first block's voxels, in their order, are the channels of the first place
    assert torch.equal(blocks[0, :24, 0, 0, 0], volume[0, 0, :2, :3, :4].reshape(-1))
    with pytest.raises(ValueError, match="do not divide"):
        to_depth(volume, (3, 1, 1))


def test_a_guide_lies_on_its_volume(folder: Path) -> None:
    for number in range(1, 5):
        image = images.read_image(folder / f"sub-{number}_T1w.nii.gz")
        # twice as bright, and all else the same
        images.write_image(image * 2.0, folder / f"sub-{number}_T2w.nii.gz")
    train, validation = volumes.read_sides([source(folder, guide="T2w")], 0.1)
    alone, _ = volumes.read_sides([source(folder)], 0.1)
    for one in (*train, *validation):
        assert one.guide is not None
        # both have a robust range of one
        assert np.allclose(one.guide, one.values, atol=0.02)
    assert train[0].digest != alone[0].digest and alone[0].guide is None


def test_a_guide_that_does_not_fit_is_refused(folder: Path) -> None:
    with pytest.raises(VoxelwayError, match=r"E-TRAIN-DATA.*no T2w beside it"):
        volumes.read_sides([source(folder, guide="T2w")], 0.1)
    for number in range(1, 5):
        images.write_image(ball(side=24), folder / f"sub-{number}_T2w.nii.gz")
    with pytest.raises(VoxelwayError, match="E-IMG-GRID"):
        volumes.read_sides([source(folder, guide="T2w")], 0.1)
    for number in range(1, 5):
        inside = sitk.BinaryDilate(ball() > 0, (2, 2, 2))
        flat = sitk.Cast(inside, sitk.sitkFloat32)
        images.write_image(flat, folder / f"sub-{number}_T2w.nii.gz")
    with pytest.raises(VoxelwayError, match=r"E-SIGNAL.*constant"):
        volumes.read_sides([source(folder, guide="T2w")], 0.1)
