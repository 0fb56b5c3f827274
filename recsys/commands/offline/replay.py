"""`recsys replay`: evaluate the configured model on the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.progress import BarColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from recsys import wiring
from recsys.commands.options.batch_until import parse_batch_until
from recsys.commands.options.iso_time import parse_time
from recsys.commands.options.output_folder import check_out
from recsys.commands.output.log_warnings import label_warnings, log_warnings
from recsys.commands.output.replay_tables import tables
from recsys.commands.output.terminal import plain_column, plain_console, say
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.errors import file_errors
from recsys.evaluation.replay.arms import check_refresh
from recsys.evaluation.replay.evaluation import evaluate
from recsys.evaluation.replay.replay_result import ReplayResult
from recsys.evaluation.replay.report import replay_report
from recsys.evaluation.replay.training_pass import ReplayProgress
from recsys.unlearned import REMEDY, impaired, lost, not_learned

FEW = 10
"""With fewer positives no metric is reliable."""


def run(
    config_path: Path, batch_until: str, refreshes: Sequence[str], until: str | None, batches: Path | None, out: Path
) -> None:
    """Write the report into the folder `out` and print the table."""
    config = load(config_path)
    wiring.set_threads(config)
    console = plain_console()
    check_out(out)
    start = parse_batch_until(batch_until)
    for refresh in refreshes:
        check_refresh(refresh, "--refresh")
    end = parse_time(until, "--until") if until is not None else None
    for warning in log_warnings(config):
        say(console, warning, style="yellow")
    log = wiring.event_log(config)
    with Bar(plain_column("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("batch stage", total=None)

        def show(progress: ReplayProgress) -> None:
            bar.update(task, description=replay_report.reached(progress))

        result = evaluate(config, log, batch_until=start, refreshes=refreshes, until=end, batches=batches, report=show)
    with file_errors("the results (--out)", out):
        replay_report.write(result, out)
    for table in tables(result):
        console.print(table)
    if batches is None:
        say(console, lost(result.counts, config.log.dead_letters, 1 + len(config.tasks)))
    for warning in (*_warnings(config, result), *impaired(result.counts)):
        say(console, warning, style="yellow")
    say(console, f"Report: {out / 'report.html'}")


def _warnings(config: Config, result: ReplayResult) -> Iterator[str]:
    scored = {task: one.arms[0].all for task, one in result.of_tasks().items()}
    labels = {task: (figures["rows"] or 0, figures["positives"] or 0) for task, figures in scored.items()}
    yield from label_warnings(config, labels)
    if not_learned(result.counts):
        yield f"To lose fewer events, {REMEDY}."
    for task, (_, positives) in labels.items():
        of = f" of {task}" if len(labels) > 1 else ""
        if positives < FEW:
            few = f"Only {positives:.0f} positives{of} were scored, too few for reliable metrics"
            yield f"{few}. Choose an earlier --batch-until."
