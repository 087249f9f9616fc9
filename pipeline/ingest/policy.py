"""What becomes of a series with findings: refused, repaired or accepted, code by code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.ingest import copies, gate
from pipeline.ingest.gate import Finding
from pipeline.ingest.identity import file_label
from pipeline.ingest.volume import Volume

DUPLICATE = "D-SLICES-DUPLICATE"


@dataclass(frozen=True)
class Verdict:
    """The outcome for one volume.

    Attributes:
        volume: what is to be converted, repaired where the policy says so.
        refused: why it is not converted; empty when it is.
        notes: what was found and accepted or repaired, for the sidecar.
    """

    volume: Volume
    refused: tuple[Finding, ...]
    notes: tuple[Finding, ...]


def judge(
    volume: Volume,
    params: Mapping[str, Any],
    others: Iterable[Finding] = (),
    *,
    many: bool = False,
) -> Verdict:
    """Put a volume through the gate and apply ``policy``.

    Args:
        volume: one volume, or the volumes of a 4D series.
        params: section ``ingest`` of the configuration.
        others: findings that the gate can't make on one volume alone.
        many: whether a 4D series is wanted.
    """
    findings = [*gate.check(volume, params, many=many), *others]
    notes: list[Finding] = []
    wants = params["policy"]
    if wants[DUPLICATE] == "repair" and any(item.code == DUPLICATE for item in findings):
        kept = copies.without_copies(volume)
        if kept is not None:
            volume, count = kept
            what = f"repaired: {count} files are identical copies of others and were left out"
            notes.append(Finding(DUPLICATE, what))
            findings = [*gate.check(volume, params, many=many), *others]
    refused = []
    for code in dict.fromkeys(item.code for item in findings):
        same = [item for item in findings if item.code == code]
        # copies were taken out above; what is left lies at one place and differs
        action = "refuse" if code == DUPLICATE else str(wants.get(code, "refuse"))
        if _allowed(action, same):
            done = {"repair": "repaired", "accept": "accepted"}[action]
            notes += [Finding(code, f"{done}: {item.message}") for item in same]
        else:
            refused += same
    return Verdict(volume, tuple(refused), tuple(notes))


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """One finding a code, with all messages and files."""
    found: dict[str, list[Finding]] = {}
    for item in findings:
        found.setdefault(item.code, []).append(item)
    return [
        Finding(
            code,
            "; ".join(dict.fromkeys(item.message for item in same)),
            tuple(dict.fromkeys(path for item in same for path in item.paths)),
        )
        for code, same in found.items()
    ]


#: Files that a message names.
MOST_LABELS = 3


def labels(key: bytes, finding: Finding) -> str:
    """The pseudonyms of the files that stand out, for a message; the private folder knows them."""
    if not finding.paths:
        return ""
    told = ", ".join(file_label(key, path) for path in finding.paths[:MOST_LABELS])
    more = len(finding.paths) - MOST_LABELS
    return f" (files {told}{f' and {more} more' if more > 0 else ''})"


def _allowed(action: str, findings: list[Finding]) -> bool:
    """Whether an action answers all findings of one code.

    Holes in the numbers are repaired with the gap that they left; when more is missing than the
    gaps account for, the rest is at an end, where nothing can be put back.
    """
    if action == "accept":
        return all(item.accept for item in findings)
    if action == "repair":
        filled = sum(item.lost for item in findings if item.repair)
        rest = [item.lost for item in findings if not item.repair]
        return any(item.repair for item in findings) and all(0 < n <= filled for n in rest)
    return False
