"""The cohort page of a made-up folder: data, size, costs, refreshing while a run goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli, config, files
from pipeline.ingest import manifest
from pipeline.paths import STAGES, Results, Unit, sidecar
from pipeline.report import cohort
from pipeline.report.cohort import costs, data, gathered, live
from pipeline.report.render import script_json

from ..benchmarks.report.simulated import make  # noqa: TID252  (tests are no package on the path)

COUNT = 60
PARAMS: dict[str, Any] = {**config.section("report"), "seed": 0}


def units(results: Results) -> list[Unit]:
    return manifest.units(manifest.read_manifest(results.manifest))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = make(tmp_path_factory.mktemp("simulated") / "results", COUNT)
    cohort.write_cohort(made, units(made), PARAMS)
    return made


@pytest.fixture
def copy(results: Results, tmp_path: Path) -> Results:
    """A folder of its own, without any page of the cohort."""
    root = tmp_path / "results"
    shutil.copytree(results.root, root)
    for name in ("index.html", "cohort.js", "cohort-live.js", "cohort-stamp.js"):
        (root / "qc" / name).unlink()
    return Results(root)


def script(results: Results, name: str) -> Any:
    text = (results.root / "qc" / name).read_text(encoding="utf-8")
    return json.loads(text.partition(" = ")[2].rstrip(";\n"))


def page_data(results: Results) -> Any:
    text = results.cohort_page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


class TestData:
    def test_every_number_is_that_of_the_table(self, results: Results) -> None:
        shown = page_data(results)
        names = [row["name"] for row in shown["rows"]]
        told = {
            (name, m["stage"], m["metric"], m["label"]): value
            for m in shown["measures"]
            for name, value in zip(names, m["values"], strict=True)
            if value is not None
        }
        table = {
            (Unit(r["subject"], r["session"]).name, r["stage"], r["metric"], r["label"]): r["value"]
            for r in files.read_tsv(results.metrics)
            if r["value"] and r["metric"] != "seconds"
        }
        assert told == {key: float(value) for key, value in table.items()}

    def test_cells_show_the_measure_of_their_column(self, results: Results) -> None:
        shown = page_data(results)
        at = shown["columns"].index("GM, ml")
        row = next(row for row in shown["rows"] if row["name"] == "sub-p00003_ses-01")
        measure = shown["measures"][row["cells"][at]]
        assert (measure["stage"], measure["metric"], measure["label"]) == (
            "segment",
            "volume",
            "GM",
        )
        noise = shown["measures"][row["cells"][shown["columns"].index("Noise, %")]]
        place = shown["rows"].index(row)
        every = [m["values"][place] for m in shown["measures"]
                 if (m["stage"], m["metric"]) == ("preprocess", "noise_level")]  # fmt: skip
        assert noise["values"][place] == max(v for v in every if v is not None)

    def test_planted_sessions_are_told(self, results: Results) -> None:
        rows = {row["name"]: row for row in page_data(results)["rows"]}
        assert rows["sub-p00007_ses-01"]["odd"]["forest"]
        measures = page_data(results)["measures"]
        far = [measures[m]["metric"] for m, _ in rows["sub-p00011_ses-01"]["odd"]["far"]]
        assert "ncc" in far

    def test_scanners_differ_in_noise(self, results: Results) -> None:
        shown = page_data(results)
        by = {one["name"]: one for one in shown["batch"]["by"]}
        assert by["scanner"]["groups"] == [["Acme Tesseract", 30], ["Bolt Ampere", 30]]
        sure = [
            shown["measures"][e["m"]]["metric"] for e in by["site"]["effects"] if e["holm"] < 0.01
        ]
        assert set(sure) == {"noise_level"}

    def test_without_dates_a_sentence_stands_there(self, tmp_path: Path) -> None:
        made = make(tmp_path / "results", 12, dates=False)
        built = data.build(made, units(made), PARAMS)
        assert "dates are not in the results" in built.script["batch"]["undated"]
        assert built.script["batch"]["trends"] == []

    def test_one_value_a_subject(self, copy: Results) -> None:
        # a second session of the same subject does not count again
        rows = manifest.read_manifest(copy.manifest)
        twice = [row.__class__(**{**row.__dict__, "session": "02"}) for row in rows]
        manifest.write_manifest(copy.manifest, [*rows, *twice])
        built = data.build(copy, units(copy), PARAMS)
        assert built.script["sessions"] == 2 * COUNT
        assert sum(n for _, n in built.script["batch"]["by"][0]["groups"]) == COUNT

    def test_few_subjects_have_no_outliers(self, tmp_path: Path) -> None:
        made = make(tmp_path / "results", 9)
        built = data.build(made, units(made), PARAMS)
        assert not built.script["outliers"]["told"]
        assert not any("score" in row for row in built.script["rows"])

    def test_damaged_files_cost_one_row_only(self, copy: Results) -> None:
        broken = Unit("p00004", "01")
        copy.unit_metrics(broken).write_text("nonsense\n")
        copy.status("denoise", broken).write_text("{")
        sidecar(copy.page(broken)).write_text("[]")
        built = data.build(copy, units(copy), PARAMS)
        row = next(row for row in built.rows if row.unit == broken)
        assert row.states[STAGES.index("denoise")] == "f" and set(row.cells) == {-1}
        assert len([row for row in built.rows if row.place >= 0]) == COUNT


class TestFiles:
    def test_first_rows_need_no_script(self, results: Results) -> None:
        text = results.cohort_page.read_text(encoding="utf-8")
        assert len(re.findall(r"<tr data-level=", text)) == 50
        assert f"The first 50 of {len(page_data(results)['rows'])} rows" in text

    def test_two_thousand_fit(self, results: Results) -> None:
        built = data.build(results, units(results), PARAMS)
        each = sum(len(script_json(part)) for part in (built.thumbnails, built.script)) / COUNT
        plain = results.cohort_page.stat().st_size - each * COUNT
        assert plain < 6e5 and plain + each * 2000 < 15e6

    def test_subject_pages_load_little(self, results: Results, tmp_path: Path) -> None:
        built = data.build(results, units(results), PARAMS)
        key, column = next((c.number.key, c) for c in built.columns)
        column.values.resize(5000, refcheck=False)
        column.values[:] = range(5000)
        found = data.ranges(built)
        assert len(found["metrics"][key]) == data.THINNED and found["counts"][key] == 5000
        assert found["metrics"][key][0] == 0 and found["metrics"][key][-1] == 4999

    def test_same_input_same_files(self, results: Results) -> None:
        names = ("index.html", "cohort.js", "cohort-live.js", "cohort-stamp.js")
        before = [(results.root / "qc" / name).read_bytes() for name in names]
        cohort.write_page(results, units(results), PARAMS)
        assert before == [(results.root / "qc" / name).read_bytes() for name in names]

    def test_stamp_goes_with_the_data(self, copy: Results) -> None:
        cohort.write_page(copy, units(copy), PARAMS)
        stamp = script(copy, "cohort-stamp.js")["stamp"]
        assert stamp == script(copy, "cohort-live.js")["data"]["stamp"] == page_data(copy)["stamp"]
        files.write_json(sidecar(copy.page(Unit("p00001", "01"))), {"Verdict": "fail"})
        cohort.write_page(copy, units(copy), PARAMS)
        assert script(copy, "cohort-stamp.js")["stamp"] != stamp

    def test_text_of_headers_stays_text(self, copy: Results) -> None:
        bad = "</script><img src=x onerror=alert(1)>"
        path = sidecar(copy.page(Unit("p00000", "01")))
        reason = {"level": "look", "text": bad, "anchor": '"><i>'}
        told = {"Verdict": "fail", "Thumbnail": '"><script>', "Reasons": [reason]}
        files.write_json(path, told)
        cohort.write_page(copy, units(copy), PARAMS)
        text = copy.cohort_page.read_text(encoding="utf-8")
        assert "&lt;img src=x" in text, "it is among the first rows"
        assert bad not in text and "<img src=x" not in text and '"><i>' not in text
        assert "<" not in (copy.root / "qc" / "cohort-live.js").read_text(encoding="utf-8")


class TestCosts:
    def test_memory_comes_from_benchmarks_then_from_sidecars(self, copy: Results) -> None:
        one = Unit("p00002", "01")
        known = gathered.gather(copy, [one])
        status = known.statuses[0]["denoise"]
        files.write_text(copy.benchmark("denoise", one), "s\th:m:s\tmax_rss\n1.5\t0:00:01\t321.5\n")
        assert costs.memory_mb(copy, one, status) == 321.5
        files.write_text(copy.benchmark("denoise", one), "s\th:m:s\tmax_rss\n1.5\t0:00:01\t-\n")
        assert costs.memory_mb(copy, one, status) != costs.memory_mb(copy, one, status)
        image = copy.image("denoise", one, "T1w")
        files.write_json(sidecar(image), {"PeakMemoryMB": 77})
        status.outputs[image.relative_to(copy.root).as_posix()] = "0"
        assert costs.memory_mb(copy, one, status) == 77

    def test_median_and_largest(self, results: Results) -> None:
        found = {row["stage"]: row for row in page_data(results)["costs"]}
        seconds = sorted(
            float(row["seconds"])
            for row in files.read_tsv(results.status_table)
            if (row["stage"], row["status"]) == ("register", "ok")
        )
        middle = (seconds[29] + seconds[30]) / 2
        assert found["register"]["seconds"]["median"] == pytest.approx(middle, abs=0.01)
        assert found["register"]["seconds"]["largest"] == seconds[-1]
        slowest = page_data(results)["slowest"]
        assert [row["seconds"] for row in slowest] == sorted(
            (row["seconds"] for row in slowest), reverse=True
        )


class TestRefresh:
    def test_writes_pages_and_no_output_of_the_cohort_rule_but_the_page(
        self, copy: Results
    ) -> None:
        before = {path: path.stat().st_mtime_ns for path in (copy.metrics, copy.status_table)}
        assert cohort.refresh(copy, PARAMS)
        assert page_data(copy)["sessions"] == COUNT
        assert before == {path: path.stat().st_mtime_ns for path in before}
        assert not copy.complete.exists()

    def test_waits_after_the_last_one(self, copy: Results) -> None:
        now = time.time()
        assert cohort.refresh(copy, PARAMS, now)
        assert not cohort.refresh(copy, PARAMS, now + 59)
        cost = files.read_json(live._marker(copy))["seconds"]
        assert cohort.refresh(copy, PARAMS, now + max(60, 20 * cost) + 1)

    def test_a_costly_one_waits_longer(self, copy: Results) -> None:
        files.write_json(live._marker(copy), {"at": 1000.0, "seconds": 30.0})
        assert not cohort.refresh(copy, PARAMS, 1000.0 + 599)
        assert cohort.refresh(copy, PARAMS, 1000.0 + 601)

    def test_one_at_a_time_and_no_lock_for_ever(self, copy: Results) -> None:
        lock = live._lock_path(copy)
        files.write_text(lock, "1\n")
        assert not cohort.refresh(copy, PARAMS)
        assert lock.exists() and not copy.cohort_page.exists()
        old = time.time() - 601
        os.utime(lock, (old, old))
        assert cohort.refresh(copy, PARAMS)
        assert not lock.exists() and copy.cohort_page.exists()

    def test_never_fails(self, copy: Results, capsys: pytest.CaptureFixture[str]) -> None:
        copy.manifest.write_text("nonsense\n")
        assert not cohort.refresh(copy, PARAMS)
        assert "E-MANIFEST" in capsys.readouterr().err
        assert not live._lock_path(copy).exists()

    def test_the_verb_refreshes(self, copy: Results) -> None:
        call = ["report", str(copy.root), "--unit", "sub-p00001_ses-01", "--keep-going",
                "--params", '{"outliers": {"robust_z": 9}}']  # fmt: skip
        assert cli.main(call) == 0
        shown = page_data(copy)
        assert shown["outliers"]["robust_z"] == 9
        described = files.read_json(sidecar(copy.page(Unit("p00001", "01"))))
        assert "outliers" not in described["Parameters"], "a threshold makes no page anew"
