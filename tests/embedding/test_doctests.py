"""Every class of `embedding` that its users import shows how it is used; pytest runs what it shows.

Its users are the other packages, the benchmarks and the documentation. (GPU classes run in tests/embedding/gpu.)
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USERS = ("recsys", "serving", "streaming", "benchmarks", "docs")
IMPORT = re.compile(r"from (embedding[.\w]*) import (\([^)]*\)|.*)")
IMPORTED = {
    (module, name)
    for user in USERS
    for path in (ROOT / user).rglob("*")
    if path.suffix in (".py", ".md")
    for module, names in IMPORT.findall(path.read_text(encoding="utf-8"))
    for name in re.findall(r"\w+", names)
}
CLASSES = {
    f"{path.relative_to(ROOT)}::{node.name}": ast.get_docstring(node) or ""
    for path in sorted((ROOT / "embedding").rglob("*.py"))
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.ClassDef)
    and (".".join(path.relative_to(ROOT).with_suffix("").parts), node.name) in IMPORTED
}


def test_the_store_and_its_protocol_are_among_the_classes_that_users_import() -> None:
    assert {"embedding/local/store.py::LocalStore", "embedding/store.py::EmbeddingStore"} <= CLASSES.keys()


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_that_users_import_has_a_doctest(name: str) -> None:
    assert ">>> " in CLASSES[name]
