"""`recsys reproduce TABLE`: the tables of docs/, from the public data they need."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from recsys.commands.options.output_folder import check_out
from recsys.commands.output.console import plain_column, plain_console, say
from recsys.datasets.coat import coat as read_coat
from recsys.debiasing.coat_study import CoatResult, CoatStudy
from recsys.errors import file_errors
from recsys.off_policy.open_bandit_study import open_bandit_study

FIGURES = {"auc": "AUC", "ndcg": "NDCG@5", "ndcg_with_positive": "NDCG@5, users with a positive", "f1": "F1@5"}


def coat(data: Path, *, seeds: int, out: Path) -> None:
    """Write `coat.json` into `out` after each method; what is there already is not done again."""
    study = CoatStudy(read_coat(data), seeds)
    check_out(out)
    path = out / "coat.json"
    with file_errors("the results (--out)", path):
        out.mkdir(parents=True, exist_ok=True)
        result = CoatResult.from_json(path.read_bytes()) if path.exists() else study.empty()
    console = plain_console()
    columns = BarColumn(), MofNCompleteColumn(), plain_column("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=len(study.tasks), completed=len(result.rows))
        for row in study.rows(result, lambda doing: bar.update(task, description=doing)):
            result = msgspec.structs.replace(result, rows=(*result.rows, row))
            with file_errors("the results (--out)", path):
                _replace(path, result.to_json())
            bar.advance(task)
    for name in dict.fromkeys(row.table for row in result.rows):
        console.print(_table(name, result))
    say(console, f"Figures: {path}")


def open_bandit(data: Path, *, out: Path) -> None:
    """Write `open_bandit.json` into `out`, and print it."""
    result = open_bandit_study(data)
    check_out(out)
    path = out / "open_bandit.json"
    with file_errors("the results (--out)", path):
        out.mkdir(parents=True, exist_ok=True)
        _replace(path, result.to_json())
    console = plain_console()
    head, *rows = result.table()
    table = Table(*head, title="Open Bandit: clicks per 1,000 items shown", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(*row)
    console.print(table)
    say(console, f"Figures: {path}")


def _replace(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    beside = path.with_suffix(".tmp")
    beside.write_bytes(data)
    beside.replace(path)


def _table(name: str, result: CoatResult) -> Table:
    table = Table("method", "l2", *FIGURES.values(), title=f"Coat: {name} ({result.seeds} seeds)")
    for row in result.rows:
        if row.table == name:
            values = [row.figures[figure] for figure in FIGURES]
            table.add_row(row.method, f"{row.l2}", *(f"{np.mean(v):.4f} ± {np.std(v):.4f}" for v in values))
    return table
