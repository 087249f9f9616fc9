"""Whether a registration may be used: overlap of the brains, folds, spread of the Jacobian.

A finding is a warning on the QC page, or a refusal: always where the brains do not meet, for the
others where ``gate`` of the configuration says ``refuse``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.errors import VoxelwayError

#: What a finding is about; `flags` of metrics.json names these.
Flag = Literal["low_overlap", "folding", "implausible_jacobian"]


@dataclass(frozen=True)
class Finding:
    """One limit that was crossed.

    Attributes:
        flag: what it is about.
        text: the measured number and the limit, for the QC page.
        code: code to refuse with; empty where the finding is never grounds to.
        hint: what the user can do.
    """

    flag: Flag
    text: str
    code: str = ""
    hint: str = ""


def gate(numbers: Mapping[str, Any], params: Mapping[str, Any], where: str) -> list[Finding]:
    """Hold the numbers of a registration against the limits.

    Args:
        numbers: from :func:`pipeline.register.metrics.measure`.
        params: ``min_overlap``, ``low_overlap``, ``max_folded``, ``max_log_jacobian_sd``, ``gate``.
        where: the unit or files, for the error.

    Returns:
        Findings to warn of, none for a sound registration.

    Raises:
        VoxelwayError: E-OVERLAP below ``min_overlap``; E-FOLD or E-JACOBIAN when ``gate`` is
            ``refuse``.
    """
    _refuse_apart(float(numbers["mask_dice_after"]), float(params["min_overlap"]), where)
    found = findings(numbers, params)
    for finding in found:
        if finding.code and params["gate"] == "refuse":
            raise VoxelwayError(finding.code, finding.text, where=where, hint=finding.hint)
    return found


def findings(numbers: Mapping[str, Any], params: Mapping[str, Any]) -> list[Finding]:
    """Every limit that the numbers cross, in the order overlap, folds, Jacobian."""
    dice, low = float(numbers["mask_dice_after"]), float(params["low_overlap"])
    folded, most = float(numbers["folded_share"]), float(params["max_folded"])
    spread, widest = float(numbers["log_jacobian_sd"]), float(params["max_log_jacobian_sd"])
    found = []
    if dice < low:
        text = f"The brain masks overlap by a Dice of {dice:.3f}, under {low:g}"
        found.append(Finding("low_overlap", text))
    if folded > most:
        text = f"The warp folds in {100 * folded:.3g} % of the brain, over {100 * most:g} %"
        hint = "Use a smoother method or setting; register.max_folded sets the limit"
        found.append(Finding("folding", text, "E-FOLD", hint))
    if spread > widest:
        text = (
            f"Volumes change implausibly: the log of the Jacobian varies by {spread:.3g}, "
            f"over {widest:g}"
        )
        hint = (
            "Look at the brain mask and at the contrast of the two images; "
            "register.max_log_jacobian_sd sets the limit"
        )
        found.append(Finding("implausible_jacobian", text, "E-JACOBIAN", hint))
    return found


def _refuse_apart(dice: float, least: float, where: str) -> None:
    if dice < least:
        what = f"The brain masks overlap by a Dice of {dice:.2f}, at least {least:.2f} is asked"
        hint = "Look at the brain mask; register.min_overlap sets the limit"
        raise VoxelwayError("E-OVERLAP", what, where=where, hint=hint)
