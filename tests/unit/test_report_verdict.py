"""Rules of the verdict, each with one value inside and one outside its limit."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline import config
from pipeline.paths import STAGES
from pipeline.register.gate import gate
from pipeline.report.verdict import Evidence, judge
from pipeline.status import Status

LIMITS = config.section("report")["limits"]


def states(**changed: Status) -> dict[str, Status]:
    fine = {stage: Status("A", "1", stage, "ok") for stage in STAGES if stage != "report"}
    return {**fine, **changed}


def level(**evidence: Any) -> str:
    return judge(Evidence(**{"statuses": states(), **evidence}), LIMITS).level


def test_nothing_unusual_passes() -> None:
    found = judge(Evidence(states(), {"register.ncc.": 0.95}), LIMITS)
    assert found.level == "pass" and found.reasons == ()


@pytest.mark.parametrize(
    ("key", "fine", "odd", "anchor"),
    [
        ("preprocess.volume.brain", 1400.0, 300.0, "preprocess-mask"),
        ("preprocess.volume.brain", 1400.0, 2600.0, "preprocess-mask"),
        ("preprocess.noise_level.T1w", 2.0, 20.0, "denoise"),
        ("register.ncc.", 0.9, 0.2, "register-template"),
        ("segment.volume.lesion", 0.1, 12.0, "segment-tissues"),
    ],
)
def test_a_number_outside_its_limit_asks_for_a_look(
    key: str, fine: float, odd: float, anchor: str
) -> None:
    assert level(values={key: fine}) == "pass"
    found = judge(Evidence(states(), {key: odd}), LIMITS)
    assert found.level == "look"
    assert [reason.anchor for reason in found.reasons] == [anchor]


def test_what_the_gate_of_register_found_is_shown() -> None:
    params = config.section("register")
    numbers = {"mask_dice_after": 0.8, "folded_share": 0.02, "log_jacobian_sd": 1.25}
    warnings = [finding.text for finding in gate(numbers, params, "sub-A")]
    warned = states(register=Status("A", "1", "register", "ok", warnings=warnings))
    found = judge(Evidence(warned), LIMITS)
    assert found.level == "look" and {reason.anchor for reason in found.reasons} == {"register"}
    for reason, parts in zip(
        found.reasons, (("0.800", "0.85"), ("2 %", "0.1 %"), ("1.25", "0.9")), strict=True
    ):
        assert all(part in reason.text for part in parts)


def test_limits_are_parameters() -> None:
    values = {"register.ncc.": 0.5}
    assert level(values=values) == "look"
    loose = {**LIMITS, "registration_ncc": 0.4}
    assert judge(Evidence(states(), values), loose).level == "pass"


def test_lesion_and_core_count_together() -> None:
    half = LIMITS["lesion_ml"] * 0.6
    both = {"segment.volume.lesion": half, "segment.volume.lesion-core": half}
    assert level(values={"segment.volume.lesion": half}) == "pass"
    assert level(values=both) == "look"


def test_a_failed_stage_fails_and_names_what_did_not_run() -> None:
    found = judge(
        Evidence(
            states(
                register=Status("A", "1", "register", "failed", "E-OVERLAP", "no overlap"),
                segment=Status("A", "1", "segment", "skipped", "E-UPSTREAM"),
            ),
            synthetic=["FLAIR"],
        ),
        LIMITS,
    )
    assert found.level == "fail"
    assert [reason.level for reason in found.reasons] == ["fail", "look"]
    assert "E-OVERLAP" in found.reasons[0].text
    assert "segment did not run" in found.reasons[0].text


def test_what_has_not_run_is_told_but_not_export() -> None:
    fewer = {stage: one for stage, one in states().items() if stage not in ("segment", "export")}
    found = judge(Evidence(fewer), LIMITS)
    assert [reason.text for reason in found.reasons] == ["not run yet: segment"]


def test_warnings_refusals_synthetic_and_box() -> None:
    warned = states(preprocess=Status("A", "1", "preprocess", "ok", warnings=["T2w is off"]))
    assert level(statuses=warned) == "look"
    assert level(refused=["D-TRUNCATED"]) == "look"
    assert level(box_touches=True) == "look"
    assert level(synthetic=["FLAIR"]) == "look"
    quiet = {**LIMITS, "look_at_synthetic": False}
    assert judge(Evidence(states(), synthetic=["FLAIR"]), quiet).level == "pass"


def test_a_subject_that_a_rater_left_out_is_not_passed() -> None:
    left = Status("A", "1", "preprocess", "skipped", "E-QC-EXCLUDED", "Left out: rated 'exclude'")
    later = Status("A", "1", "denoise", "skipped", "E-UPSTREAM", "Not run")
    found = judge(Evidence(states(preprocess=left, denoise=later)), LIMITS)
    assert found.level == "fail" and len(found.reasons) == 1
    assert "Left out" in found.reasons[0].text and "denoise did not run" in found.reasons[0].text
