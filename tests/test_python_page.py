"""The examples of docs/python.md, the README's session in Python and the notebook, run as printed."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from recsys.commands.describe.config import init
from tests.projects import share_graphs

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "python.md"
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
DISPLAYS = ("_repr_svg_", "_repr_html_", "__repr__")


def blocks() -> list[tuple[str, str]]:
    """The page's Python blocks, each with the output that is printed below it."""
    return re.findall(r"^```python\n(.*?)^```\n(?:```\n(.*?)^```)?", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def use(folder: Path, graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run below `folder`, with the graphs that tests have traced."""
    monkeypatch.chdir(folder)
    share_graphs(folder / "cafe" / "run" / "checkpoints", graphs)


@pytest.mark.slow
def test_the_page(
    tmp_path: Path, graphs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(tmp_path, graphs, monkeypatch)
    names: dict[str, Any] = {}
    expected = 0
    try:
        for code, output in blocks():
            exec(compile(code, PAGE, "exec"), names)
            printed = capsys.readouterr().out
            if output:
                expected += 1
                assert printed == output
    finally:
        names["recommender"].close()
    assert expected
    assert (tmp_path / "cafe" / "replay" / "report.html").exists()


@pytest.mark.slow
def test_the_session_of_the_readme(
    tmp_path: Path, graphs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (code,) = re.findall(r"^```python session\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    init(Path("recsys.toml"))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    share_graphs(tmp_path / "run" / "checkpoints", graphs)
    capsys.readouterr()
    exec(compile(code, "README.md", "exec"), {})
    learned, recommended = capsys.readouterr().out.splitlines()
    assert "rows learned" in learned
    assert recommended.startswith("Ranking([('")


def cells() -> list[str]:
    """The notebook's code."""
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown(code: str, names: dict[str, Any]) -> str:
    """Run a cell; what a notebook shows of its last expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NOTEBOOK, "exec"), names)
    if last is None:
        return ""
    assert isinstance(last, ast.Expr)
    value = eval(compile(ast.Expression(last.value), NOTEBOOK, "eval"), names)
    return next(str(getattr(value, name)()) for name in DISPLAYS if hasattr(value, name)) if value is not None else ""


@pytest.mark.slow
def test_the_notebook(tmp_path: Path, graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs, and what it shows is there."""
    use(tmp_path, graphs, monkeypatch)
    names: dict[str, Any] = {}
    try:
        displayed = [shown(code, names) for code in cells()]
    finally:
        names["recommender"].close()
    text = "\n".join(displayed)
    assert "accepted" in text
    assert "AUC" in text
    assert text.count("<table") >= 3
    assert text.count("<svg") >= 2


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert notebook["nbformat"] == 4
    assert [cell for cell in notebook["cells"] if cell.get("outputs") or cell.get("execution_count")] == []
