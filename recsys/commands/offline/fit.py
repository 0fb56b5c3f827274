"""`recsys fit`: learn a part of the log in epochs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from recsys import wiring
from recsys.commands.options.iso_time import parse_time
from recsys.commands.options.output_folder import check_out
from recsys.commands.output.fit_tables import epochs_table
from recsys.commands.output.log_warnings import label_warnings, log_warnings
from recsys.commands.output.terminal import READING, plain_column, plain_console, say
from recsys.commands.stopping import STOPPED, stopping
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.errors import InvalidValueError, file_errors
from recsys.fit.curves import curves
from recsys.fit.epoch_curves import EpochCurves
from recsys.fit.fit import Fit, fit_folder
from recsys.fit.fit_result import FitResult
from recsys.fit.fit_state import FitState
from recsys.fit.parts import Parts, read_parts
from recsys.training.checkpoint.checkpoints import Checkpoints
from streaming.encode.batch import TrainingBatch


def run(path: Path, *, until: str | None, out: Path) -> None:
    """Fit, write `fit.json` and `curves.svg` into the folder `out`, and a checkpoint that training goes on from."""
    config = load(path)
    wiring.set_threads(config)
    console = plain_console()
    check_out(out)
    end = parse_time(until, "--until") if until else None
    with ExitStack() as stack:
        stop = stack.enter_context(stopping())
        trainer = stack.enter_context(wiring.trainer(config, publish=False))
        _check_unused(config)
        for warning in log_warnings(config):
            say(console, warning, style="yellow")
        log = stack.enter_context(closing(wiring.event_log(config)))
        with console.status(READING):
            parts = read_parts(config, log, end)
        fit = Fit(config, trainer.learner, parts, fit_folder(config))
        result = _fitted(config, fit, parts, console, stop)
        _write(result, out)
        console.print(epochs_table(result))
        for warning in label_warnings(config, _labels(config, parts.training)):
            say(console, warning, style="yellow")
        fit.load_best()
        trainer.skip(parts.end if parts.end is not None else end)
        trainer.checkpoint()
    say(console, f"Curves: {out / 'curves.svg'}. Next: recsys evaluate, or recsys train to go on online.")


def _fitted(config: Config, fit: Fit, parts: Parts, console: Console, stop: threading.Event) -> FitResult:
    """Fit, going on where an earlier call stopped. Ends the process when `stop` is set before the end."""
    resumed = fit.resume()
    say(console, f"Resumed from {resumed}." if resumed else "Starting with an empty model.")
    say(console, ", ".join(f"{rows:,} rows {part}" for part, rows in parts.rows.items()) + ".")
    with _bar(console) as bar, wiring.tensorboard(config, "fit") as board:
        result = fit.run(stop, _reporter(fit, bar, None if board is None else EpochCurves(board)))
    if result is None:
        say(console, "Stopped before the end. Run it again to go on from here.")
        sys.exit(STOPPED)
    return result


def _labels(config: Config, rows: TrainingBatch) -> dict[str, tuple[int, float]]:
    """By task: how many labels, and their sum."""
    of_tasks = {task.name: rows.labels_B[rows.tasks_B == n] for n, task in enumerate(wiring.tasks(config))}
    return {name: (len(labels_B), labels_B.sum()) for name, labels_B in of_tasks.items()}


def _check_unused(config: Config) -> None:
    folder = config.training.checkpoints
    if Checkpoints(folder).all():
        raise InvalidValueError(
            f"{folder} has checkpoints already, which `recsys train` goes on from: name an empty folder in [training] "
            "checkpoints to fit another model"
        )


def _bar(console: Console) -> Bar:
    columns = plain_column("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Bar(*columns, console=console, transient=True)


def _reporter(fit: Fit, bar: Bar, curves: EpochCurves | None) -> Callable[[FitState], None]:
    task = bar.add_task("", total=fit.batches)

    def report(state: FitState) -> None:
        bar.update(task, completed=state.batch, description=_described(state))
        if curves is not None:
            curves.follow(fit.steps, state)

    return report


def _described(state: FitState) -> str:
    loss = f", log loss {state.loss / state.weight:.4f}" if state.weight else ""
    return f"epoch {len(state.epochs) + 1}{loss}"


def _write(result: FitResult, out: Path) -> None:
    with file_errors("the results (--out)", out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "fit.json").write_bytes(result.to_json())
        (out / "curves.svg").write_text(curves(result), encoding="utf-8")
