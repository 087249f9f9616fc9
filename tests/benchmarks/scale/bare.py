"""A bare Snakemake workflow of as many jobs: the same shape, files and names, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

#: Stage → stages whose output it takes, as in Voxelway.
SHAPE = {
    "ingest": (),
    "preprocess": ("ingest",),
    "denoise": ("preprocess",),
    "superres": ("denoise",),
    "register": ("superres",),
    "synthesize": ("superres",),
    "segment": ("superres", "register", "synthesize"),
    "evaluate": ("preprocess", "denoise", "superres", "register", "synthesize", "segment"),
    "export": ("segment",),
    "report": ("evaluate", "export"),
}
#: Stages whose jobs wait for a file that the cohort has once.
ONCE = {"register": "once/template", "synthesize": "once/model"}


def write(folder: Path, subjects: Sequence[str]) -> None:
    """Write the Snakefile and its list of subjects."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "subjects.txt").write_text("".join(f"{name}\n" for name in subjects))
    head = (
        'SUBJECTS = open("subjects.txt").read().split()\n\n'
        'rule all:\n    input: expand("out/report/sub-{s}/ses-01/sub-{s}_ses-01_status.json",'
        " s=SUBJECTS)\n"
        'rule template:\n    output: "once/template"\n    shell: "touch {output}"\n'
        'rule model:\n    output: "once/model"\n    shell: "touch {output}"\n'
    )
    (folder / "Snakefile").write_text(head + "".join(map(_rule, SHAPE)))


def _rule(stage: str) -> str:
    paths = [f'"{_output(name)}"' for name in SHAPE[stage]]
    paths += [f'"{ONCE[stage]}"'] if stage in ONCE else []
    takes = f"    input: {', '.join(paths)}\n" if paths else ""
    return (
        f"rule {stage}:\n{takes}"
        f'    output: "{_output(stage)}"\n'
        f'    log: "logs/{stage}/sub-{{s}}.log"\n'
        f'    shell: "touch {{output}} > {{log}} 2>&1"\n'
    )


def _output(stage: str) -> str:
    return f"out/{stage}/sub-{{s}}/ses-01/sub-{{s}}_ses-01_status.json"
