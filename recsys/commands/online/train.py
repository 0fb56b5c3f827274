"""`recsys train`: follow the log, learn, publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from recsys import wiring
from recsys.commands.options.iso_time import parse_time
from recsys.commands.output import embedding_tables
from recsys.commands.output.log_warnings import label_warnings, log_warnings
from recsys.commands.output.terminal import plain_console, say
from recsys.commands.stopping import stopping
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.config.units import written
from recsys.errors import WorkerError
from recsys.evaluation.metrics import Summary
from recsys.training.progress import Progress
from recsys.training.trainer import Trainer
from recsys.unlearned import impaired, left_out, lost, sampled, unlabelled, waiting
from serving.replication.trainer_status import not_served

CAPTION = """AUC: 0.5 is chance, 1 is perfect. Calibration: mean score over share of positives, 1 is right.
Normalised entropy: log loss over that of the mean rate, below 1 is better than it. All terms: docs/train.md"""


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


def train(
    config: Config, trainer: Trainer, console: Console, shown: AbstractContextManager[object], work: Callable[[], None]
) -> None:
    """Resume, do the `work` of the trainer while its progress is `shown`, and say what came of it."""
    resumed = trainer.resume()
    before = embedding_tables.refused(trainer.learner.store)
    console.print(f"Resumed from {resumed}." if resumed else "Starting with an empty model.")
    for warning in log_warnings(config):
        say(console, warning, style="yellow")
    with shown:
        work()
    if trainer.progress.rows:
        console.print(dashboard(trainer.progress))
        console.print(embedding_tables.summary(trainer.learner.store))
        console.print(f"Stopped after {trainer.learner.steps:,} steps; state {trainer.digest()[:16]}.")
    else:
        say(console, _nothing_learned(config, trainer.outcomes))
    if trainer.progress.rows and (sampling := trainer.learner.beside.negatives) is not None:
        say(console, sampled(sampling.counts))
    if rest := waiting(trainer.waiting_rows, config.training.batch_size):
        say(console, rest)
    if still := unlabelled(trainer.unlabelled, len(trainer.progress.tasks)):
        say(console, still)
    say(console, lost(trainer.outcomes, config.log.dead_letters, len(trainer.progress.tasks)))
    aside = not_served(trainer.published)
    for warning in (
        *([f"{aside}."] if aside else []),
        *label_warnings(config, trainer.progress.labels),
        *impaired(trainer.losses),
        *left_out(trainer.learner.left_out),
        *embedding_tables.warnings(trainer.learner.store, before),
    ):
        say(console, warning, style="yellow")


def _nothing_learned(config: Config, outcomes: Mapping[str, int]) -> str:
    if not sum(outcomes.values()):
        why = "the log is empty. Ingest events first"
    elif not outcomes["impressions"]:
        why = "the log has no impressions, so no shown item can get a label. Ingest them, with their interactions"
    else:
        size, wait = config.training.batch_size, written(config.training.wait)
        why = (
            f"the log has no full batch of {size} labels yet. Ingest more events, or lower training.batch_size or "
            f"training.wait = {wait}, for which an item waits for its label"
        )
    return f"Nothing learned: {why}."


def dashboard(progress: Progress) -> Table:
    """Progressive validation, speed and lag."""
    title = (
        f"{progress.rows:,} rows learned, {progress.rows_per_second():,.0f} rows/s, lag {progress.lag_events:,} events"
    )
    table = Table("", "AUC", "log loss", "calibration", "normalised entropy", "positives", title=title, caption=CAPTION)
    for task in progress.tasks:
        of = f"{task}, " if len(progress.tasks) > 1 else ""
        for name, summary in (("all", progress.total(task)), ("recent", progress.recent(task))):
            table.add_row(f"{of}{name}", *_cells(summary))
    return table


def _cells(summary: Summary) -> list[str]:
    figures = (summary.auc, summary.log_loss, summary.calibration, summary.normalised_entropy)
    share = summary.positives / summary.weight if summary.weight else float("nan")
    return [*(f"{figure:.4f}" for figure in figures), f"{share:.1%}"]
