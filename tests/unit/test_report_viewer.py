"""The viewer's volumes and places, with answers worked out by hand."""

from __future__ import annotations

import base64
import gzip
import json
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import files, images
from pipeline.labels import TISSUES
from pipeline.paths import Results, Unit, sidecar
from pipeline.register import transforms
from pipeline.report import viewer, viewer_places
from pipeline.report.figures.geometry import Box, whole_box
from pipeline.report.record import Record
from pipeline.report.viewer_places import Place
from pipeline.report.viewer_volumes import Volume, encode, lattice, ras, sampled
from pipeline.task import UnitTask

from .report_cases import TEMPLATE, Fake

UNIT = Unit("A000", "01")


def decoded(told: dict) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(told["data"])))


def turned(seed: int = 0) -> sitk.Image:
    """7 x 8 x 9 random voxels of uneven size on an oblique lattice far from the origin."""
    values = np.random.default_rng(seed).uniform(-3, 5, (9, 8, 7)).astype(np.float32)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1.5, 2.0, 2.5))
    image.SetOrigin((-11.0, 23.0, 35.0))
    turn = sitk.Euler3DTransform((0, 0, 0), 0.2, -0.1, 0.3)
    image.SetDirection(turn.GetMatrix())
    return image


class TestVolumes:
    @given(st.integers(0, 6), st.integers(0, 7), st.integers(0, 8))
    @settings(max_examples=30, deadline=None)
    def test_a_volume_gives_back_its_values_where_they_were(self, x: int, y: int, z: int) -> None:
        image = turned()
        told = encode(Volume("T1w", "T1w", "image", image, low=-3.0, high=5.0, base=True))
        back = decoded(told)
        point = image.TransformIndexToPhysicalPoint((x, y, z))
        assert nib.affines.apply_affine(back.affine, (x, y, z)) == pytest.approx(
            [-point[0], -point[1], point[2]], abs=1e-4
        )
        assert back.get_fdata()[x, y, z] == pytest.approx(image[x, y, z], abs=8.0 / 255 / 2 + 1e-5)

    def test_values_beyond_the_scale_are_its_ends(self) -> None:
        back = decoded(encode(Volume("c", "c", "change", turned(), low=-1.0, high=1.0)))
        assert back.get_fdata().min() == pytest.approx(-1.0, abs=1e-4)
        assert back.get_fdata().max() == pytest.approx(1.0, abs=1e-4)

    def test_labels_keep_their_numbers_names_and_colours(self) -> None:
        image = sitk.Image(4, 4, 4, sitk.sitkUInt16)
        image[1, 2, 3] = 4
        told = encode(Volume("labels", "labels", "labels", image, labels=TISSUES))
        values = np.asarray(decoded(told).dataobj)
        assert values[1, 2, 3] == 4 and np.count_nonzero(values) == 1
        assert decoded(told).header.get_intent()[0] == "label"
        lesion = told["labels"][3]
        assert lesion == {"index": 4, "name": "lesion", "color": (213, 94, 0)}

    def test_same_values_same_text(self) -> None:
        volume = Volume("T1w", "T1w", "image", turned())
        assert encode(volume) == encode(volume)

    def test_finer_voxels_are_averaged(self) -> None:
        values = np.indices((8, 8, 8)).sum(axis=0) % 2 * 2.0  # a chessboard of 0 and 2
        image = sitk.GetImageFromArray(values.astype(np.float32))
        grid = lattice(image, whole_box(image), 2.0)
        assert sitk.GetArrayFromImage(sampled(image, grid)) == pytest.approx(1.0)

    def test_labels_are_picked_not_averaged(self) -> None:
        values = np.zeros((8, 8, 8), dtype=np.uint8)
        values[4:] = 5
        image = sitk.GetImageFromArray(values)
        found = sitk.GetArrayFromImage(
            sampled(image, lattice(image, whole_box(image), 3.0), nearest=True)
        )
        assert set(np.unique(found)) == {0, 5}

    def test_lattice_covers_the_box_along_the_axes(self) -> None:
        image = turned()
        grid = lattice(image, Box((0.0, 2.0, 4.0), (8.0, 8.0, 16.0)), 2.0)
        assert grid.GetSize() == (4, 3, 6) and grid.GetSpacing() == (2.0, 2.0, 2.0)
        axes = np.asarray(image.GetDirection()).reshape(3, 3)
        first = np.asarray(image.GetOrigin()) + axes @ np.asarray([1.0, 3.0, 5.0])
        assert grid.GetOrigin() == pytest.approx(first.tolist())

    def test_left_of_itk_is_right_of_nifti(self) -> None:
        assert ras((10.0, -20.0, 30.04)) == (-10.0, 20.0, 30.0)
        assert [math.copysign(1, value) for value in ras((0.0, 0.0, 0.0))] == [1, 1, 1]


