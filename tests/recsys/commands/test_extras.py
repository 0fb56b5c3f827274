"""A command whose dependencies are not installed names the extra that brings them."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from recsys.extras import needs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        ("serve", "starlette", "serving"),
        ("serve", "redis", "serving"),
        ("train", "torch", "training"),
        ("check", "pydantic", "log"),
        ("ingest", "pyarrow", "log"),
        ("demo", "rich", "all"),
    ],
)
def test_a_missing_dependency_is_reported_with_its_extra(
    tmp_path: Path, command: str, missing: str, extra: str
) -> None:
    (tmp_path / "recsys.toml").touch()
    code = f"import sys; sys.modules[{missing!r}] = None; from recsys.cli import main; main()"
    arguments = [sys.executable, "-c", code, command]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert done.stderr == f"error: recsys {command} needs `pip install 'recsys[{extra}]'`: no module named {missing}\n"
    assert done.returncode == 1
    assert extra in EXTRAS


def test_a_module_missing_from_this_project_is_a_fault() -> None:
    @needs("all")
    def command() -> None:
        importlib.import_module("recsys.nonexistent")

    with pytest.raises(ModuleNotFoundError, match=r"recsys\.nonexistent"):
        command()


def test_help_needs_no_extra() -> None:
    code = "import sys; from recsys.cli import main; main(standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, cwd=ROOT)
    third_party = {"pydantic", "msgspec", "pyarrow", "rich", "redis", "torch", "numpy"}
    assert done.returncode == 0
    assert "click" in done.stdout.split()
    assert not third_party & set(done.stdout.split())
