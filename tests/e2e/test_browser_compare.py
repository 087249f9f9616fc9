"""The page of a comparison in a browser, from the disk: it runs, is painted, hides and sorts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline import cli, files
from pipeline.evaluate.table import COLUMNS
from pipeline.paths import Results

from .test_browser import chromium

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium"),
]
HOSTILE = "<img src=x onerror=\"document.title='run'\">"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("compare")
    rng = np.random.default_rng(0)
    for run, shift in (("a", 0.0), ("b", 0.05)):
        rows = [
            {"subject": f"s{n}", "session": "01", "stage": "segment", "metric": "dice",
             "label": label, "value": value + (shift if label == "GM" else 0.0), "unit": ""}
            for label in ("GM", "WM", HOSTILE) for n, value in enumerate(rng.uniform(0.5, 0.9, 12))
        ]  # fmt: skip
        files.write_tsv(Results(root / run).metrics, COLUMNS, rows)
        rng = np.random.default_rng(0)
    assert cli.main(["compare", str(root / "a"), str(root / "b")]) == 0
    return root / "b" / "qc" / "compare" / "index.html"


def test_page_runs_and_text_does_not(index: Path, tmp_path: Path) -> None:
    run = chromium(index, tmp_path, "--dump-dom", "--enable-logging=stderr", "--v=0")
    assert "Uncaught" not in run.stderr and "Refused to" not in run.stderr
    assert "<title>B is better than A" in run.stdout
    # the script has hidden the two measures that did not change
    assert "1 of 3 shown" in run.stdout
    assert "<img" not in run.stdout


@pytest.mark.parametrize("scheme", [(), ("--blink-settings=preferredColorScheme=0",)])
def test_page_is_painted_in_light_and_dark(
    index: Path, tmp_path: Path, scheme: tuple[str, ...]
) -> None:
    from PIL import Image

    picture = tmp_path / "page.png"
    chromium(index, tmp_path / "profile", "--window-size=1300,1000", *scheme,
             f"--screenshot={picture}")  # fmt: skip
    values = np.asarray(Image.open(picture).convert("L"), dtype=float)
    assert values.std() > 10
    assert (np.median(values) < 60) == bool(scheme)
