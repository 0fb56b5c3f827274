"""`recsys search dnis`: accuracy against embedding size."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from recsys.commands.offline.kept_search import search_folder
from recsys.commands.options.parts_of_log import read_log
from recsys.commands.output.fit_tables import cells
from recsys.commands.output.terminal import plain_console, say
from recsys.commands.output.working import working
from recsys.commands.stopping import resumable
from recsys.errors import file_errors
from recsys.evaluation.metrics import METRICS
from recsys.search.dnis.curve import curve
from recsys.search.dnis.dnis_result import DnisResult
from recsys.search.dnis.dnis_study import compare
from recsys.search.found_dimensions import settings


def run(path: Path, *, until: str | None, out: Path) -> None:
    """Print the table; write `dnis.json`, `dnis.svg` and the found dimensions of each size into the folder `out`."""
    console = plain_console()
    config, parts = read_log(path, until, out, console)
    folder = search_folder(config, "dnis", parts, out, console)
    with resumable(console), working(console) as doing:
        result = compare(config, parts, doing, folder)
    with file_errors("the results (--out)", out):
        _write(result, out)
    console.print(_table(result))
    say(console, f"Curve: {out / 'dnis.svg'}. Dimensions to fit with: {out / 'dims-SHARE.toml'}")


def _write(result: DnisResult, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "dnis.json").write_bytes(result.to_json())
    (out / "dnis.svg").write_text(curve(result), encoding="utf-8")
    for point in result.points:
        if point.method == "tables" and point.dims is not None:
            (out / f"dims-{point.share:g}.toml").write_text(settings(point.dims), encoding="utf-8")


def _table(result: DnisResult) -> Table:
    """A line for each method and size, of the first task."""
    title = f"The test part; {result.values:,} embedding values before pruning"
    table = Table("method", "values", "share", *(metric.title for metric in METRICS.values()), title=title)
    task = next(iter(result.whole))
    table.add_row("whole", f"{result.values:,}", "100.0%", *cells(result.whole[task]))
    for point in result.points:
        share = f"{point.values / result.values:.1%}"
        table.add_row(point.method, f"{point.values:,}", share, *cells(point.test[task]))
    return table
