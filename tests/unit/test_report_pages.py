"""Pages made from a results folder that holds what the stages would write."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline import config, files, labels, status
from pipeline.errors import CODES
from pipeline.ingest import manifest
from pipeline.paths import STAGES, Results, Unit
from pipeline.report import pages, render
from pipeline.task import UnitTask

from .report_cases import HOSTILE, TEMPLATE, Fake, Parsed, make, page, params


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = make(tmp_path_factory.mktemp("cohort") / "results", 4.0)
    assert pages.write_pages(made, params(), [], cohort=False) == 0
    return made


WHOLE, LACKING, FAILED = "sub-A000_ses-01.html", "sub-A001_ses-01.html", "sub-A002_ses-01.html"


#: Stages that can fail and leave a page to tell it.
CAN_FAIL = tuple(stage for stage in STAGES if stage != "report")


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A unit for each stage that failed; its subject is named after the stage."""
    fake = Fake(tmp_path_factory.mktemp("failures") / "results", 6.0)
    for number, stage in enumerate(CAN_FAIL):
        unit = Unit(stage, "01")
        before = STAGES[STAGES.index(stage) - 1] if number else ""
        fake.unit(unit, number, upto="segment" if before in ("evaluate", "report") else before)
        fake.stop(unit, stage, "E-IMG-NAN", f"17 voxels of {stage} are NaN")
        assert pages.write_pages(fake.results, params(), [unit], cohort=False) == 0
    return fake.results


@pytest.mark.parametrize("stage", CAN_FAIL)
def test_a_subject_that_failed_at_any_stage_has_a_page_that_says_so(
    failures: Results, stage: str
) -> None:
    html = page(failures, f"sub-{stage}_ses-01.html")
    assert 'class="head fail"' in html
    assert f"{stage} failed: {CODES['E-IMG-NAN'].meaning} (E-IMG-NAN)" in " ".join(html.split())
    section = html.split(f'<section id="{stage}"')[1].split("</section>")[0]
    assert f"17 voxels of {stage} are NaN" in section and 'class="alert failed"' in section
    assert f'data-stage="{stage}"' in section, "a failed stage can be rated"
    # what was made before is there to look at, in the viewer too
    assert ('id="viewer"' in html) == (stage != "ingest")
    assert "could not be made" not in html and "The viewer lacks" not in html


