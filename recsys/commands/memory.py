"""`recsys memory`: what a smaller embedding store costs on the log."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from recsys import build
from recsys.commands.stages import end_of_batch
from recsys.commands.times import parse_time
from recsys.config import Config
from recsys.config_file import load
from recsys.memory import report
from recsys.memory.result import Result
from recsys.memory.setting import parse, usual
from recsys.memory.study import Study
from recsys.replay.arms import check_sync
from recsys.replay.report import moment
from recsys.replay.run import Progress


def run(
    config_path: Path,
    batch_until: str,
    sync: str,
    until: str | None,
    tries: tuple[str, ...],
    seeds: int,
    model: str | None,
    out: Path,
) -> None:
    """Write the result into the folder `out` after every replay, so that one may stop early; print the table."""
    config = _with_model(load(config_path), model)
    console = Console()
    check_sync(sync)
    end = parse_time(until, "--until") if until is not None else None
    tables = [table.name for table in build.tables(config)]
    settings = list(dict.fromkeys(parse(text, tables) for text in tries))
    log = build.event_log(config)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("reading the log", total=None)
        study = Study(config, log, end_of_batch(batch_until, log), sync, end)

        def show(name: str, progress: Progress) -> None:
            bar.update(task, description=f"{name}  {moment(progress.time)}")

        kept = _resumed(study, out / "result.json")
        bar.update(task, total=seeds * (1 + (len(settings) or len(usual("any")))))
        for result in study.results(settings, seeds, show):
            report.write(result, out)
            bar.advance(task)
    console.print(report.table(result))
    if kept:
        console.print(f"{kept} replays were taken over from {out}; remove it to start anew.", highlight=False)
    console.print(f"Plot: {out / 'auc_against_memory.svg'}", highlight=False)


def _with_model(config: Config, name: str | None) -> Config:
    return config.model_copy(update={"model": config.model.model_copy(update={"name": name or config.model.name})})


def _resumed(study: Study, file: Path) -> int:
    """Take over what is in the file, as far as it belongs to the study."""
    try:
        return study.resume(Result.from_json(file.read_bytes()))
    except (OSError, ValueError):  # nothing there, or nothing of ours: it will be replaced
        return 0
