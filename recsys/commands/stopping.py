"""Orderly shutdown on Ctrl-C and SIGTERM."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from recsys.commands.output.terminal import say
from serving.listening.end_signals import handled_by

STOPPED = 130
"""Exit status after Ctrl-C, as in shells."""


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set while the block runs, so that the work in progress can be finished."""
    stop = threading.Event()
    with handled_by(lambda *_: stop.set()):
        yield stop


@contextmanager
def resumable(console: Console) -> Iterator[None]:
    """Ctrl-C within it ends the process with the status of shells, and says that the same command goes on."""
    try:
        yield
    except KeyboardInterrupt:
        say(console, "Stopped before the end. Run it again to go on from here.")
        sys.exit(STOPPED)
