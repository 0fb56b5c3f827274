"""The store works with the dependencies of the base install, without any extra."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if not top.startswith("_") and top not in sys.stdlib_module_names and top not in allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

allowed = {"embedding", "recsys", *sys.argv[1:]}
sys.meta_path.insert(0, Refuse())
import doctest
import embedding.local.store
print(*doctest.testmod(embedding.local.store))
"""


def base() -> list[str]:
    """Modules of the base install: its dependencies are named like their modules; llvmlite is numba's own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*(requirement.split(">=")[0] for requirement in project["dependencies"]), "llvmlite"]


def run_alone(*modules: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ALONE, *modules]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_the_store_needs_no_extra() -> None:
    done = run_alone(*base())
    assert done.returncode == 0, done.stderr
    failed, attempted = map(int, done.stdout.split())
    assert failed == 0
    assert attempted > 0


def test_a_dependency_that_the_base_lacks_would_be_noticed() -> None:
    done = run_alone(*(module for module in base() if module != "xxhash"))
    assert "No module named 'xxhash'" in done.stderr
