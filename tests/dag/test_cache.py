"""Nothing of a patient goes into the cache that workflows share."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import ROOT, Project


def test_no_rule_asks_for_the_cache() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    assert rules.count("\nrule ") >= 14
    assert "cache:" not in rules


@pytest.mark.parametrize("rule", ["segment", "train_synthesize"])
def test_none_can_be_asked_for_it(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rule: str
) -> None:
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "cache"))
    run = project.snakemake("--cache", rule, "--dry-run")
    assert run.code == 2, run.text
    assert f"E-USAGE: --cache {rule}" in run.text and "Traceback" not in run.text
