"""The process that the user started: it starts the workers, shows what they say, and lets them stop."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from recsys.commands.output.terminal import plain_console, say
from recsys.commands.stopping import stopping
from recsys.commands.workers.worker import work
from recsys.config.schema import Config
from recsys.workers.ray_job import RunningJob, ray_running

_POLL = 0.25
"""Seconds between looks at what the workers say."""


def drive(path: Path, config: Config, options: dict[str, Any]) -> None:
    """Train in `[training] workers` processes until they end. Raises WorkerError when they cannot."""
    workers, console = config.training.workers, plain_console()
    arguments = {"path": str(path.resolve()), "text": path.read_text(encoding="utf-8"), "width": console.width}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recsys-workers-")))
        console.print(f"Starting {workers} workers.")
        stack.enter_context(ray_running(workers, config.training.ray))
        stop = stack.enter_context(stopping())  # after Ray has started, which takes SIGTERM for itself
        job = RunningJob(work, arguments | options, workers, folder, config.training.min_workers)
        asked = False
        with Live(console=console, transient=True, auto_refresh=False) as shown:
            while not job.wait(_POLL):
                _show(job, console, shown)
                if stop.is_set() and not asked:
                    job.seat.tell("stop")
                    asked = True
        _show(job, console, None)
        job.check()


def _show(job: RunningJob, console: Console, shown: Live | None) -> None:
    lines, picture = job.seat.tell("news")
    for text, style in lines:
        if style == "ansi":
            console.print(Text.from_ansi(text), end="")
        else:
            say(console, text, style or None)
    if shown is not None:
        shown.update(Text.from_ansi(picture), refresh=True)
