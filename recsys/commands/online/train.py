"""`recsys train`: follow the log, learn, publish."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.live import Live

from recsys import wiring
from recsys.commands.online.training_session import train
from recsys.commands.options.iso_time import parse_time
from recsys.commands.output.terminal import plain_console
from recsys.commands.output.training_progress import dashboard
from recsys.commands.stopping import stopping
from recsys.config.file import load
from recsys.errors import WorkerError


def run(path: Path, *, follow: bool, until: str | None, publish: bool) -> None:
    config = load(path)
    end = parse_time(until, "--until") if until else None
    if config.training.workers > 1:
        from recsys.commands.workers.driver import drive

        try:
            drive(path, config, {"follow": follow, "until": end, "publish": publish})
        except ModuleNotFoundError as error:
            raise WorkerError(f"[training] workers needs `pip install 'recsys[all,ray,torchrec]'`: {error}") from error
        return
    wiring.set_threads(config)
    console = plain_console()
    with ExitStack() as stack:
        stop = stack.enter_context(stopping())
        trainer = stack.enter_context(wiring.trainer(config, publish=publish))
        shown = Live(get_renderable=lambda: dashboard(trainer.progress), console=console, transient=True)
        train(config, trainer, console, shown, partial(trainer.run, follow=follow, stop=stop, until=end))
