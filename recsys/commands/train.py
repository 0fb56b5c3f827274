"""`recsys train`: follow the log, learn, publish."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from recsys import wiring
from recsys.commands.options.iso_time import parse_time
from recsys.commands.stopping import stopping
from recsys.commands.tables import embedding_tables
from recsys.config.file import load
from recsys.evaluation.metrics import Summary
from recsys.training.progress import Progress
from recsys.unlearned import impaired, not_learned


def run(path: Path, *, follow: bool, until: str | None, publish: bool) -> None:
    config = load(path)
    wiring.set_threads(config)
    console = Console()
    end = parse_time(until, "--until") if until else None
    with ExitStack() as stack:
        stop = stack.enter_context(stopping())
        trainer = stack.enter_context(wiring.trainer(config, publish=publish))
        resumed = trainer.resume()
        before = embedding_tables.refused(trainer.learner.store)
        console.print(f"Resumed from {resumed}." if resumed else "Starting with an empty model.")
        shown = Live(get_renderable=lambda: dashboard(trainer.progress), console=console, transient=True)
        with shown:
            trainer.run(follow=follow, stop=stop, until=end)
        if not trainer.progress.rows:
            console.print("Nothing learned: the log has no full batch of labelled items yet. Ingest events first.")
            return
        console.print(dashboard(trainer.progress))
        console.print(embedding_tables.summary(trainer.learner.store))
        console.print(f"Stopped after {trainer.learner.steps:,} steps; state {trainer.digest()[:16]}.")
        if lost := not_learned(trainer.outcomes):
            console.print(f"Not learned from, since the log began: {lost}.", style="yellow")
        for warning in impaired(trainer.losses):
            console.print(warning, style="yellow", highlight=False, markup=False)
        for warning in embedding_tables.warnings(trainer.learner.store, before):
            console.print(warning, style="yellow", highlight=False, markup=False)


def dashboard(progress: Progress) -> Table:
    """Progressive validation, speed and lag."""
    title = (
        f"{progress.rows:,} rows learned, {progress.rows_per_second():,.0f} rows/s, lag {progress.lag_events:,} events"
    )
    table = Table("", "AUC", "log loss", "calibration", "normalised entropy", "positives", title=title)
    for task in progress.tasks:
        of = f"{task}, " if len(progress.tasks) > 1 else ""
        for name, summary in (("all", progress.total(task)), ("recent", progress.recent(task))):
            table.add_row(f"{of}{name}", *_cells(summary))
    return table


def _cells(summary: Summary) -> list[str]:
    figures = (summary.auc, summary.log_loss, summary.calibration, summary.normalised_entropy)
    share = summary.positives / summary.weight if summary.weight else float("nan")
    return [*(f"{figure:.4f}" for figure in figures), f"{share:.1%}"]
