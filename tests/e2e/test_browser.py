"""The pages in a browser, from the disk: scripts run, numbers stand in the cohort's range."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from .chromium import Chromium
from .conftest import Cohort

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium"),
]
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run",
         "--virtual-time-budget=10000")  # fmt: skip


def chromium(page: Path, profile: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = ["chromium", *FLAGS, f"--user-data-dir={profile}", *flags, f"file://{page}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def test_subject_page_draws_the_cohort_beside_its_numbers(cohort: Cohort, tmp_path: Path) -> None:
    page = cohort.results.page(cohort.units[0])
    run = chromium(page, tmp_path, "--dump-dom", "--enable-logging=stderr", "--v=0")
    assert 'class="range"' in run.stdout
    assert "with-cohort" in run.stdout
    assert "Uncaught" not in run.stderr and "Refused to" not in run.stderr


@pytest.mark.parametrize("width", [1060, 1300, 1400])
def test_nothing_of_a_subject_page_is_wider_than_the_window(
    cohort: Cohort, tmp_path: Path, width: int
) -> None:
    with Chromium(tmp_path, size=(width, 900)) as browser:
        browser.open(cohort.results.page(cohort.units[0]))
        browser.wait("document.querySelector('.strip .range')")
        assert browser.run("document.documentElement.scrollWidth") <= width


def test_subject_page_works_without_the_cohort(cohort: Cohort, tmp_path: Path) -> None:
    page = tmp_path / "alone.html"
    shutil.copy(cohort.results.page(cohort.units[0]), page)
    run = chromium(page, tmp_path / "profile", "--dump-dom", "--enable-logging=stderr", "--v=0")
    assert "Uncaught" not in run.stderr
    assert 'class="range"' not in run.stdout


def test_cohort_page_shows_every_session(cohort: Cohort, tmp_path: Path) -> None:
    run = chromium(cohort.results.cohort_page, tmp_path, "--dump-dom", "--enable-logging=stderr")
    assert all(f"{unit.name}.html" in run.stdout for unit in cohort.units)
    assert 'class="measure"' in run.stdout
    assert "Uncaught" not in run.stderr


def test_pages_are_painted(cohort: Cohort, tmp_path: Path) -> None:
    from PIL import Image

    picture = tmp_path / "page.png"
    page = cohort.results.page(cohort.units[0])
    chromium(page, tmp_path / "profile", "--window-size=1400,2000", f"--screenshot={picture}")
    values = np.asarray(Image.open(picture).convert("L"), dtype=float)
    assert values.shape == (2000, 1400)
    assert values.std() > 30


def test_viewer_opens_at_the_largest_error_and_switches_layers(
    cohort: Cohort, tmp_path: Path
) -> None:
    page = cohort.results.page(cohort.units[0])
    assert page.stat().st_size < 6e6
    shown = "document.querySelector('#viewer').dataset.shown"
    with Chromium(tmp_path) as browser:
        browser.open(page)
        browser.click("#viewer .open")
        browser.wait("document.querySelector('#viewer').dataset.place === 'error'")
        pictures = []
        for layer in ("labels", "uncertainty", "template", "change"):
            browser.click(f"#viewer [data-over='{layer}']")
            browser.wait(f"{shown} === 'T1w {layer}'")
            twice = "requestAnimationFrame(() => requestAnimationFrame(done))"
            browser.run(f"new Promise(done => {twice})")
            pictures.append(np.asarray(browser.picture("#viewer .view"), dtype=int))
        assert not browser.log
    for one, other in itertools.pairwise(pictures):
        assert (np.abs(one - other).max(axis=2) > 12).mean() > 0.02
