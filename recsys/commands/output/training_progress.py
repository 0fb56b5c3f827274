"""The progress of a trainer as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from recsys.evaluation.metrics import Summary
from recsys.training.progress import Progress

CAPTION = """AUC: 0.5 is chance, 1 is perfect. Calibration: mean score over share of positives, 1 is right.
Normalised entropy: log loss over that of the mean rate, below 1 is better than it. All terms: docs/train.md"""


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


def uninformed(progress: Progress) -> Iterator[str]:
    """A warning for each task whose recent scores say less of the labels than their mean alone."""
    for task in progress.tasks:
        recent = progress.recent(task)
        if recent.normalised_entropy > 1:
            of = f" of {task}" if len(progress.tasks) > 1 else ""
            yield (
                f"Normalised entropy of recent rows{of} is {recent.normalised_entropy:.3f}, above 1: the scores say "
                "less than the share of positives alone. Of a short log one pass does not learn enough: name an empty "
                "folder in [training] checkpoints, then `recsys fit` learns the log in epochs, and `recsys train` goes "
                "on from it online. Else ingest more, learn in smaller steps (training.batch_size), lower "
                "training.sparse_lr, or leave out fields whose values hardly come again (docs/train.md)."
            )


def _cells(summary: Summary) -> list[str]:
    figures = (summary.auc, summary.log_loss, summary.calibration, summary.normalised_entropy)
    share = summary.positives / summary.weight if summary.weight else float("nan")
    return [*(f"{figure:.4f}" for figure in figures), f"{share:.1%}"]
