"""A wrong configuration: one paragraph with a code, no traceback, nothing written."""

from __future__ import annotations

import pytest

from .conftest import Project


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [
        ("denoice: {}\n", "E-CONFIG-KEY", "did you mean 'denoise'?"),
        ("denoise: {strenght: 1}\n", "E-CONFIG-KEY", "did you mean 'strength'?"),
        ("denoise: {strength: much}\n", "E-CONFIG-VALUE", "denoise.strength"),
        ("seed: -1\n", "E-CONFIG-VALUE", "seed"),
        ("denoise: {method: magic}\n", "E-METHOD", "Methods of denoise"),
        ("register: {template: atlantis}\n", "E-TEMPLATE", "MNI152NLin2009aSym"),
        ("evaluate: {truth: nowhere}\n", "E-CONFIG-PATH", "evaluate.truth: no folder nowhere"),
    ],
)
def test_wrong_configuration(project: Project, config: str, code: str, words: str) -> None:
    project.configure(config)
    run = project.snakemake("--dry-run")
    assert run.code == 2
    assert code in run.text and words in run.text
    assert "Traceback" not in run.text
    assert not (project.root / "results").exists()


def test_missing_and_empty_dicom_folder(project: Project) -> None:
    run = project.snakemake("--dry-run", "--config", "dicom=nowhere")
    assert run.code == 2 and "E-CONFIG-PATH: dicom: no folder nowhere" in run.text
    (project.root / "empty").mkdir()
    run = project.snakemake("--dry-run", "--config", "dicom=empty")
    assert run.code == 3 and "E-DCM-FOLDER" in run.text
    assert "Traceback" not in run.text


def test_results_that_cannot_be_written(project: Project) -> None:
    (project.root / "results").write_text("a file")
    run = project.snakemake("--dry-run")
    assert run.code == 4 and "E-DIR-WRITE" in run.text
    assert "Traceback" not in run.text


def test_a_folder_without_images_ends_with_the_paragraph(project: Project) -> None:
    (project.root / "dicom" / "no-images").mkdir()
    run = project.snakemake()
    assert run.code == 1
    assert "E-DCM-NONE: None of the 1 files is a DICOM image" in run.text
    assert "Traceback" not in run.text
    assert not (project.root / "results" / "manifest.tsv").exists()
