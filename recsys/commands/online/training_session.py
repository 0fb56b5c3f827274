"""Training as its user sees it: what is said before, while and after a trainer works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

from rich.console import Console

from recsys.commands.output import embedding_tables
from recsys.commands.output.log_warnings import label_warnings, log_warnings
from recsys.commands.output.terminal import say
from recsys.commands.output.training_progress import dashboard, uninformed
from recsys.config.schema import Config
from recsys.config.units import written
from recsys.training.trainer import Trainer
from recsys.unlearned import impaired, left_out, lost, sampled, unlabelled, waiting
from serving.replication.trainer_status import not_served


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
    for line in _not_learned(config, trainer):
        say(console, line)
    for warning in _warnings(config, trainer, before):
        say(console, warning, style="yellow")


def _not_learned(config: Config, trainer: Trainer) -> Iterator[str]:
    """What of the log is left out, waits or is lost."""
    tasks = len(trainer.progress.tasks)
    if trainer.progress.rows and (sampling := trainer.learner.beside.negatives) is not None:
        yield sampled(sampling.counts)
    rest = waiting(trainer.waiting_rows, config.training.batch_size), unlabelled(trainer.unlabelled, tasks)
    yield from filter(None, rest)
    yield lost(trainer.outcomes, config.log.dead_letters, tasks)


def _warnings(config: Config, trainer: Trainer, refused: Counter[str]) -> Iterator[str]:
    """`refused`: the look-ups that embedding tables had refused before."""
    if aside := not_served(trainer.published):
        yield f"{aside}."
    yield from label_warnings(config, trainer.progress.labels)
    yield from uninformed(trainer.progress)
    yield from impaired(trainer.losses)
    yield from left_out(trainer.learner.left_out)
    yield from embedding_tables.warnings(trainer.learner.store, refused)


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
