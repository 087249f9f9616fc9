"""Edge cases of exports: none passes in silence, and the page in docs tells of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .edge_cases import CASES, Case
from .edge_page import Edges, Outcome, line, outcomes, page

ROOT = Path(__file__).resolve().parents[2]
FOUND: dict[str, dict[str, Outcome]] = {}


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edges]:
    yield Edges(tmp_path_factory.mktemp("edges"))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_no_case_passes_in_silence(case: Case, edges: Edges) -> None:
    found = FOUND[case.name] = outcomes(case, edges)
    default = found["default"]
    assert default.equal == case.whole, default
    if case.unseen:
        assert default.image and default.promised == "by no attribute of the header", default
        return
    for action, outcome in found.items():
        if outcome.equal and action != "default":
            continue
        noted = any(note.startswith(f"{case.code}: ") for note in outcome.notes)
        if not outcome.image or outcome.equal:
            # refused with its code; or harmless, and told where there is something to tell
            assert not case.code or case.code in outcome.told or noted, outcome
        else:
            assert case.code and noted, outcome
            done = [note.partition(": ")[2].partition(":")[0] for note in outcome.notes]
            assert set(done) <= {"repaired", "accepted"}, outcome


def test_page_is_what_the_cases_give(edges: Edges) -> None:
    lines = [line(case, FOUND.get(case.name) or outcomes(case, edges)) for case in CASES]
    written = (ROOT / "docs" / "edge-cases.md").read_text(encoding="utf-8")
    assert written == page(lines), "run: python -m tests.unit.edge_page docs/edge-cases.md"
