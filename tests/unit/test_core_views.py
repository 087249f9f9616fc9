"""A view of an image's voxels must not outlive the image: SimpleITK does not keep it alive."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "pipeline"


def views_of_temporaries(source: str) -> list[int]:
    """Lines that view an image which nothing holds."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "GetArrayViewFromImage"
        and not isinstance(node.args[0], ast.Name | ast.Attribute)
    ]


def test_the_check_finds_one() -> None:
    assert views_of_temporaries("a = sitk.GetArrayViewFromImage(f(x))\n") == [1]
    assert views_of_temporaries("a = sitk.GetArrayViewFromImage(x)\n") == []


def test_no_view_of_a_temporary_image() -> None:
    found = {
        str(path.relative_to(PACKAGE)): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := views_of_temporaries(path.read_text(encoding="utf-8")))
    }
    assert found == {}
