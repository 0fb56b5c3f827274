"""`recsys memory`: what a smaller embedding store costs on the log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from recsys import wiring
from recsys.commands.options.batch_until import parse_batch_until
from recsys.commands.options.iso_time import parse_time
from recsys.commands.options.output_folder import check_out
from recsys.commands.output.memory_study_table import table
from recsys.commands.output.terminal import plain_column, plain_console, say
from recsys.commands.stopping import STOPPED
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.config.sections.learning.models import with_model
from recsys.errors import InvalidValueError, file_errors
from recsys.evaluation.memory_study import study_report
from recsys.evaluation.memory_study.memory_study import MemoryStudy
from recsys.evaluation.memory_study.setting import Setting, parse
from recsys.evaluation.memory_study.study_result import StudyResult
from recsys.evaluation.replay.arms import check_refresh
from recsys.evaluation.replay.report.replay_report import moment
from recsys.evaluation.replay.training_pass import ReplayProgress

FILE = "result.json"


def run(
    config_path: Path,
    batch_until: str,
    refresh: str,
    until: str | None,
    tries: tuple[str, ...],
    seeds: int,
    model: str | None,
    out: Path,
) -> None:
    """Write the result into the folder `out` after every replay, so that it may be stopped early; print the table."""
    config = _with_model(load(config_path), model)
    wiring.set_threads(config)
    console = plain_console()
    check_out(out)
    start = parse_batch_until(batch_until)
    check_refresh(refresh, "--refresh")
    end = parse_time(until, "--until") if until is not None else None
    tables = [table.name for table in wiring.tables(config)]
    settings = list(dict.fromkeys(parse(text, tables) for text in tries))
    earlier = _earlier(out)
    log = wiring.event_log(config)

    def study() -> MemoryStudy:
        return MemoryStudy(config, log, start, refresh, end)

    try:
        result, taken = _replayed(study, earlier, settings, seeds, out, console)
    except KeyboardInterrupt:
        say(console, _kept(_earlier(out), out))
        sys.exit(STOPPED)
    console.print(table(result))
    for note in study_report.notes(result):
        console.print(note, style="yellow", highlight=False)
    if taken:
        say(console, f"Replays reused from {out}: {taken}; remove the folder to start over.")
    say(console, f"Plot: {out / 'auc_against_memory.svg'}")
    say(console, f"Settings as sections of recsys.toml: {out / 'table.md'}")


def _replayed(
    open_study: Callable[[], MemoryStudy],
    earlier: StudyResult | None,
    settings: Sequence[Setting],
    seeds: int,
    out: Path,
    console: Console,
) -> tuple[StudyResult, int]:
    """The result of the study, and how many of its replays were in the earlier result."""
    columns = plain_column("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("reading the log", total=None)
        study = open_study()
        every = len(study.missing(settings, seeds))
        if earlier is not None:
            _resume(study, earlier, out)
        taken = every - len(study.missing(settings, seeds))
        bar.update(task, total=every, completed=taken)

        def show(name: str, progress: ReplayProgress) -> None:
            bar.update(task, description=f"{name}  {moment(progress.time)}")

        for result in study.results(settings, seeds, show):
            with file_errors("the results (--out)", out):
                study_report.write(result, out)
            bar.update(task, completed=every - len(study.missing(settings, seeds)))
    return result, taken


def _earlier(out: Path) -> StudyResult | None:
    """The result of an earlier study in the folder. Raises InvalidValueError if the file is not one."""
    try:
        with file_errors("an earlier result (--out)", out / FILE):
            return StudyResult.from_json((out / FILE).read_bytes()) if (out / FILE).exists() else None
    except ValueError as error:
        raise _refused(out, error) from None


def _resume(study: MemoryStudy, earlier: StudyResult, out: Path) -> None:
    try:
        study.resume(earlier)
    except ValueError as error:
        raise _refused(out, error) from None


def _refused(out: Path, error: ValueError) -> InvalidValueError:
    return InvalidValueError(f"{out / FILE}: {error}. Choose another --out, or remove {out} to start over")


def _kept(known: StudyResult | None, out: Path) -> str:
    """What is kept of a study that was stopped."""
    if known is None:
        return "Stopped before the end of the first replay: nothing is kept, and the same command starts over."
    replays = sum(len(point.runs) for point in known.points)
    return f"Stopped. Finished replays kept in {out}: {replays}; the same command continues from there."


def _with_model(config: Config, name: str | None) -> Config:
    return config if name is None else config.model_copy(update={"model": with_model(config.model, name)})