def themes() -> dict[str, dict[str, str]]:
    """Colours of the page in light, dark and print."""
    style = render.asset("page.css")
    blocks = re.findall(r":root \{([^}]*)\}", style)
    names = ("light", "dark", "print")
    assert len(blocks) == len(names)
    return {
        name: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block))
        for name, block in zip(names, blocks, strict=True)
    }


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2)."""
    digits = color[1:] if len(color) == 7 else "".join(sign * 2 for sign in color[1:])
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_words_stand_out_from_their_ground(theme: str) -> None:
    """A ratio of 4.5 for text and 3 for marks, as WCAG 2 asks of level AA."""
    colors = themes()[theme]

    def ratio(front: str, back: str) -> float:
        high, low = sorted((luminance(colors[front]), luminance(colors[back])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for back in ("paper", "panel"):
        for front in ("ink", "muted", "link", "fail", "pass"):
            assert ratio(front, back) >= 4.5, (front, back)
        assert ratio("look", back) >= 3.0
    for level in ("pass", "look", "fail"):
        assert ratio("mark-ink", level) >= 3.0, level


def test_a_state_is_told_by_its_sign_not_by_colour_alone() -> None:
    signs = [render.MARKS[level][0] for level in ("pass", "look", "fail", "skipped", "absent")]
    assert len(set(signs)) == len(signs)


class TestSubjectPage:
    def test_every_unit_has_a_page_and_a_status(self, results: Results) -> None:
        for name in ("A000", "A001", "A002"):
            unit = Unit(name, "01")
            found = status.read(results, unit, "report")
            assert found is not None and found.status == "ok"
            assert results.page(unit).is_file()

    def test_no_stage_lacks_a_section(self, results: Results) -> None:
        html = page(results, WHOLE)
        for stage in STAGES:
            if stage != "report":
                assert f'<section id="{stage}"' in html

    def test_each_decisive_picture_is_there(self, results: Results) -> None:
        html = page(results, WHOLE)
        for anchor in ("ingest-series", "preprocess-mask", "preprocess-bias",
                       "preprocess-contrasts", "preprocess-contrasts-T2w", "denoise-denoise",
                       "denoise-uncertainty",
                       "superres-resolution", "register-template", "register-jacobian",
                       "segment-tissues", "segment-entropy", "segment-box"):  # fmt: skip
            assert f'<figure id="{anchor}"' in html
        assert '<figure id="synthesize-made"' not in html
        assert '<figure id="synthesize-made"' in page(results, LACKING)
        assert '<figure id="synthesize-spread"' in page(results, LACKING)
        assert "Made from T1w, T2w." in page(results, LACKING)
        assert "could not be made" not in html
        assert "by 0.40 % of their range (plain interpolation 1.23 %)" in html

    def test_pages_are_small_and_self_contained(self, results: Results) -> None:
        for name in (WHOLE, LACKING, FAILED, "index.html"):
            html = page(results, name)
            assert len(html.encode()) < 6_000_000
            assert set(re.findall(r'<script src="([^"]*)"', html)) <= {"cohort.js"}
            assert not re.search(r'(?:src|href)="(?:https?:)?//', html)
            assert "url(" not in html

    def test_reasons_lead_to_something_on_the_page(self, results: Results) -> None:
        for name in (WHOLE, LACKING, FAILED):
            html = page(results, name)
            anchors = set(re.findall(r'href="#([^"]+)"', html))
            ids = set(re.findall(r'\bid="([^"]+)"', html))
            assert anchors and anchors <= ids

    def test_a_failure_is_told_with_code_message_and_consequence(self, results: Results) -> None:
        html = page(results, FAILED)
        assert 'class="head fail"' in html
        assert "E-MASK-EMPTY" in html and "The mask holds 0 voxels" in html
        assert html.count("Not run, because preprocess failed (E-MASK-EMPTY).") == 6
        assert '<figure id="ingest-series"' in html
        assert '<figure id="denoise-denoise"' not in html

    def test_text_of_headers_can_not_run(self, results: Results) -> None:
        for name in (WHOLE, LACKING, FAILED, "index.html"):
            html = page(results, name)
            assert HOSTILE not in html
            assert "script-src 'self' file: 'sha256-" in html.replace("&#39;", "'")
        assert "&lt;script&gt;alert" in page(results, WHOLE)
        assert "&lt;script&gt;alert" in page(results, "index.html")

    def test_every_number_is_that_of_the_table(self, results: Results) -> None:
        unit = Unit("A000", "01")
        html = page(results, WHOLE)
        rows = files.read_tsv(results.metrics)
        mine = [row for row in rows if row["subject"] == unit.subject]
        known = {row["value"] for row in mine} | {row["baseline"] for row in mine}
        shown = re.findall(r'<data value="([^"]*)"', html)
        assert len(shown) >= len(mine)
        assert set(shown) <= known
        by_key = {f"{row['stage']}.{row['metric']}.{row['label']}": row["value"] for row in mine}
        strips = re.findall(r'data-key="([^"]*)" data-value="([^"]*)"', html)
        assert {key for key, _ in strips} == set(by_key)
        assert all(by_key[key] == value for key, value in strips)

    def test_short_forms_are_the_numbers_of_the_table(self, results: Results) -> None:
        """What is read is the value itself, rounded to what is shown."""
        shown = re.findall(r'<data value="([^"]*)" title="([^"]*)">([^<]*)</data>',
                           page(results, WHOLE))  # fmt: skip
        assert shown
        for value, title, text in shown:
            assert title == value
            assert float(text) == pytest.approx(float(value), rel=5.1e-3, abs=5e-5)

    def test_numbers_of_the_reasons_are_those_of_the_table(self, tmp_path: Path) -> None:
        fake = Fake(tmp_path / "results", 6.0)
        unit = Unit("A000", "01")
        fake.unit(unit, 3)
        rows = files.read_tsv(fake.results.unit_metrics(unit))
        for row in rows:
            if (row["stage"], row["metric"]) == ("register", "ncc"):
                row["value"] = "0.3141"
            if (row["metric"], row["label"]) == ("volume", "lesion"):
                row["value"] = "27.1828"
        files.write_tsv(fake.results.unit_metrics(unit), list(rows[0]), rows)
        task = UnitTask("evaluate", {}, base=fake.results.root, results=fake.results, unit=unit)
        task.describe(fake.results.unit_metrics(unit))
        assert pages.write_pages(fake.results, params(), [unit], cohort=False) == 0
        reasons = page(fake.results, WHOLE).split('<ul class="reasons">')[1].split("</ul>")[0]
        assert "correlation 0.31," in reasons and "lesions of 27.2 ml" in reasons

    def test_what_was_done_names_method_and_parameters(self, results: Results) -> None:
        html = page(results, WHOLE)
        assert f"<b>{config.section('segment')['method']}</b>" in html
        assert "SimpleITK" in html

    def test_a_page_depends_on_its_own_unit_only(self, results: Results) -> None:
        recorded = files.read_json(results.root / "qc" / "sub-A000_ses-01.json")
        assert recorded["Inputs"]
        assert all("A000" in name for name in recorded["Inputs"])

    def test_same_files_give_the_same_page(self, results: Results) -> None:
        before = page(results, WHOLE)
        assert pages.write_pages(results, params(), [Unit("A000", "01")], cohort=False) == 0
        assert page(results, WHOLE) == before

    def test_a_damaged_image_costs_its_picture_only(self, tmp_path: Path) -> None:
        made = make(tmp_path / "results", 4.0, 1)
        unit = Unit("A000", "01")
        path = made.image("segment", unit, "entropy", space="T1w", desc="entropy")
        path.write_bytes(path.read_bytes()[:200])
        made.image("register", unit, "T1w", space=TEMPLATE, desc="jacobian").unlink()
        assert pages.write_pages(made, params(), [unit], cohort=False) == 0
        html = page(made, WHOLE)
        assert "“Uncertainty of the labels” could not be made" in html
        assert "“Local change of volume” could not be made" in html
        assert '<figure id="segment-tissues"' in html
        assert not (made.root / "qc" / "index.html").exists()

    def test_a_page_comes_before_anything_has_run(self, tmp_path: Path) -> None:
        made, unit = Results(tmp_path / "results"), Unit("C001", "02")
        assert pages.write_pages(made, params(), [unit], cohort=False) == 0
        html = page(made, "sub-C001_ses-02.html")
        assert "not run yet: ingest, preprocess" in html and 'class="head look"' in html


class TestCohortPage:
    def test_failures_stand_first(self, results: Results) -> None:
        html = page(results, "index.html")
        levels = re.findall(r'<tr data-level="(\w+)"', html)
        assert levels == ["fail", "fail", "look", "look"]

    def test_rows_lead_to_pages(self, results: Results) -> None:
        html = page(results, "index.html")
        for name in (WHOLE, LACKING, FAILED):
            assert f'href="{name}"' in html

    def test_quarantine_is_in_plain_words(self, results: Results) -> None:
        html = page(results, "index.html")
        assert "slices are missing from the series" in html
        assert "sub-B001" in html and "no usable series" in html
        assert "a localizer, left out" in html
        assert "<b>2</b><span>series refused" in html

    def test_tables_are_written(self, results: Results) -> None:
        states = files.read_tsv(results.status_table)
        failed = [row for row in states if row["status"] == "failed"]
        assert [(row["subject"], row["stage"]) for row in failed] == [("A002", "preprocess")]
        assert {row["subject"] for row in files.read_tsv(results.metrics)} == {
            "A000",
            "A001",
            "A002",
        }

    def test_ranges_for_the_subject_pages(self, results: Results) -> None:
        text = (results.root / "qc" / "cohort.js").read_text()
        assert text.startswith("window.VOXELWAY_COHORT = ") and "<" not in text
        content = json.loads(text.removeprefix("window.VOXELWAY_COHORT = ").rstrip(";\n"))
        values = content["metrics"]["segment.volume.GM"]
        assert values == sorted(values) and len(values) == 2
        assert {unit["name"] for unit in content["units"]} >= {"sub-A000_ses-01"}

    def test_cohort_alone_writes_no_subject_page(self, tmp_path: Path) -> None:
        made = make(tmp_path / "results", 4.0, 1)
        assert pages.write_pages(made, params(), [], cohort=True) == 0
        written = {path.name for path in (made.root / "qc").iterdir()}
        assert {"cohort.js", "index.html"} <= written
        assert not [name for name in written if name.startswith("sub-")]
        assert '<tr data-level="absent"' in page(made, "index.html")

    def test_units_of_an_older_run_are_left_out(self, tmp_path: Path) -> None:
        made = make(tmp_path / "results", 4.0, 1)
        rows = [r for r in manifest.read_manifest(made.manifest) if r.subject != "A000"]
        manifest.write_manifest(made.manifest, rows)
        pages.write_pages(made, params(), [], cohort=True)
        assert "A000_" not in page(made, "index.html")


def test_a_sidecar_that_tells_little_does_not_cost_the_page(tmp_path: Path) -> None:
    fake, unit = Fake(tmp_path / "results", 4.0), Unit("A000", "01")
    fake.unit(unit, 0)
    for path in fake.results.derivatives("segment").rglob("*.json"):
        if not path.name.endswith("_status.json"):
            files.write_json(path, {"Method": "em"})
    assert pages.write_pages(fake.results, params(), [unit], cohort=False) == 0
    assert "em" in fake.results.page(unit).read_text(encoding="utf-8")


def test_structures_are_listed_with_what_to_look_at_first(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "results", 8.0)
    unit = Unit("S", "01")
    fake.unit(unit, 0)
    table = fake.results.image("segment", unit, "volumes", space="T1w", extension=".tsv")
    columns = ("label", "name", "mm3", "low", "high", "expected_dice", "flag")
    values = ((10, "Left-Thalamus", 7000, 6500, 7500, 0.93, ""),
              (26, "Left-Accumbens-area", 0, 0, 90, None, "absent"),
              (17, "Left-Hippocampus", 4000, 3100, 4900, 0.61, "unsure,cut"))  # fmt: skip
    files.write_tsv(table, columns, [dict(zip(columns, row, strict=True)) for row in values])
    names = (labels.by_name(row[1]) for row in values)
    dseg = table.with_name(table.name.replace("volumes", "dseg"))
    labels.write_table(tuple(label for label in names if label), dseg)
    assert pages.write_pages(fake.results, params(), [unit], cohort=False) == 0
    text = " ".join(" ".join(Parsed(page(fake.results, "sub-S_ses-01.html")).text).split())
    told = text.split("Structures: volume ± 95 %, expected Dice")[1]
    assert told.startswith(
        " structure – flag ml Dice Left-Accumbens-area – absent 0 ± 0.09 –"
        " Left-Hippocampus – unsure, cut 4 ± 0.9 0.61 Left-Thalamus 7 ± 0.5 0.93"
    )
