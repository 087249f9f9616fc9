"""Scans to learn from, what is drawn of them, losses, and trainings of a few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import config, images, methods, networks, runner, status
from pipeline.bundles import SAMPLES
from pipeline.errors import VoxelwayError
from pipeline.paths import Results, Unit
from pipeline.synthesize import stage, train
from pipeline.synthesize.learning import alignment, cases, cohort, draw, losses, paired, profile
from pipeline.synthesize.learning import run as learning
from pipeline.training import gallery

from . import synthesize_cases as made

EVERY = {"T1w": 1.0, "T2w": 1.0, "FLAIR": 1.0}


def params(method: str = "encoder_decoder", **options: Any) -> dict[str, Any]:
    asked = {
        "method": method,
        "network": {"arguments": {"features": [4, 8]} if "cascade" not in method
                    else {"width": 4, "dilations": [1]}},
        "learning": {"spacing": 5.0, "patch": 12, "validation_patches": 2, **options},
        "training": {"steps": 2, "batch": 2, "validate_every": 1, "warmup": 0},
    }  # fmt: skip
    return {**config.section("synthesize", asked), "seed": 0}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, dict[str, Unit]]:
    return made.cohort(tmp_path_factory.mktemp("cohort") / "results")


@pytest.fixture(scope="module")
def scans(results: tuple[Results, dict[str, Unit]]) -> list[cases.Scan]:
    return cohort.read(results[0].root, 5.0, 4.0, 0.3)


def grid(spacing: float = 5.0) -> sitk.Image:
    image = sitk.Image((12, 12, 12), sitk.sitkFloat32)
    image.SetSpacing((spacing,) * 3)
    return image


def test_a_box_of_three_voxels_has_three_equal_weights() -> None:
    points = profile.across([-5.0, 0.0, 5.0], np.array([0.0, 0.0, 1.0]), grid())
    kernel = profile.kernel(points, 5.0)
    assert kernel.shape == (3, 3, 3)
    assert kernel[:, 1, 1].tolist() == pytest.approx([1 / 3] * 3)
    # half a voxel away: shared by two neighbours; along x it is the last axis
    halves = profile.kernel(profile.across([2.5], np.array([1.0, 0.0, 0.0]), grid()), 5.0)
    assert halves[1, 1].tolist() == pytest.approx([0.0, 0.5, 0.5])
    assert profile.kernel(torch.zeros(1, 3), 5.0).tolist() == [[[1.0]]]


@settings(max_examples=25, deadline=None)
@given(
    normal=st.tuples(*[st.floats(-1, 1) for _ in range(3)]).filter(
        lambda n: np.linalg.norm(n) > 0.1
    ),
    thick=st.floats(1.0, 30.0),
)
def test_weights_add_up_and_lie_about_the_middle(normal: tuple[float, ...], thick: float) -> None:
    unit = np.asarray(normal) / np.linalg.norm(normal)
    steps = [-thick / 2, 0.0, thick / 2]
    kernel = profile.kernel(profile.across(steps, unit, grid()), 5.0).numpy()
    assert kernel.sum() == pytest.approx(1.0, abs=1e-5) and (kernel >= 0).all()
    places = np.argwhere(kernel > 0) - kernel.shape[0] // 2
    assert (kernel[kernel > 0] @ places) == pytest.approx([0.0] * 3, abs=1e-4)


def test_middle_of_thick_slices_is_every_third_voxel() -> None:
    still = sitk.Transform(3, sitk.sitkIdentity)
    native = made.thick(np.ones(made.SIZE, np.float32))
    found = profile.middle(native, still, made.grid())
    assert found.any(axis=(1, 2)).tolist() == [k % 3 == 1 for k in range(24)]
    assert found[1].all()


def test_average_takes_each_samples_own_kernel() -> None:
    ramp = torch.arange(6.0).view(1, 1, 6, 1, 1).expand(2, 1, 6, 3, 3) ** 2
    kernels = torch.stack([profile.sized(profile.delta(), 3), torch.zeros(3, 3, 3)])
    kernels[1, :, 1, 1] = 1 / 3
    found = profile.average(ramp, kernels)
    assert torch.equal(found[0], ramp[0])
    # (1 + 4 + 9) / 3 at 2
    assert found[1, 0, 2, 1, 1].item() == pytest.approx(14 / 3)


def test_thin_anatomy_explains_thick_slices_better_than_its_blur(scans: list[cases.Scan]) -> None:
    scan = next(s for s in scans if "FLAIR" in s.contrasts)
    target = scan.targets["FLAIR"]
    assert target.kernel.shape == (5, 5, 5) and 0.25 < target.seen[scan.mask].float().mean() < 0.4
    number = int(scan.name.split("sub-S")[1][0])
    truth = np.zeros(tuple(scan.mask.shape), np.float32)
    whole = images.like(made.truth(number, "FLAIR"), made.grid())
    _, ball = made.anatomy(number)
    # the scan is a box of the whole, axes as there
    box = np.argwhere(ball)
    first = box.min(axis=0) - np.argwhere(scan.mask.numpy()).min(axis=0)
    values = images.array(whole)
    low = np.maximum(first, 0)
    part = values[tuple(slice(a, a + n) for a, n in zip(low, truth.shape, strict=True))]
    thin = torch.from_numpy(part / scan.levels["FLAIR"])[None, None]
    inside = (target.seen & scan.mask)[None, None].float()
    wanted = target.values[None, None]
    averaged = profile.average(thin, target.kernel[None])
    twice = profile.average(averaged, target.kernel[None])
    assert losses.l1(averaged, wanted, inside) < 0.03
    assert losses.l1(averaged, wanted, inside) < 0.5 * losses.l1(thin, wanted, inside)
    assert losses.l1(averaged, wanted, inside) < 0.5 * losses.l1(twice, wanted, inside)


def test_scans_of_a_cohort(scans: list[cases.Scan]) -> None:
    assert len(scans) == 4 and {scan.split for scan in scans} == {"train", "val"}
    for scan in scans:
        inside = scan.contrasts["T1w"][scan.mask]
        assert inside.median().item() == pytest.approx(1.0, abs=0.05)
        assert not scan.contrasts["T1w"][~scan.rim].any() and scan.spacing == 5.0
    cases.sides(scans)
    # of those with all contrasts the last two
    assert [s.subject for s in scans if s.split == "val"] == ["cohort/S2", "cohort/S3"]


def write(folder: Path, subject: str, suffix: str, shift: int = 0, step: float = 5.0) -> None:
    """A contrast of a made head, moved by voxels; on a finer grid for another step."""
    _, ball = made.anatomy(1)
    values = np.where(ball, made.truth(1, suffix), 0.0).astype(np.float32)
    image = images.like(np.roll(values, shift, axis=2), made.grid())
    if step != made.SPACING:
        image = images.resample(image, images.spaced_grid(image, (step,) * 3), order=1)
    images.write_image(image, folder / f"{subject}_{suffix}.nii.gz")


def source(folder: Path, **options: Any) -> cases.Source:
    entry = {
        "name": "set", "folder": str(folder), "licence": "own",
        "files": {"T1w": "sub-*_T1w.nii.gz", "T2w": "sub-*_T2w.nii.gz"}, **options,
    }  # fmt: skip
    return cases.Source.of(entry)


def test_folders_of_images_on_other_grids(tmp_path: Path) -> None:
    for subject in ("sub-1", "sub-2", "sub-3"):
        write(tmp_path, subject, "T1w")
        write(tmp_path, subject, "T2w", step=4.0)
    found = cases.read_folders([source(tmp_path, held_out=["sub-2"])], 0.1, 5.0, 0.0)
    assert [(s.name, s.split) for s in found] == [("set/sub-1", "train"), ("set/sub-3", "val")]
    scan = found[0]
    assert scan.contrasts["T1w"].shape == scan.contrasts["T2w"].shape
    assert (
        np.corrcoef(scan.contrasts["T1w"][scan.mask], scan.contrasts["T2w"][scan.mask])[0, 1] < -0.7
    )
    apart = cases.read_folders([source(tmp_path, paired=False)], 0.1, 5.0, 0.0)
    assert {len(s.contrasts) for s in apart} == {1} and len(apart) == 6


def test_contrasts_that_do_not_lie_on_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "sub-1", "T1w")
    write(tmp_path, "sub-1", "T2w", shift=3)
    with pytest.raises(VoxelwayError) as error:
        cases.read_folders([source(tmp_path)], 0.1, 5.0, 0.0)
    assert error.value.code == "E-OVERLAP" and "T2w" in str(error.value)


def test_a_smaller_field_of_view_is_learned_where_it_is(tmp_path: Path) -> None:
    write(tmp_path, "sub-1", "T1w")
    write(tmp_path, "sub-1", "T2w")
    path = tmp_path / "sub-1_T2w.nii.gz"
    images.write_image(images.read_image(path)[:, :, 4:], path)
    (scan,) = cases.read_folders([source(tmp_path)], 0.1, 5.0, 0.0)
    seen = scan.targets["T2w"].seen.any(dim=(1, 2))
    assert seen.sum() < scan.targets["T1w"].seen.any(dim=(1, 2)).sum() and not seen[0]


def test_nothing_shared_is_no_alignment() -> None:
    one = np.zeros((8, 8, 8), np.float32)
    one[:2] = 1.0
    with pytest.raises(VoxelwayError, match="0 %"):
        alignment.check(one, one[::-1].copy(), np.ones((8, 8, 8), bool), 5.0, "made up")


def pairs(scans: list[cases.Scan], **options: Any) -> draw.Pairs:
    return draw.Pairs(scans, ("FLAIR", "T1w", "T2w"), ("FLAIR", "T2w"), (8, 10, 12), **options)


@pytest.mark.parametrize("turned", [False, True])
def test_samples_hold_what_is_given_and_never_the_target(
    scans: list[cases.Scan], turned: bool
) -> None:
    drawn = draw.Training(pairs(scans, dropout=0.6, turned=turned))
    seen = set()
    for number in range(40):
        sample = drawn(np.random.default_rng(number), number)
        names = [n for n, g in zip(("FLAIR", "T1w", "T2w"), sample["given"], strict=True) if g]
        target = ("FLAIR", "T2w")[int(sample["which"])]
        assert names and target not in names
        seen.add((target, *names))
        assert sample["sources"].shape == (3, 8, 10, 12) and sample["target"].shape == (
            1,
            8,
            10,
            12,
        )
        assert not sample["sources"][sample["given"] == 0].any()
        assert sample["kernel"].shape == (5, 5, 5)
    assert {("FLAIR", "T1w"), ("FLAIR", "T1w", "T2w"), ("T2w", "T1w")} <= seen


def test_mirrored_samples_stay_aligned(scans: list[cases.Scan]) -> None:
    scan = scans[0]
    same = cases.Scan(**{**vars(scan), "contrasts": {"T1w": scan.contrasts["T1w"]} | {
        "T2w": scan.contrasts["T1w"]}, "targets": {"T2w": scan.targets["T1w"]}})  # fmt: skip
    drawn = draw.Training(draw.Pairs([same], ("T1w",), ("T2w",), (8, 8, 8), turned=True))
    for number in range(10):
        sample = drawn(np.random.default_rng(number), number)
        assert torch.equal(sample["sources"], sample["target"])


def test_terms_of_the_loss_by_hand() -> None:
    zero, step = torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2)
    step[..., 1] = 2.0
    half = torch.zeros_like(step)
    half[:, :, 0] = 1.0
    assert losses.l1(step, zero, half).item() == 1.0
    assert losses.mse(step, zero, torch.ones_like(step)).item() == 2.0
    assert losses.gradient(step, zero, torch.ones_like(step)).item() == 4.0
    assert losses.gradient(step, -step, torch.ones_like(step)).item() == 0.0
    with pytest.raises(VoxelwayError, match="no loss 'magic'"):
        losses.Losses.of([{"name": "magic"}])
    with pytest.raises(VoxelwayError, match="voxels"):
        losses.Losses.of([{"name": "adversarial", "kind": "lsgan"}])


def test_each_sample_is_asked_for_its_own_target() -> None:
    estimate = torch.stack([torch.full((2, 2, 2), v) for v in (1.0, 2.0, 0.0, np.log(4.0))])[None]
    batch = {"which": torch.tensor([[1]]), "kernel": torch.ones(1, 1, 1, 1)}
    mean, variance = paired.asked(estimate.float(), batch)
    assert mean.unique().tolist() == [2.0] and variance.unique().item() == pytest.approx(4.0)


def test_networks_take_any_size_and_say_what_they_refuse() -> None:
    sources, there = torch.randn(2, 3, 7, 9, 10), torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    for name, more in (("translator", {"features": [4, 8]}), ("auto_context", {"width": 4}),
                       ("translator", {"features": [4, 8], "dimensions": "2.5"})):  # fmt: skip
        torch.manual_seed(0)
        network = networks.build(name, {"inputs": 3, "targets": 2, **more})
        found = network(sources, there)
        assert len(found) == getattr(network, "estimates", 1)
        assert all(item.shape == (2, 4, 7, 9, 10) for item in found)
        # a source that is there but empty is another thing than one that is missing
        again = network(sources, torch.ones_like(there))
        assert not torch.equal(found[-1], again[-1])
    with pytest.raises(ValueError, match="given"):
        network(sources, there[:1])


METHODS = ("encoder_decoder", "pix2pix", "pix2pix_25d", "context_cascade")


@pytest.fixture(scope="module", params=METHODS)
def bundle(
    request: pytest.FixtureRequest, results: tuple[Results, dict[str, Unit]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:  # fmt: skip
    out = tmp_path_factory.mktemp("models") / request.param
    assert train.train(params(request.param), out, results[0].root) == 0
    return request.param, out


def test_bundle_has_card_curve_and_samples(bundle: tuple[str, Path]) -> None:
    method, out = bundle
    assert {"README.md", "training.csv", "training.png", SAMPLES} <= {p.name for p in out.iterdir()}
    about = json.loads((out / "metadata.json").read_text())
    assert about["inputs"]["contrasts"] == ["FLAIR", "T1w", "T2w"]
    assert about["outputs"]["contrasts"] == ["FLAIR", "T2w"]
    assert about["calibration"]["spread_factor"] > 0
    card = (out / "README.md").read_text()
    assert "multiplied by" in card and "delete the file before the model leaves" in card
    assert set(about["architecture"]) == {"synthesize"}
    curve = (out / "training.csv").read_text()
    assert ("critic/loss" in curve) == (method != "encoder_decoder")
    assert ("critic_2/loss" in curve) == (method == "context_cascade")


def test_stage_makes_what_is_missing_from_any_set(
    bundle: tuple[str, Path], results: tuple[Results, dict[str, Unit]]
) -> None:
    place, units = results
    section = params(bundle[0])
    runner.run_units(stage, [units["lacks"]], runner.Setup(place, section, bundle[1]))
    found = status.read(place, units["lacks"], "synthesize")
    assert found is not None and found.status == "ok" and not found.warnings
    path = place.image("synthesize", units["lacks"], "FLAIR", space="T1w", desc="synth")
    spread = images.read_image(path.with_name(path.name.replace("desc-synth_", "desc-synthsd_")))
    _, ball = made.anatomy(5)
    assert (images.array(spread)[ball] > 0).all()
    assert images.same_grid(images.read_image(path), made.grid())
    for other in path.parent.iterdir():
        other.unlink()


def test_a_source_that_it_has_not_seen(bundle: tuple[str, Path]) -> None:
    method = methods.create("synthesize", bundle[0], params(bundle[0]), bundle[1])
    image = made.grid() + 1.0
    with pytest.raises(VoxelwayError) as error:
        method({"PDw": image}, sitk.Cast(image > 0, sitk.sitkUInt8), "FLAIR")
    assert error.value.code == "E-MODEL-INPUT" and "PDw" in error.value.what
    with pytest.raises(VoxelwayError, match="does not make PDw"):
        method({"T1w": image}, sitk.Cast(image > 0, sitk.sitkUInt8), "PDw")


def test_one_training_subject_is_refused(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    units = {made.add(results, n, EVERY): (split, list(EVERY))
             for n, split in ((1, "train"), (2, "val"))}  # fmt: skip
    made.manifest(results, units)
    with pytest.raises(VoxelwayError) as error:
        train.train(params(), tmp_path / "bundle", results.root)
    assert error.value.code == "E-TRAIN-DATA" and "1 training subjects" in error.value.what
    with pytest.raises(VoxelwayError, match="E-USAGE"):
        train.train(params(), tmp_path / "bundle", None)


def test_a_target_that_too_few_have_is_left_out_with_its_reason(scans: list[cases.Scan]) -> None:
    few = [
        cases.Scan(
            **{**vars(s), "contrasts": {k: v for k, v in s.contrasts.items() if k != "FLAIR"}}
        )
        for s in scans[:-1]
    ]
    section = {**params(), "min_subjects": 2}
    from pipeline.synthesize.learning import presets
    from pipeline.training.plan import Plan

    plan = Plan.of(section["training"], 0)
    request, absent = learning.make_request(
        section, presets.chosen(section), [*few, scans[-1]], plan
    )
    assert request.targets == ("T2w",)
    assert [item["target"] for item in absent] == ["FLAIR"] and "at least 2" in absent[0]["reason"]


def test_unpaired_folders_are_no_food_for_a_paired_method(tmp_path: Path) -> None:
    entry = {"name": "a", "folder": str(tmp_path), "files": {"T1w": "*"}, "licence": "own",
             "paired": False}  # fmt: skip
    with pytest.raises(VoxelwayError, match="E-CONFIG-VALUE"):
        train.train(params(data=[entry]), tmp_path / "bundle", None)


def test_picture_of_samples_is_the_same_each_time() -> None:
    plane = np.linspace(0, 1, 64).reshape(8, 8)
    rows = [(plane, plane + 0.1, plane), (plane, plane, plane)]
    first = gallery.as_png(rows)
    assert first.startswith(b"\x89PNG") and first == gallery.as_png(rows)
    assert first != gallery.as_png([(plane, plane + 0.3 * plane, plane), rows[1]])
