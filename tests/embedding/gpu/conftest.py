"""These tests run on a GPU, or on the CPU with TRITON_INTERPRET=1 set before Python starts.

Triton decides at its own import whether kernels are interpreted, and other tests import it compiled; so
`tests/embedding/test_gpu.py` runs this folder in a process of its own when there is no GPU.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def _patch_the_language_once() -> None:
    """The interpreter patches Triton's language for a kernel, and again at every call of a function within: half of its
    time."""
    import triton.language as tl
    from triton.runtime import interpreter

    module: Any = interpreter
    patch, launch = module._patch_lang, module.GridExecutor.__call__
    patched: set[str] = set()

    def patch_once(function: Any) -> Any:
        modules = {lang.__name__ for lang in function.__globals__.values() if lang is tl or lang is tl.core}
        if modules <= patched:
            return module._LangPatchScope()
        patched.update(modules)
        return patch(function)

    def launched(*arguments: Any, **options: Any) -> Any:
        outside = patched.copy()
        patched.clear()
        try:
            return launch(*arguments, **options)
        finally:
            patched.clear()
            patched.update(outside)

    module._patch_lang, module.GridExecutor.__call__ = patch_once, launched


if INTERPRETED:
    _patch_the_language_once()


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if not INTERPRETED and not _has_gpu():
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def device() -> str:
    return "cpu" if INTERPRETED else "cuda"
