"""`recsys tune`: settings of training and model, searched by fits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from recsys.commands.options.iso_time import parse_time
from recsys.commands.options.parts_of_log import read_log
from recsys.commands.output.fit_tables import cells
from recsys.commands.output.terminal import plain_column, plain_console, say
from recsys.commands.stopping import STOPPED, stopping
from recsys.config.schema import Config
from recsys.errors import WorkerError, file_errors
from recsys.evaluation.metrics import METRICS
from recsys.fit.parts import Parts
from recsys.fit.tuning.progress_plot import progress_plot
from recsys.fit.tuning.ray_fits import ray_fits
from recsys.fit.tuning.settings_text import settings_text
from recsys.fit.tuning.trial_fit import Fits, FitsHere
from recsys.fit.tuning.tune_result import TuneResult
from recsys.fit.tuning.tuning import Tuning


def run(path: Path, *, until: str | None, out: Path) -> None:
    """Print the best of each model; write `tune.json`, `tune.svg` and the settings of each model into `out`."""
    console = plain_console()
    config, parts = read_log(path, until, out, console)
    with file_errors("the results (--out)", out):
        tuning = Tuning(config, parts, out)
    if tuning.ended:
        say(console, f"Resumed after {tuning.ended} of {tuning.trials} trials.")
    columns = plain_column("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        _fits(path, config, parts, until, out) as fits,
        stopping() as stop,  # after Ray has started, which takes SIGTERM for itself
        Bar(*columns, console=console, transient=True) as bar,
    ):
        task = bar.add_task("", total=tuning.trials)

        def report(model: str, trial: int) -> None:
            bar.update(task, completed=tuning.ended, description=f"{model}, trial {trial + 1}")

        ended = tuning.run(stop, report, fits)
    if not ended:
        say(console, f"Stopped after {tuning.ended} of {tuning.trials} trials. Run it again to go on from here.")
        sys.exit(STOPPED)
    result = tuning.result()
    with file_errors("the results (--out)", out):
        _write(result, out)
    console.print(_table(result))
    say(console, f"Settings to put into {path}: {out / 'best-MODEL.toml'}. Trials: {out / 'tune.svg'}")


@contextmanager
def _fits(path: Path, config: Config, parts: Parts, until: str | None, out: Path) -> Iterator[Fits]:
    """Where trials are fitted: here, or in as many processes as `[tune] workers` says."""
    if config.tune.workers == 1:
        yield FitsHere(config, parts, out / "trial")
        return
    if find_spec("ray") is None:
        raise WorkerError("[tune] workers needs `pip install 'recsys[all,ray]'`")
    with ray_fits(path, parse_time(until, "--until") if until else None, out, config.tune.workers) as fits:
        yield fits


def _write(result: TuneResult, out: Path) -> None:
    (out / "tune.json").write_bytes(result.to_json())
    (out / "tune.svg").write_text(progress_plot(result), encoding="utf-8")
    for model, trials in result.trials.items():
        text = settings_text(model, trials[result.best[model]].settings)
        (out / f"best-{model}.toml").write_text(text, encoding="utf-8")


def _table(result: TuneResult) -> Table:
    """A line for each model and task: the best trial by the validation part, judged on the test part."""
    metrics = [metric.title for metric in METRICS.values()]
    title = f"Best of {max(map(len, result.trials.values()))} trials by the validation part, judged on the test part"
    table = Table("model", "task", f"validation {METRICS[result.metric].title}", *metrics, title=title)
    for model, trials in result.trials.items():
        best = trials[result.best[model]]
        for task, figures in best.test.items():
            value, digits = best.validation[task][result.metric], METRICS[result.metric].digits
            table.add_row(model, task, "-" if value is None else f"{value:.{digits}f}", *cells(figures))
    return table
