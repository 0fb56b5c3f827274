"""Every public class of `embedding` shows how it is used; pytest runs what it shows (gpu: tests/embedding/gpu)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "embedding"
CLASSES = {
    f"{path.relative_to(PACKAGE.parent)}::{node.name}": ast.get_docstring(node) or ""
    for path in sorted(PACKAGE.rglob("*.py"))
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_has_a_doctest(name: str) -> None:
    assert ">>> " in CLASSES[name]
