"""A page of a subject whose headers, file names and sidecars hold markup and scripts."""

from __future__ import annotations

import base64
import hashlib

import pytest

from pipeline import files, status
from pipeline.paths import Unit
from pipeline.report import pages

from .report_cases import HOSTILE, Fake, Parsed, page, params

ATTACKS = (
    HOSTILE,
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(2)>',
    "javascript:alert(3)",
    "' autofocus onfocus='alert(4)",
    "</script><script>alert(5)</script>",
    "{{ 7*7 }}",
)


class TestHostileText:
    """Text that a header, a file name or a foreign file controls, all at once on one page."""

    @pytest.fixture(scope="class")
    def attacked(self, tmp_path_factory: pytest.TempPathFactory) -> str:
        fake = Fake(tmp_path_factory.mktemp("attacked") / "results", 6.0)
        unit, everything = Unit("A000", "01"), " ".join(ATTACKS)
        fake.unit(unit, 0, lacks="FLAIR")
        for path in (fake.results.root / "derivatives").rglob("*.json"):
            if path.name.endswith("_status.json"):
                continue
            told = files.read_json(path)
            told |= {"Method": everything, "NoiseModel": everything, "Identity": everything}
            told |= {"SourceContrasts": list(ATTACKS), "Device": everything, "Code": everything}
            told["Parameters"] = {text: text for text in ATTACKS}
            told["Versions"] = {text: text for text in ATTACKS}
            told["ChannelsUsed"] = [{"Suffix": text, "Synthetic": True} for text in ATTACKS]
            told["SegmentVoxels"] = dict.fromkeys(ATTACKS, 1)
            files.write_json(path, told)
        image = fake.results.image("ingest", unit, "T1w")
        image.with_name(f"{unit.name}_<img src=x onerror=alert(1)>.nii.gz").write_bytes(
            image.read_bytes()
        )
        stage = status.read(fake.results, unit, "denoise")
        assert stage is not None
        stage.warnings[:] = list(ATTACKS)
        status.write(fake.results, unit, stage)
        rows = [{"code": text, "message": text, "subject": "A000", "series": text, "files": 1}
                for text in ATTACKS]  # fmt: skip
        columns = ("code", "message", "subject", "series", "files")
        files.write_tsv(fake.results.quarantine, columns, rows)
        assert pages.write_pages(fake.results, params(), [unit], cohort=False) == 0
        return page(fake.results, "sub-A000_ses-01.html")

    def test_it_is_shown_as_text(self, attacked: str) -> None:
        shown = " ".join(Parsed(attacked).text)
        for attack in ATTACKS:
            assert attack in shown

    def test_it_makes_no_element_and_no_handler(self, attacked: str) -> None:
        parsed = Parsed(attacked)
        for tag, attributes in parsed.elements:
            assert not [name for name in attributes if name.startswith("on") or name == "autofocus"]
            for name in ("href", "src", "action", "formaction"):
                assert not attributes.get(name, "").strip().lower().startswith("javascript"), tag
        assert not parsed.all("svg")
        scripts = parsed.all("script")
        assert [one.get("src") or one.get("id") or "own" for one in scripts] == [
            "volumes", "cohort.js", "own"]  # fmt: skip
        assert all(one["src"].startswith("data:image/webp") for one in parsed.all("img"))

    def test_only_the_page_s_own_script_may_run(self, attacked: str) -> None:
        policy = next(one["content"] for one in Parsed(attacked).all("meta")
                      if one.get("http-equiv") == "Content-Security-Policy")  # fmt: skip
        code = attacked.rsplit("<script>", 1)[1].rsplit("</script>", 1)[0]
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["script-src"].split() == ["'self'", "file:", f"'sha256-{digest}'"]
        assert rules["default-src"] == "'none'" and rules["form-action"] == "'none'"
