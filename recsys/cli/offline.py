"""Commands that learn or judge a model on a log, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from recsys.commands.options.common import BATCH_UNTIL, CONFIG, OUT, UNTIL
from recsys.commands.user_errors import readable
from recsys.extras import needs


@click.command()
@CONFIG
@UNTIL
@click.option("--out", type=click.Path(path_type=Path), default="run/fit", show_default=True, help=OUT)
@readable
@needs("training")
def fit(config_path: Path, until: str | None, out: Path) -> None:
    """Learn the training part of the log in epochs, as [fit] says; train then goes on from the best one.

    After Ctrl-C or a crash the same command goes on from its newest checkpoint, to the same result.
    """
    from recsys.commands.offline.fit import run

    run(config_path, until=until, out=out)


@click.command()
@click.option("--users", type=click.IntRange(1), default=500, show_default=True)
@click.option("--items", type=click.IntRange(2), default=200, show_default=True)
@click.option("--days", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Of event time.")
@click.option("--shown", type=click.IntRange(1), default=10, show_default=True, help="Items of a list.")
@click.option("--visits", type=float, default=8.0, show_default=True, help="Of a user a day, in the mean.")
@click.option("--position", type=float, default=0.7, show_default=True, help="Position k is looked at (1 / k)^this.")
@click.option("--delay", type=float, default=60.0, show_default=True, help="Of clicks, in seconds, in the mean.")
@click.option("--loyalty", type=float, default=0.2, show_default=True, help="A click brings the user back sooner.")
@click.option("--selection", type=float, default=0.5, show_default=True, help="How much lists follow taste; no --url.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--url", default="", help="Show the lists of this server, and post what happens to it.")
@click.option("--out", type=click.Path(path_type=Path), default="run/simulated", show_default=True, help=OUT)
@readable
@needs("all")
def simulate(
    users: int,
    items: int,
    days: float,
    shown: int,
    visits: float,
    position: float,
    delay: float,
    loyalty: float,
    selection: float,
    seed: int,
    url: str,
    out: Path,
) -> None:
    """Users whose preferences are known: a log with the truth beside it, or visitors of a server.

    Writes truth.json: what lists are worth, by arm, beside random ones and the best. The log has exact propensities.
    """
    from recsys.commands.offline.simulate import run
    from recsys.simulation.habits import Habits

    run(users, items, days, Habits(shown, visits, position, delay, loyalty), selection, seed, url, out)


@click.command()
@CONFIG
@click.option("--part", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@UNTIL
@click.option("--out", type=click.Path(path_type=Path), default="run/fit", show_default=True, help=OUT)
@readable
@needs("training")
def evaluate(config_path: Path, part: Literal["test", "validation"], until: str | None, out: Path) -> None:
    """Judge what was fitted on a part of the log that it did not learn from."""
    from recsys.commands.offline.evaluate import run

    run(config_path, part=part, until=until, out=out)


@click.command()
@CONFIG
@UNTIL
@click.option("--out", type=click.Path(path_type=Path), default="run/tune", show_default=True, help=OUT)
@readable
@needs("training")
def tune(config_path: Path, until: str | None, out: Path) -> None:
    """Search settings of training and model, as [tune] says: each trial is a fit, each model gets as many.

    After Ctrl-C or a crash the same command goes on, to the same result.
    """
    from recsys.commands.offline.tune import run

    run(config_path, until=until, out=out)


@click.group()
def search() -> None:
    """Search embedding dimensions, beside controls of the same size."""


@search.command()
@CONFIG
@UNTIL
@click.option("--out", type=click.Path(path_type=Path), default="run/search", show_default=True, help=OUT)
@readable
@needs("training")
def dnis(config_path: Path, until: str | None, out: Path) -> None:
    """Differentiable neural input search: accuracy against embedding size, and dimensions for each table."""
    from recsys.commands.offline.dnis import run

    run(config_path, until=until, out=out)


@search.command()
@CONFIG
@UNTIL
@click.option("--out", type=click.Path(path_type=Path), default="run/search", show_default=True, help=OUT)
@click.option("--publish", metavar="NAME", help="Publish a division into groups as this model: an arm can name it.")
@click.option("--groups", type=click.IntRange(min=1), default=2, show_default=True, help="Of what is published.")
@readable
@needs("training")
def ihas(config_path: Path, until: str | None, out: Path, publish: str | None, groups: int) -> None:
    """Instance-wise search: a model for each group of rows that needs the same dimensions."""
    from recsys.commands.offline.ihas import run

    run(config_path, until=until, out=out, publish=publish, groups=groups)


@click.command()
@CONFIG
@click.option("--batch-until", metavar="TIME", required=True, help=BATCH_UNTIL)
@click.option(
    "--refresh",
    multiple=True,
    default=["1h"],
    show_default=True,
    help="How often serving takes new weights: an interval (1h), or a number of time slices (50 slices). Repeatable.",
)
@click.option("--until", metavar="TIME", help="End of the online stage (exclusive).")
@click.option(
    "--batches",
    type=click.Path(path_type=Path),
    help="Folder of what a trainer has kept ([training] batches_folder), which is read in place of the log.",
)
@click.option("--out", type=click.Path(path_type=Path), default="run/replay", show_default=True, help=OUT)
@readable
@needs("training")
def replay(
    config_path: Path, batch_until: str, refresh: tuple[str, ...], until: str | None, batches: Path | None, out: Path
) -> None:
    """Evaluate the configured model on the log: frozen against online, score then train."""
    from recsys.commands.offline.replay import run

    run(config_path, batch_until, refresh, until, batches, out)


@click.command()
@CONFIG
@click.option("--batch-until", metavar="TIME", default="0.8", show_default=True, help=BATCH_UNTIL)
@click.option("--refresh", default="1h", show_default=True, help="How often serving takes new weights.")
@click.option("--until", metavar="TIME", help="End of the online stage (exclusive).")
@click.option(
    "--try",
    "tries",
    metavar="TABLE.KEY=VALUE ...",
    multiple=True,
    help="A setting to try, such as user.capacity=1/8, item.ttl=1d or user.admission=count:2. Repeatable; by default"
    " several settings of the table that takes the most memory.",
)
@click.option("--seeds", type=click.IntRange(1), default=2, show_default=True, help="Replays per setting.")
@click.option("--model", metavar="NAME", help="Overrides model.name; fm takes half the time of autoint.")
@click.option("--out", type=click.Path(path_type=Path), default="run/memory", show_default=True, help=OUT)
@readable
@needs("training")
def memory(config_path: Path, **options: Any) -> None:
    """Replay the log with smaller embedding stores: AUC against memory."""
    from recsys.commands.offline.memory import run

    run(config_path, **options)


COMMANDS = (fit, evaluate, tune, search, replay, memory, simulate)
