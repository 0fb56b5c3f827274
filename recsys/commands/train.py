"""`recsys train`: follow the log, learn, publish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from recsys import wiring
from recsys.commands import table_summary
from recsys.commands.options.iso_time import parse_time
from recsys.commands.stopping import stopping
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.evaluation.metrics import Summary
from recsys.training.checkpoint import Checkpoints
from recsys.training.lock import exclusive
from recsys.training.progress import Progress
from recsys.training.publication import Publication
from recsys.training.trainer import Trainer
from recsys.unlearned import impaired, not_learned
from streaming.catalog import Catalog


def run(path: Path, *, follow: bool, until: str | None, publish: bool) -> None:
    config = load(path)
    console = Console()
    end = parse_time(until, "--until") if until else None
    with ExitStack() as stack:
        stop = stack.enter_context(stopping())
        trainer = stack.enter_context(open_trainer(config, publish=publish))
        resumed = trainer.resume()
        before = table_summary.refused(trainer.learner.store)
        console.print(f"Resumed from {resumed}." if resumed else "Starting with an empty model.")
        shown = Live(get_renderable=lambda: dashboard(trainer.progress), console=console, transient=True)
        with shown:
            trainer.run(follow=follow, stop=stop, until=end)
        if not trainer.progress.rows:
            console.print("Nothing learned: the log has no full batch of labelled items yet. Ingest events first.")
            return
        console.print(dashboard(trainer.progress))
        console.print(table_summary.summary(trainer.learner.store))
        console.print(f"Stopped after {trainer.learner.steps:,} steps; state {trainer.digest()[:16]}.")
        if lost := not_learned(trainer.outcomes):
            console.print(f"Not learned from, since the log began: {lost}.", style="yellow")
        for warning in impaired(trainer.losses):
            console.print(warning, style="yellow", highlight=False, markup=False)
        for warning in table_summary.warnings(trainer.learner.store, before):
            console.print(warning, style="yellow", highlight=False, markup=False)


@contextmanager
def open_trainer(
    config: Config, *, publish: bool, crash: Callable[[str], None] = lambda _point: None
) -> Iterator[Trainer]:
    """The configured trainer, with its log and Redis open; `crash` is called at every point a test may kill it.

    Raises ValueError when another process trains into the same checkpoints.
    """
    with ExitStack() as stack:
        remedy = "stop that trainer, or give this one a folder of its own in [training] checkpoints"
        stack.enter_context(exclusive(config.training.checkpoints, remedy))
        log = wiring.event_log(config)
        stack.callback(log.close)
        catalog = Catalog(half_life=config.serving.half_life)
        feed = wiring.feed(config, log, catalog)
        learner = wiring.learner(config)
        publication = None
        if publish:
            publisher, revive = stack.enter_context(wiring.publisher(config))
            publication = Publication(
                learner,
                publisher,
                wiring.exporter(config, learner.model),
                feed.entities,
                catalog,
                rows_every=config.rows.publish_every / 1000,
                dense_every=config.training.export_every / 1000,
                revive=revive,
            )
        checkpoints = Checkpoints(config.training.checkpoints, config.training.keep, crash)
        yield Trainer(
            learner,
            feed,
            log,
            catalog,
            checkpoints,
            Progress(),
            publication=publication,
            checkpoint_every=config.training.checkpoint_every,
            crash=crash,
        )


def dashboard(progress: Progress) -> Table:
    """Progressive validation, speed and lag."""
    title = (
        f"{progress.rows:,} rows learned, {progress.rows_per_second():,.0f} rows/s, lag {progress.lag_events:,} events"
    )
    table = Table("", "AUC", "log loss", "calibration", "normalised entropy", "positives", title=title)
    for name, summary in (("all", progress.total()), ("lately", progress.recent())):
        table.add_row(name, *_cells(summary))
    return table


def _cells(summary: Summary) -> list[str]:
    figures = (summary.auc, summary.log_loss, summary.calibration, summary.normalised_entropy)
    share = summary.positives / summary.weight if summary.weight else float("nan")
    return [*(f"{figure:.4f}" for figure in figures), f"{share:.1%}"]
