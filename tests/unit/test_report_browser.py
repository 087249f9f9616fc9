"""Subject pages in a browser, from the disk: the viewer, the rating form, keys, print."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import files
from pipeline.paths import Results
from pipeline.report import pages

from ..e2e.chromium import Chromium  # noqa: TID252  (tests are no package on the path)
from .report_cases import make, params

pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")

WHOLE, LACKING, FAILED = "sub-A000_ses-01.html", "sub-A001_ses-01.html", "sub-A002_ses-01.html"
COLUMNS = "subject\tsession\tstage\trating\tcomment\trater\tdate"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = make(tmp_path_factory.mktemp("cohort") / "results", 5.0)
    assert pages.write_pages(made, params(), [], cohort=False) == 0
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def whole(browser: Chromium, results: Results) -> Chromium:
    browser.open(results.root / "qc" / WHOLE)
    browser.run("localStorage.clear()")
    browser.open(results.root / "qc" / WHOLE)
    return browser


def apart(one: Image.Image, other: Image.Image) -> float:
    """Share of pixels that differ visibly."""
    a, b = (np.asarray(image, dtype=int) for image in (one, other))
    assert a.shape == b.shape
    return float((np.abs(a - b).max(axis=2) > 12).mean())


SAID = "document.querySelector('#viewer .said').textContent"


def opened(browser: Chromium) -> None:
    browser.click("#viewer .open")
    browser.wait("document.querySelector('#viewer').dataset.place")


def painted(browser: Chromium) -> Image.Image:
    """The viewer after everything that was asked for is on the screen."""
    browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return browser.picture("#viewer .view")


def layer(browser: Chromium, key: str) -> Image.Image:
    browser.click(f"#viewer [data-over='{key}']")
    end = f" {key}" if key else "T1w"
    browser.wait(f"document.querySelector('#viewer').dataset.shown.endsWith('{end}')")
    return painted(browser)


class TestViewer:
    def test_it_loads_nothing_until_it_is_opened(self, whole: Chromium) -> None:
        loaded = "Boolean(window.niivue || document.querySelector('script[src*=niivue]'))"
        assert whole.run(loaded) is False
        opened(whole)
        assert whole.run(loaded) is True and not whole.log

    def test_it_opens_where_the_uncertainty_is_largest(self, whole: Chromium) -> None:
        opened(whole)
        assert whole.run("document.querySelector('#viewer').dataset.place") == "uncertainty"
        picture = np.asarray(painted(whole), dtype=int)
        assert picture.std() > 30, "three planes are painted"
        assert "uncertainty: " in whole.run(SAID) and " mm" in whole.run(SAID)

    def test_layers_change_the_picture(self, whole: Chromium) -> None:
        opened(whole)
        plain = layer(whole, "")
        seen = {key: layer(whole, key) for key in ("labels", "uncertainty", "template", "change")}
        for key in ("labels", "uncertainty", "change"):
            assert apart(plain, seen[key]) > 0.02, key
        assert apart(seen["labels"], seen["template"]) > 0.02
        assert apart(plain, layer(whole, "")) < 0.002, "and it comes back"
        whole.click("#viewer [data-show='T2w']")
        whole.wait("document.querySelector('#viewer').dataset.shown === 'T2w'")
        assert apart(plain, painted(whole)) > 0.02
        assert not whole.log

    def test_outlines_and_opacity(self, whole: Chromium) -> None:
        opened(whole)
        outlined = layer(whole, "labels")
        names = whole.run("document.querySelector('#viewer .legend').textContent")
        assert names == "CSFGMWMlesion"
        whole.click("#viewer [data-outline]")
        filled = painted(whole)
        assert apart(filled, outlined) > 0.01
        whole.run("(s => { s.value = 0; s.dispatchEvent(new Event('input')); })"
                  "(document.querySelector('[name=opacity]'))")  # fmt: skip
        whole.wait("document.querySelector('#viewer').dataset.shown")
        clear = painted(whole)
        assert apart(clear, layer(whole, "")) < 0.02

    def test_a_reason_of_the_verdict_leads_to_its_place(
        self, browser: Chromium, results: Results
    ) -> None:
        browser.open(results.root / "qc" / LACKING)
        browser.click(".reasons [data-jump='spread']")
        browser.wait("document.querySelector('#viewer').dataset.place === 'spread'")
        assert browser.run("document.querySelector('#viewer').dataset.shown") == (
            "FLAIR spread-FLAIR"
        )

    def test_keys_open_it_and_move_the_cross_hair(self, whole: Chromium) -> None:
        whole.key("v")
        whole.wait("document.querySelector('#viewer').dataset.place")
        whole.wait("document.activeElement.tagName === 'CANVAS'")
        before = whole.run(SAID)
        whole.key("ArrowUp")
        after = whole.run(SAID)
        assert before.split()[:2] == after.split()[:2] and before.split()[2:4] != after.split()[2:4]
        whole.key("ArrowDown")
        assert whole.run(SAID) == before

    def test_without_webgl_it_says_so(self, whole: Chromium) -> None:
        whole.run("HTMLCanvasElement.prototype.getContext = () => null")
        whole.click("#viewer .open")
        whole.wait(f"{SAID}.includes('no WebGL 2')")
        assert not whole.run("document.querySelector('#viewer .closed').hidden")

    def test_without_its_program_it_says_so(
        self, browser: Chromium, results: Results, tmp_path: Path
    ) -> None:
        shutil.copy(results.root / "qc" / WHOLE, tmp_path)
        browser.open(tmp_path / WHOLE)
        browser.click("#viewer .open")
        browser.wait(f"{SAID}.includes('needs the file niivue.js')")

    def test_a_subject_that_failed_shows_what_was_acquired(
        self, browser: Chromium, results: Results
    ) -> None:
        browser.open(results.root / "qc" / FAILED)
        opened(browser)
        assert np.asarray(painted(browser)).std() > 20
        assert not browser.log


def stored(browser: Chromium) -> list[str]:
    lines: list[str] = browser.run("VOXELWAY_RATING.tsv()").splitlines()
    assert lines[0] == COLUMNS
    return lines[1:]


def comment(browser: Chromium, stage: str, text: str) -> None:
    browser.run(
        f"(c => {{ c.value = {text!r}; c.dispatchEvent(new Event('change')); }})"
        f"(document.querySelector(\".rating[data-stage='{stage}'] .comment\"))"
    )


class TestRating:
    def test_a_click_is_kept_and_exported(self, whole: Chromium, results: Results) -> None:
        whole.run("document.getElementById('rater').value = 'AB'")
        whole.click(".rating[data-stage='denoise'] [data-rating='fail']")
        comment(whole, "denoise", "too smooth")
        whole.click("#rating .rating [data-rating='exclude']")
        lines = [line.split("\t") for line in stored(whole)]
        assert [line[:6] for line in lines] == [
            ["A000", "01", "", "exclude", "", "AB"],
            ["A000", "01", "denoise", "fail", "too smooth", "AB"],
        ]
        assert all(len(line[6]) == 20 and line[6].endswith("Z") for line in lines)
        whole.open(results.root / "qc" / LACKING)
        assert len(stored(whole)) == 2, "pages of one results folder share ratings"
        assert whole.run("document.querySelectorAll('.rating.rated').length") == 0
        whole.open(results.root / "qc" / WHOLE)
        pressed = "[...document.querySelectorAll('.rating [aria-pressed=true]')]"
        assert whole.run(f"{pressed}.map(b => b.dataset.rating)") == ["fail", "exclude"]
        whole.click(".rating[data-stage='denoise'] [data-rating='fail']")
        assert [line.split("\t")[2] for line in stored(whole)] == [""], "a second click takes back"

    def test_other_folders_have_their_own(self, whole: Chromium, results: Results, tmp_path: Path
                                          ) -> None:  # fmt: skip
        whole.click("#rating .rating [data-rating='pass']")
        shutil.copy(results.root / "qc" / WHOLE, tmp_path)
        whole.open(tmp_path / WHOLE)
        assert stored(whole) == []

    @pytest.mark.parametrize(
        ("typed", "kept"),
        [("=cmd|'/c calc'!A1", "cmd|'/c calc'!A1"), ("+-=@1+1", "1+1"), (" \t=2", "2"),
         ('"open quote', "open quote"), ("a\tb\nc\rd", "a bcd"),
         ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>")],
    )  # fmt: skip
    def test_comments_harm_neither_spreadsheet_nor_table(
        self, whole: Chromium, results: Results, tmp_path: Path, typed: str, kept: str
    ) -> None:
        whole.click(".rating[data-stage='segment'] [data-rating='pass']")
        comment(whole, "segment", typed)
        table = tmp_path / "qc_decisions.tsv"
        table.write_text(whole.run("VOXELWAY_RATING.tsv()"), encoding="utf-8")
        (row,) = files.read_tsv(table)
        assert list(row) == COLUMNS.split("\t") and row["comment"] == kept
        whole.open(results.root / "qc" / WHOLE)
        assert not whole.log and not whole.run("document.querySelector('img[src=x]')")

    def test_the_newer_of_two_ratings_counts(self, whole: Chromium) -> None:
        def merged(date: str, rating: str) -> int:
            text = f"{COLUMNS}\nsub-A007\tses-02\tregister\t{rating}\tseen\tCD\t{date}\n"
            return int(whole.run(f"VOXELWAY_RATING.merge({text!r})"))

        assert merged("2026-02-01T10:00:00Z", "rerun") == 1
        assert merged("2026-01-01T10:00:00Z", "pass") == 0
        assert [line.split("\t")[:4] for line in stored(whole)] == [
            ["A007", "02", "register", "rerun"]]  # fmt: skip
        assert merged("2026-03-01T10:00:00Z", "fail") == 1
        assert stored(whole) == ["A007\t02\tregister\tfail\tseen\tCD\t2026-03-01T10:00:00Z"]
        exported = whole.run("VOXELWAY_RATING.tsv()")
        assert whole.run(f"VOXELWAY_RATING.merge({exported!r})") == 0

    def test_a_spreadsheet_s_table_comes_back(self, whole: Chromium) -> None:
        text = "\ufeff" + COLUMNS + '\r\nA007\t02\t\tpass\t"a ""quoted"" word"\tCD\t2026\r\n\r\n'
        assert whole.run(f"VOXELWAY_RATING.merge({text!r})") == 1
        assert stored(whole) == ['A007\t02\t\tpass\ta "quoted" word\tCD\t2026']

    @pytest.mark.parametrize(
        ("text", "told"),
        [("subject\trating\nA\tpass\n", "lacks session"),
         (f"{COLUMNS}\nA007\t02\t\tmaybe\t\t\t2026\n", "Line 2: the rating"),
         (f"{COLUMNS}\nA007\t02\t\tpass\t\t\t2026\n<b>\t02\t\tpass\t\t\t2026\n", "Line 3: the sub"),
         ("", "no table of ratings")],
    )  # fmt: skip
    def test_a_table_with_a_bad_row_is_refused_whole(
        self, whole: Chromium, text: str, told: str
    ) -> None:
        asked = f"try {{ VOXELWAY_RATING.merge({text!r}) }} catch (error) {{ error.message }}"
        assert told in whole.run(asked)
        assert stored(whole) == []

    def test_a_comment_without_a_rating_is_kept_and_not_exported(self, whole: Chromium) -> None:
        comment(whole, "ingest", "ask the scanner's people")
        assert stored(whole) == []
        draft = "document.querySelector(\".rating[data-stage='ingest'] .draft\").hidden"
        assert whole.run(draft) is False

    def test_keys_alone_are_enough(self, whole: Chromium) -> None:
        whole.key("r")
        whole.wait("document.activeElement.dataset.rating === 'pass'")
        whole.key("Tab")
        whole.key("Enter")
        assert [line.split("\t")[3] for line in stored(whole)] == ["fail"]


class TestPage:
    def test_the_position_in_the_cohort_is_told_in_words(self, whole: Chromium) -> None:
        words = whole.run("document.querySelector('.strip .sr').textContent")
        assert "of 3 sessions are below; median" in words

    def test_pictures_flicker_by_key(self, whole: Chromium) -> None:
        figure = "document.getElementById('register-template')"
        whole.run(f"{figure}.focus()")
        shown = f"[...{figure}.querySelectorAll('img.base')].findIndex(i => !i.hidden)"
        whole.key("2")
        assert whole.run(shown) == 1
        whole.key("f")
        whole.wait(f"{shown} === 0")
        whole.wait(f"{shown} === 1")
        whole.key("f")

    def test_print_holds_the_pictures_and_no_controls(self, whole: Chromium) -> None:
        whole.click("#rating .rating [data-rating='pass']")
        whole.call("Emulation.setEmulatedMedia", media="print")
        gone = "s => [...document.querySelectorAll(s)].every(e => e.offsetParent === null)"
        try:
            for selector in (".viewer", ".tools", ".keep", ".rating[data-stage='ingest']"):
                assert whole.run(f"({gone})({selector!r})")
            assert whole.run("document.querySelector('#register-template img').offsetWidth") > 300
            kept = "document.querySelector('#rating [data-rating=pass]').offsetParent !== null"
            assert whole.run(kept)
        finally:
            whole.call("Emulation.setEmulatedMedia", media="")

    def test_planted_scripts_do_not_run(self, browser: Chromium, results: Results) -> None:
        for name in (WHOLE, LACKING):
            browser.open(results.root / "qc" / name)
            assert not browser.log
            assert browser.run("document.body.textContent.includes(\"<script>alert('x')\")")
