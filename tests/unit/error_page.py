"""The page of all codes of errors, from the tables of the code.

``python -m tests.unit.error_page docs/errors.md`` writes it again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline import files
from pipeline.advice import ADVICE
from pipeline.errors import CODES, Exit

HEAD = """# Codes of errors

Every error has a code, says what happened with the numbers that were seen, names the file or the
subject where there is one, and what to do; where the case itself tells nothing better, that is what
stands here. In a run the code is in `status.tsv`, on the subject's page and in the log; series that
were not taken are in `quarantine.tsv`. The code decides the exit status of a command (a run over
several subjects that did for some ends with 5). A test compares this page with the code.
"""
KINDS = {
    Exit.COMMAND: "The command or the configuration is wrong: exit status 2",
    Exit.REFUSED: "The input was refused: exit status 3",
    Exit.OUTSIDE: "Something outside failed: exit status 4",
}
SERIES = """## A DICOM series was not taken

`voxelway index DICOM RESULTS --explain sub-X` tells why each series of a subject was taken or left;
[edge-cases.md](edge-cases.md) shows what is found in which export, and what `ingest.policy`
changes.
"""


def page() -> str:
    """The whole page in Markdown."""
    parts = [HEAD]
    for status, title in KINDS.items():
        rows = [
            f"| `{code}` | {entry.meaning} | {ADVICE[code]} |"
            for code, entry in CODES.items()
            if entry.exit == status and code in ADVICE
        ]
        table = "\n".join(["| code | meaning | what to do |", "| --- | --- | --- |", *rows])
        parts.append(f"## {title}\n\n{table}\n")
    rows = [f"| `{code}` | {entry.meaning} |" for code, entry in CODES.items() if code[0] == "D"]
    parts.append("\n".join([SERIES, "| code | meaning |", "| --- | --- |", *rows]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    files.write_text(Path(sys.argv[1]), page())
