from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

from embedding import kernels
from embedding.local import warm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def warmed() -> tuple[str, str]:
    """What `left` says in two processes after warming, the second of which finds what the first compiled."""
    code = (
        "from embedding.local.warm import warm; warm()\nfrom tests.embedding.local.test_warm import left; print(left())"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    return runs[0].stdout.strip(), runs[1].stdout.strip()


def left() -> tuple[list[str], list[str]]:
    """Kernels that no call has compiled yet, and those that this process had to compile."""
    cold = [name for name, kernel in _kernels() if not kernel.signatures]
    return cold, [name for name, kernel in _kernels() if kernel.stats.cache_misses]


def _kernels() -> list[tuple[str, Dispatcher]]:
    return [
        (f"{module.name}.{name}", value)
        for module in pkgutil.iter_modules(kernels.__path__, "embedding.kernels.")
        for name, value in vars(importlib.import_module(module.name)).items()
        if isinstance(value, Dispatcher) and value.targetoptions.get("nogil")
    ]


def test_every_kernel_is_ready_after_warming(warmed: tuple[str, str]) -> None:
    assert warmed[0].startswith("([], ")


def test_a_second_process_finds_every_kernel_in_the_cache(warmed: tuple[str, str]) -> None:
    assert warmed[1] == "([], [])"


def test_the_command_says_how_long_it_took(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["warm"])
    warm.main()
    assert "compiled loops (kernels) of embedding tables ready in" in capsys.readouterr().out


def test_cached_kernels_go_when_a_source_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    monkeypatch.setattr(kernels, "__file__", str(tmp_path / "__init__.py"))
    source, compiled = tmp_path / "one.py", cache / "one.kernel.nbi"
    source.write_text("1")
    for text, kept in (("1", False), ("1", True), ("2", False), ("2", True)):
        source.write_text(text)
        compiled.write_text("")
        kernels._clear_when_changed()
        assert compiled.exists() == kept
