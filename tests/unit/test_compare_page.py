"""Tables and page of a comparison: the same numbers, safe text, links that lead somewhere."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import cli, files
from pipeline.compare import page, plot
from pipeline.paths import Results, Unit

from .compare_cases import dice, sidecar, write

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Results]:
    """Twelve subjects; GM is better in B, WM the same, one case of GM collapses."""
    root = tmp_path_factory.mktemp("compare")
    base = [round(float(v), 4) for v in np.random.default_rng(2).uniform(0.7, 0.9, 12)]
    better = [round(v + 0.03 + 0.001 * n, 4) for n, v in enumerate(base)]
    better[4] = 0.2
    a = write(root / "one run", [*dice(base), *dice(base, "WM"), *dice(base, HOSTILE)])
    b = write(root / "run #2 <b>", [*dice(better), *dice(base, "WM"), *dice(better, HOSTILE)])
    for results in (a, b):
        for number in range(12):
            files.write_text(results.page(Unit(f"s{number:03d}", "01")), "<p>a page</p>")
    sidecar(a, "s000", "segment", Method="atlas")
    sidecar(b, "s000", "segment", Method=HOSTILE, Parameters={HOSTILE: "<img src=x>"})
    assert cli.main(["compare", str(a.root), str(b.root)]) == 0
    return a, b


def folder(runs: tuple[Results, Results]) -> Path:
    return runs[1].root / "qc" / "compare"


def html(runs: tuple[Results, Results]) -> str:
    return (folder(runs) / "index.html").read_text(encoding="utf-8")


def test_tables_have_the_numbers(runs: tuple[Results, Results]) -> None:
    rows = {row["label"]: row for row in files.read_tsv(folder(runs) / "compare.tsv")}
    grey = rows["GM"]
    assert (grey["n"], grey["n_changed"], rows["WM"]["outcome"]) == ("12", "12", "same")
    a, b = (
        {r["subject"]: float(r["value"]) for r in files.read_tsv(run.metrics) if r["label"] == "GM"}
        for run in runs
    )
    mean = np.mean([b[name] - a[name] for name in a])
    assert float(grey["difference"]) == pytest.approx(mean, rel=1e-5)
    first = files.read_tsv(folder(runs) / "compare_cases.tsv")[0]
    assert (first["subject"], first["change"], first["b"]) == ("s004", "worse", "0.2")


def test_page_shows_what_the_tables_hold(runs: tuple[Results, Results]) -> None:
    known = {
        value
        for name in ("compare.tsv", "compare_cases.tsv")
        for row in files.read_tsv(folder(runs) / name)
        for value in row.values()
    }
    shown = re.findall(r'<data value="([^"]*)" title="([^"]*)">', html(runs))
    assert len(shown) > 30
    assert all(value == title and value in known for value, title in shown)


def test_text_of_headers_can_not_run(runs: tuple[Results, Results]) -> None:
    text = html(runs)
    assert text.count("<script>") == 1
    assert "<img" not in text and "run #2 <b>" not in text
    assert "&lt;script&gt;alert(" in text
    assert "run #2 &lt;b&gt;" in text
    assert "script-src 'self' file: 'sha256-" in unescape(text)
    assert "unsafe-inline'; script-src" in unescape(text)


def test_links_lead_to_both_pages(runs: tuple[Results, Results]) -> None:
    links = re.findall(r'<a href="([^"#][^"]*)" aria-label="page of', html(runs))
    assert len(links) >= 2
    targets = {(folder(runs) / unquote(unescape(link))).resolve() for link in links}
    assert all(target.is_file() for target in targets)
    assert {runs[0].page(Unit("s004", "01")), runs[1].page(Unit("s004", "01"))} <= targets


def test_what_differs_is_shown(runs: tuple[Results, Results]) -> None:
    assert re.search(r"<td>method</td><td><code>atlas</code></td>", html(runs))


def test_same_input_gives_the_same_files(runs: tuple[Results, Results], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli.main(["compare", str(runs[0].root), str(runs[1].root), "--out", str(out)]) == 0
    for name in ("compare.tsv", "compare_cases.tsv"):
        assert (out / name).read_bytes() == (folder(runs) / name).read_bytes()


def test_names_tell_the_runs_apart() -> None:
    names = page._names(Results(Path("/x/a/results")), Results(Path("/x/b/results")))
    assert names == ("a/results", "b/results")


def test_axis_has_round_ticks_that_fit() -> None:
    axis = plot.axis([0.71, 0.89])
    texts = [text for _, text in axis.ticks()]
    assert texts == ["0.75", "0.80", "0.85"]
    assert axis.at(0.71) > axis.at(0.89)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_every_axis_has_two_to_six_ticks_inside(low: float, size: float) -> None:
    ticks = plot.axis([low, low + size]).ticks()
    assert 2 <= len(ticks) <= 6
    assert all(plot.TOP - 0.1 <= height <= plot.BOTTOM + 0.1 for height, _ in ticks)


def test_a_constant_has_an_axis() -> None:
    for value in (0.0, -2.0, 1e-9):
        axis = plot.axis([value, value])
        assert axis.low < value < axis.high
        assert axis.ticks()


def test_many_subjects_make_a_small_page(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(0.5, 1, 1000)
    measures: list[Any] = ["GM", "WM", "CSF", "lesion"]
    a = write(tmp_path / "a", [n for m in measures for n in dice(map(float, values), m)])
    b = write(tmp_path / "b", [n for m in measures for n in dice(map(float, values**2), m)])
    assert cli.main(["compare", str(a.root), str(b.root)]) == 0
    assert (b.root / "qc" / "compare" / "index.html").stat().st_size < 500_000
