"""`recsys search ihas`: models by groups of rows."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from recsys import wiring
from recsys.commands.offline.kept_search import search_folder
from recsys.commands.options.parts_of_log import read_log
from recsys.commands.output.fit_tables import cells
from recsys.commands.output.terminal import plain_console, say
from recsys.commands.output.working import working
from recsys.commands.stopping import resumable
from recsys.config.schema import Config
from recsys.errors import file_errors
from recsys.evaluation.metrics import METRICS
from recsys.search.found_dimensions import settings
from recsys.search.ihas.ihas_result import Contender, IhasResult
from recsys.search.ihas.ihas_study import IhasStudy, compare
from recsys.search.ihas.served_groups import check_publishable, published


def run(path: Path, *, until: str | None, out: Path, publish: str | None = None, groups: int = 2) -> None:
    """Print the table; write `ihas.json`, and the dimensions of one mask for all rows, into the folder `out`.

    With `publish`, the models of so many `groups` are published under that name.
    """
    console = plain_console()
    config, parts = read_log(path, until, out, console)
    if publish is not None:
        check_publishable(config, publish, groups)
    folder = search_folder(config, "ihas", parts, out, console)
    with resumable(console), working(console) as doing:
        result = compare(config, parts, doing, folder)
    with file_errors("the results (--out)", out):
        _write(config, result, out)
    console.print(_table(result))
    say(console, f"Figures: {out / 'ihas.json'}")
    if publish is not None:
        study = IhasStudy.of(config, parts, folder)
        with wiring.publisher(config, publish) as (publisher, _):
            rows = published(study, groups, publisher)
        say(console, f"Published {groups} groups as {publish!r}: {rows:,} rows. Name it as the model of an arm.")


def _write(config: Config, result: IhasResult, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "ihas.json").write_bytes(result.to_json())
    for contender in result.contenders:
        if contender.method == "ihas 1":
            (out / "dims-ihas.toml").write_text(settings(_of_tables(config, contender)), encoding="utf-8")


def _of_tables(config: Config, contender: Contender) -> dict[str, int]:
    """A table is as wide as the widest of its fields, and at least 1."""
    dims: dict[str, int] = {}
    for field in wiring.spec(config).sparse:
        dims[field.table] = max(dims.get(field.table, 1), contender.groups[0].dims[field.name])
    return dims


def _table(result: IhasResult) -> Table:
    """A line for each method, of the first task, and one below it for each of several groups."""
    title = f"The test part; the gates keep {result.open:.0%} of the coordinates of a row"
    table = Table("method", "values", "test rows", *(metric.title for metric in METRICS.values()), title=title)
    for contender in result.contenders:
        task = next(iter(contender.test))
        rows = sum(group.rows["test"] for group in contender.groups)
        table.add_row(contender.method, f"{contender.values:,}", f"{rows:,}", *cells(contender.test[task]))
        if len(contender.groups) > 1:
            table.add_row("  calibrated by group", "", "", *cells(contender.calibrated[task]))
            for group in contender.groups:
                dims = " ".join(f"{field} {dim}" for field, dim in group.dims.items())
                name, test = f"  {dims}", f"{group.rows['test']:,}"
                table.add_row(name, f"{group.values:,}", test, *cells(group.test[task]))
    return table