def record_of(results: Results) -> Record:
    return Record(UnitTask("report", {}, base=results.root, results=results, unit=UNIT))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Results:
    fake = Fake(tmp_path_factory.mktemp("viewer") / "results", 6.0)
    fake.unit(UNIT, 0, lacks="FLAIR")
    return fake.results


class TestViewer:
    def test_it_holds_every_layer(self, whole: Results) -> None:
        found = viewer.build(record_of(whole))
        assert found is not None and found.notices == []
        kinds = {one["key"]: (one["kind"], one["base"]) for one in found.data["volumes"]}
        assert kinds == {
            "T1w": ("image", True), "T2w": ("image", True), "FLAIR": ("image", True),
            "brain": ("labels", False), "labels": ("labels", False),
            "uncertainty": ("amount", False), "spread-FLAIR": ("amount", False),
            "template": ("image", False), "change": ("change", False),
        }  # fmt: skip
        made = [one["name"] for one in found.data["volumes"] if one["synthetic"]]
        assert made == ["FLAIR (synthetic)"]
        shapes = {decoded(one).shape for one in found.data["volumes"]}
        assert len(shapes) == 1, "one cross-hair serves all"
        json.dumps(found.data, allow_nan=False)

    def test_it_stays_below_the_limit_by_coarser_voxels(
        self, whole: Results, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fine = viewer.build(record_of(whole))
        assert fine is not None and fine.spacing == 6.0, "no finer than the images"
        size = sum(len(one["data"]) for one in fine.data["volumes"])
        monkeypatch.setattr(viewer, "LEAST", 0)
        left = viewer.build(record_of(whole), viewer.PAGE - size // 2)
        assert left is not None and left.spacing >= 7.5, "pictures leave less"
        monkeypatch.setattr(viewer, "LIMIT", size // 2)
        coarse = viewer.build(record_of(whole))
        assert coarse is not None and coarse.spacing >= 7.5
        assert sum(len(one["data"]) for one in coarse.data["volumes"]) <= size // 2

    def test_the_template_comes_back_through_the_registration(self, tmp_path: Path) -> None:
        """The affine maps template points 12 mm to the patient's left of them in the subject."""
        fake = Fake(tmp_path / "results", 6.0)
        fake.unit(UNIT, 0)
        where = transforms.unit_paths(fake.results, UNIT, "T1w", TEMPLATE)
        shift = sitk.AffineTransform(3)
        shift.SetTranslation((12.0, 0.0, 0.0))
        sitk.WriteTransform(shift, str(where.affine))
        sidecar(where.affine).unlink()
        made = viewer.build(record_of(fake.results))
        assert made is not None
        shown = decoded(next(one for one in made.data["volumes"] if one["key"] == "template"))
        expected = images.array(fake.maps["T1"])
        shown_values = sitk.GetImageFromArray(np.ascontiguousarray(shown.get_fdata().T))
        shown_values.SetSpacing((6.0, 6.0, 6.0))
        shown_values.SetOrigin((shown.affine[:3, 3] * [-1, -1, 1]).tolist())
        errors = {}
        for x in (12.0, 0.0, -12.0):
            moved = sitk.TranslationTransform(3, (x, 0.0, 0.0))
            back = sitk.GetArrayFromImage(sitk.Resample(shown_values, fake.grid, moved))
            errors[x] = float(np.abs(back - expected)[:, :, 4:-4].mean())
        assert errors[12.0] < 0.5 * min(errors[0.0], errors[-12.0])

    def test_a_damaged_file_costs_its_layer_only(self, tmp_path: Path) -> None:
        fake = Fake(tmp_path / "results", 6.0)
        fake.unit(UNIT, 0)
        path = fake.results.image("segment", UNIT, "entropy", space="T1w", desc="entropy")
        path.write_bytes(path.read_bytes()[:100])
        found = viewer.build(record_of(fake.results))
        assert found is not None
        assert [text.split(":")[0] for text in found.notices] == ["The viewer lacks uncertainty"]
        assert "labels" in [one["key"] for one in found.data["volumes"]]
        assert "uncertainty" not in [place.key for place in found.places]

    def test_no_image_no_viewer(self, tmp_path: Path) -> None:
        assert viewer.build(record_of(Results(tmp_path / "results"))) is None

    @pytest.mark.parametrize(
        ("upto", "layers"),
        [("ingest", []), ("preprocess", ["brain"]), ("superres", ["brain"]),
         ("register", ["brain", "template", "change"])],
    )  # fmt: skip
    def test_what_the_earlier_stages_left(
        self, tmp_path: Path, upto: str, layers: list[str]
    ) -> None:
        fake = Fake(tmp_path / "results", 6.0)
        fake.unit(UNIT, 0, upto=upto)
        found = viewer.build(record_of(fake.results))
        assert found is not None and found.notices == []
        assert found.data["volumes"][0]["key"] == "T1w" and found.data["volumes"][0]["base"]
        assert [one["key"] for one in found.data["volumes"] if not one["base"]] == layers

    def test_the_program_is_written_once_with_its_licence(self, tmp_path: Path) -> None:
        path = viewer.write_program(Results(tmp_path))
        text = path.read_text(encoding="utf-8")
        assert path == tmp_path / "qc" / "niivue.js"
        assert text.startswith("/*!\nNiiVue 0.69.0") and "BSD 2-Clause License" in text[:400]
        age = path.stat().st_mtime_ns
        assert viewer.write_program(Results(tmp_path)).stat().st_mtime_ns == age


def blank(key: str, kind: str, at: tuple[int, int, int], value: float) -> Volume:
    """20 x 20 x 20 voxels of 2 mm from the origin, with one bright block of 3 x 3 x 3."""
    image = sitk.Image(20, 20, 20, sitk.sitkUInt8 if kind == "labels" else sitk.sitkFloat32)
    image.SetSpacing((2.0, 2.0, 2.0))
    x, y, z = at
    values = sitk.GetArrayFromImage(image)
    values[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = value
    filled = images.like(values, image)
    return Volume(key, key, kind, filled, labels=TISSUES if key == "labels" else ())  # type: ignore[arg-type]


class TestPlaces:
    VOLUMES = (
        blank("T1w", "image", (10, 10, 10), 1.0),
        blank("brain", "labels", (11, 10, 9), 1),
        blank("labels", "labels", (5, 6, 7), 4),
        blank("uncertainty", "amount", (12, 13, 14), 0.9),
        blank("change", "change", (4, 15, 8), -1.5),
    )

    def test_each_is_where_its_map_is_strongest(self, tmp_path: Path) -> None:
        found = viewer_places.find(record_of(Results(tmp_path)), self.VOLUMES)
        assert [(place.key, place.mm, place.layer) for place in found] == [
            ("uncertainty", (-24.0, -26.0, 28.0), "uncertainty"),
            ("lesion", (-10.0, -12.0, 14.0), "labels"),
            ("change", (-8.0, -30.0, 16.0), "change"),
            ("centre", (-22.0, -20.0, 18.0), "brain"),
        ]

    def test_the_largest_error_comes_first_where_evaluate_tells_it(self, tmp_path: Path) -> None:
        results = Results(tmp_path)
        table = results.unit_metrics(UNIT)
        files.write_json(sidecar(table), {"LargestError": [3.0, -4.0, 5.0]})
        found = viewer_places.find(record_of(results), self.VOLUMES)
        assert found[0] == Place("error", "largest error", (-3.0, 4.0, 5.0), "labels")

    @pytest.mark.parametrize("told", ["3,4,5", [1.0, 2.0], {"x": 1}])
    def test_what_is_no_point_is_left_out(self, tmp_path: Path, told: object) -> None:
        results = Results(tmp_path)
        files.write_json(sidecar(results.unit_metrics(UNIT)), {"LargestError": told})
        found = viewer_places.find(record_of(results), self.VOLUMES)
        assert found[0].key == "uncertainty"

    @pytest.mark.parametrize(
        ("anchor", "place"),
        [("segment-tissues", "lesion"), ("segment-box", "uncertainty"), ("register", "change"),
         ("synthesize-made", "centre"), ("preprocess-mask", "centre"), ("export", "")],
    )  # fmt: skip
    def test_a_reason_leads_to_a_place(self, tmp_path: Path, anchor: str, place: str) -> None:
        found = viewer_places.find(record_of(Results(tmp_path)), self.VOLUMES)
        assert viewer_places.of_reason(anchor, found) == place

    def test_without_uncertainty_the_middle_is_left(self, tmp_path: Path) -> None:
        found = viewer_places.find(record_of(Results(tmp_path)), self.VOLUMES[:1])
        assert [place.name for place in found] == ["middle of the image"]
