"""Processes that begin with everything loaded: one process loads it for all, which takes a new interpreter seconds."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from typing import Any

SECONDS = 120  # far more than any of it takes
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.preload"])


def run_until_killed(work: Callable[..., Any], *arguments: Any) -> None:
    """work(*arguments) in a process of its own, which is killed by it. Fails if it ends in another way."""
    process = context.Process(target=work, args=arguments)
    process.start()
    try:
        process.join(SECONDS)
        assert process.exitcode == -signal.SIGKILL
    finally:
        process.kill()
        process.join()
