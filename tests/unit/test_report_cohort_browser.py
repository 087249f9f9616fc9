"""The cohort page in a browser, from the disk: order, filter, plots, ratings, new data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import config, files
from pipeline.ingest import manifest
from pipeline.paths import Results, Unit, sidecar
from pipeline.report import cohort

from ..benchmarks.report.simulated import make  # noqa: TID252  (tests are no package on the path)
from ..e2e.chromium import Chromium  # noqa: TID252

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")

COUNT = 130
ROWS = "document.querySelectorAll('#rows tbody tr').length"
FIRST = "document.querySelector('#rows tbody tr a[href]').getAttribute('href')"
PARAMS = {**config.section("report"), "seed": 0}


def write(results: Results) -> None:
    units = manifest.units(manifest.read_manifest(results.manifest))
    cohort.write_cohort(results, units, PARAMS)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = make(tmp_path_factory.mktemp("simulated") / "results", COUNT)
    write(made)
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def page(browser: Chromium, results: Results) -> Chromium:
    browser.open(results.cohort_page)
    browser.run("localStorage.clear()")
    browser.open(results.cohort_page)
    assert not browser.log
    return browser


def filled(page: Chromium, text: str) -> None:
    page.run(f"(b => {{ b.value = {json.dumps(text)}; b.dispatchEvent(new Event('input')); }})"
             "(document.getElementById('filter'))")  # fmt: skip


def test_rows_come_in_pages(page: Chromium) -> None:
    assert page.run(ROWS) == 50
    seen = page.run(FIRST)
    page.click(".pager [data-step='1']")
    assert page.run(ROWS) == 50 and page.run(FIRST) != seen
    page.key("n")
    assert page.run("document.querySelector('.pager span').textContent").startswith("101 to ")
    assert page.run("document.querySelector('.pager [data-step=\"1\"]').disabled")
    page.key("p")
    page.key("p")
    assert page.run(FIRST) == seen


def test_order_and_filter_go_over_all_rows(page: Chromium) -> None:
    page.click("th[data-sort='name'] button")
    assert page.run("document.querySelector('#rows tbody th a').textContent") == "sub-p00000"
    page.click("th[data-sort='name'] button")
    last = page.run("document.querySelector('#rows tbody th').textContent")
    assert last.startswith("sub-r"), "subjects without images have the last names"
    filled(page, "p00129")
    assert page.run(ROWS) == 1 and page.run(FIRST) == "sub-p00129_ses-01.html"
    assert page.run("document.getElementById('shown').textContent").startswith("1 of ")
    filled(page, "bolt ampere e-mask")
    assert page.run(ROWS) == 0, "the one that failed was on the other scanner"
    filled(page, "acme e-mask")
    assert page.run(FIRST) == "sub-p00096_ses-01.html"


def test_order_by_a_measure_follows_its_values(page: Chromium) -> None:
    page.run("(s => { s.value = 0; s.dispatchEvent(new Event('change')); })"
             "(document.getElementById('size'))")  # fmt: skip
    head = page.run("COHORT.data.columns.indexOf('Template NCC')")
    page.click(f"th[data-sort='cell {head}'] button")
    rows = "[...document.querySelectorAll('#rows tbody tr')]"
    texts = page.run(f"{rows}.map(r => r.cells[{5 + head}].textContent)")
    values = [float(text) for text in texts if text != "–"]
    assert len(values) == COUNT and values == sorted(values)
    assert texts[COUNT:] == ["–"] * (len(texts) - COUNT), "rows without a value stay last"


def test_verdicts_are_switched(page: Chromium) -> None:
    for level in ("look", "pass"):
        page.click(f".tile[data-level='{level}']")
    levels = page.run("[...new Set([...document.querySelectorAll('#rows tbody tr')]"
                      ".map(r => r.dataset.level))]")  # fmt: skip
    assert levels == ["fail"]


def test_unusual_sessions_are_told_in_words(page: Chromium) -> None:
    text = page.run("document.querySelector('#unusual').textContent")
    assert "sub-p00007 ses-01 score" in text and "where the median is" in text
    page.click("#odd-only input")
    assert 0 < page.run(ROWS) < 50


def test_every_measure_has_a_strip(page: Chromium) -> None:
    page.run("(s => { s.value = 'all'; s.dispatchEvent(new Event('change')); })"
             "(document.getElementById('which'))")  # fmt: skip
    told = page.run("COHORT.data.measures.length")
    assert page.run("document.querySelectorAll('#strips .measure').length") == told


def test_dots_are_reached_by_keys_and_by_the_mouse(page: Chromium) -> None:
    page.run("(s => { s.value = 'stage register'; s.dispatchEvent(new Event('change')); })"
             "(document.getElementById('which'))")  # fmt: skip
    page.run("document.getElementById('measures').scrollIntoView()")
    page.wait("document.querySelector('#strips canvas').width > 300")
    said = "document.querySelector('#strips .said')"
    page.run(f"{said}.focus()")
    page.key("Home")
    assert page.run(f"{said}.textContent").endswith(f"1 of {COUNT}")
    page.key("ArrowRight")
    assert page.run(f"{said}.textContent").endswith(f"2 of {COUNT}")
    assert page.run("document.querySelectorAll('#strips .marker:not([hidden])').length") > 1
    address = page.run(f"{said}.href")
    page.key("Enter")
    page.wait(f"location.href === {json.dumps(address)}")


def test_a_click_on_a_dot_opens_its_session(page: Chromium) -> None:
    page.run("document.getElementById('measures').scrollIntoView()")
    page.wait("document.querySelector('#strips canvas').width > 300")
    spot = page.run("(b => [b.left, b.top])(document.querySelector('#strips canvas')"
                    ".getBoundingClientRect())")  # fmt: skip
    # the smallest value of a strip is drawn 8 pixels from its left end
    x, y = spot[0] + 8, spot[1] + 17
    name = page.run(
        "(m => COHORT.data.rows[m.values.indexOf(Math.min(...m.values.filter(v => v !== null)))])"
        "(COHORT.data.measures.find(m => m.headline)).name"
    )
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    page.wait("location.pathname.includes('_ses-01.html')")
    assert name and name in page.run("location.pathname")


def test_ratings_are_shown_and_taken(page: Chromium, results: Results) -> None:
    table = ("subject\\tsession\\tstage\\trating\\tcomment\\trater\\tdate\\n"
             "p00005\\t01\\tsegment\\tfail\\tcut off\\tAB\\t2024-01-01T00:00:00Z\\n")  # fmt: skip
    page.run(f"VOXELWAY_RATING.merge('{table}')")
    filled(page, "p00005")
    shown = page.run("document.querySelector('#rows tbody .rating-column').textContent")
    assert shown == "segment: fail"
    assert not page.run("document.querySelector('th.rating-column').hidden")
    assert page.run("document.getElementById('ratings-out').textContent") == "export 1 rating"
    page.run("localStorage.clear()")


def test_new_data_come_without_a_reload(
    browser: Chromium, results: Results, tmp_path: Path
) -> None:
    own = Results(tmp_path / "results")
    shutil.copytree(results.root, own.root)
    browser.open(own.cohort_page)
    browser.run("window.stays = true")
    filled(browser, "p00001")
    assert browser.run("document.querySelector('#rows .level').textContent").endswith("pass")
    files.write_json(sidecar(own.page(Unit("p00001", "01"))), {"Verdict": "fail"})
    write(own)
    browser.run("document.dispatchEvent(new Event('visibilitychange'))")
    browser.wait("document.querySelector('#rows .level').textContent.endsWith('fail')")
    assert browser.run("window.stays") and browser.run(ROWS) == 1
    browser.click("#live button")
    assert browser.run("document.querySelector('#live button').ariaPressed") == "true"
    assert not browser.log


def test_the_page_alone_is_whole(browser: Chromium, results: Results, tmp_path: Path) -> None:
    alone = tmp_path / "cohort.html"
    shutil.copy(results.cohort_page, alone)
    browser.open(alone)
    assert browser.run(ROWS) == 50
    assert browser.run("document.querySelectorAll('#rows img').length") > 40
    assert browser.run("document.getElementById('live').hidden")


def test_hostile_text_does_not_run(browser: Chromium, results: Results, tmp_path: Path) -> None:
    own = Results(tmp_path / "results")
    shutil.copytree(results.root, own.root)
    bad = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    files.write_json(sidecar(own.page(Unit("p00001", "01"))), {
        "Verdict": "fail", "Acquired": [bad], "Thumbnail": "javascript:alert(3)",
        "Reasons": [{"level": "fail", "text": bad, "anchor": "x"}]})  # fmt: skip
    header = own.image("ingest", Unit("p00001", "01"), "T1w", extension=".json")
    files.write_json(header, {"Manufacturer": "<b>Acme</b>"})
    write(own)
    browser.open(own.cohort_page)
    filled(browser, "p00001")
    assert bad in browser.run("document.querySelector('#rows tbody').textContent")
    assert browser.run("document.querySelectorAll('#rows [onerror], #rows b').length") == 0
    assert not [line for line in browser.log if line.startswith("dialog")]
