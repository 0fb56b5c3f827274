"""`recsys reproduce`: the tables of the documentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from recsys.commands.options.common import OUT
from recsys.commands.user_errors import readable
from recsys.extras import needs

Command = Callable[..., Any]


class _Tables(click.Group):
    """Lists its commands where it is asked for another one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"there is no table {args[0]!r}; choose one of {', '.join(self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Tables)
def reproduce() -> None:
    """Compute the tables of the documentation anew. What is in the folder of results is not computed again."""


def _table(
    seeds: int | None = None, of: str = "Fits of each model.", trains: bool = True, reads: bool = True
) -> Callable[[Command], Command]:
    """A table that `reads` the folder DATA, by so many seeds; one that `trains` needs PyTorch."""

    def made(run: Command) -> Command:
        run = readable(needs("training")(run) if trains else run)
        run = click.option(
            "--out", type=click.Path(path_type=Path), default="run/reproduce", show_default=True, help=OUT
        )(run)
        if seeds is not None:
            run = click.option("--seeds", type=click.IntRange(1), default=seeds, show_default=True, help=of)(run)
        if reads:
            run = click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))(run)
        return reproduce.command(run.__name__.replace("_", "-"))(run)

    return made


@_table(5, "Seeds of models and anchors.")
def coat(data: Path, seeds: int, out: Path) -> None:
    """Debiasing on Coat.

    IPS, SNIPS, doubly robust learning and kernel balancing, with controls.

    DATA is the folder with train.ascii, test.ascii, user_features.ascii and item_features.ascii of Coat, from
    https://www.cs.cornell.edu/~schnabts/mnar/.
    """
    from recsys.commands.offline.reproduce import coat as run

    run(data, seeds=seeds, out=out)


@_table(10, "Draws of users, items and what they chose.", trains=False, reads=False)
def selection(seeds: int, out: Path) -> None:
    """Debiasing where the truth is known.

    Simulated users who chose what they like: the error of IPS, DR and kernel balancing by right and wrong propensities.
    """
    from recsys.commands.offline.reproduce import selection as run

    run(seeds=seeds, out=out)


@_table(3)
def autoint(data: Path, seeds: int, out: Path) -> None:
    """AutoInt and others on MovieLens 1M.

    The protocol is that of AutoInt's paper.

    DATA is the folder with ratings.dat, users.dat and movies.dat. A fit takes minutes; one that was interrupted
    goes on from where it was.
    """
    from recsys.commands.offline.reproduce import autoint as run

    run(data, seeds=seeds, out=out)


@_table(3)
def histories(data: Path, seeds: int, out: Path) -> None:
    """What a user's last movies are worth.

    On MovieLens 1M by time: none of them, their mean, target attention and self-attention.

    DATA is the folder with ratings.dat, users.dat and movies.dat. A fit that was interrupted goes on from where it
    was.
    """
    from recsys.commands.offline.reproduce import histories as run

    run(data, seeds=seeds, out=out)


@_table(3)
def gated(data: Path, seeds: int, out: Path) -> None:
    """What gates for each row are worth.

    On MovieLens 1M by time: a DeepFM with and without them, and one that is as large.

    DATA is the folder with ratings.dat, users.dat and movies.dat. A fit that was interrupted goes on from where it
    was.
    """
    from recsys.commands.offline.reproduce import gated as run

    run(data, seeds=seeds, out=out)


@_table(3)
def unified(data: Path, seeds: int, out: Path) -> None:
    """Shared rows on MovieLens 1M.

    Rows of their own, shared by all ids, and shared by the ids of a field, in three sizes.

    DATA is the folder with ratings.dat, users.dat and movies.dat. A fit that was interrupted goes on from where it
    was.
    """
    from recsys.commands.offline.reproduce import unified as run

    run(data, seeds=seeds, out=out)


@_table(3, "Searches of each model.")
def dnis(data: Path, seeds: int, out: Path) -> None:
    """DNIS and its controls on MovieLens 1M.

    At four sizes, with a DeepFM and AutoInt.

    DATA is the folder with ratings.dat, users.dat and movies.dat. A search with the DeepFM takes a quarter of an
    hour of a core, one with AutoInt hours; one that was interrupted goes on from where it was.
    """
    from recsys.commands.offline.reproduce import dnis as run

    run(data, seeds=seeds, out=out)


@_table(3, "Searches.")
def ihas(data: Path, seeds: int, out: Path) -> None:
    """iHAS and its controls on MovieLens 1M.

    Models by groups of rows, as iHAS finds them, with a DeepFM.

    DATA is the folder with ratings.dat, users.dat and movies.dat. A search takes some ten minutes of a core; one
    that was interrupted goes on from where it was.
    """
    from recsys.commands.offline.reproduce import ihas as run

    run(data, seeds=seeds, out=out)


@_table(trains=False)
def open_bandit(data: Path, out: Path) -> None:
    """Off-policy estimates on Open Bandit.

    Each policy is estimated from the other's log, and from its own.

    DATA is the folder with bts/ and random/, from https://research.zozo.com/data.html.
    """
    from recsys.commands.offline.reproduce import open_bandit as run

    run(data, out=out)


@_table(5, "Draws of what is left out.", trains=False)
def slates(data: Path, seeds: int, out: Path) -> None:
    """Varied and merged lists of films.

    On MovieLens 1M: relevance beside variety, and merged sources of which one is biased.

    DATA is the folder with ratings.dat, users.dat and movies.dat.
    """
    from recsys.commands.offline.reproduce import slates as run

    run(data, seeds=seeds, out=out)


@_table(5)
def retrieval(data: Path, seeds: int, out: Path) -> None:
    """The two-tower model on MovieLens 1M.

    By time, with and without self-supervision, beside baselines.

    DATA is the folder with ratings.dat, users.dat and movies.dat. A fit takes minutes; what is done is kept when it
    is interrupted.
    """
    from recsys.commands.offline.reproduce import retrieval as run

    run(data, seeds=seeds, out=out)


@_table(3)
def next_click(data: Path, seeds: int, out: Path) -> None:
    """The next click on Globo.com, retrieved online.

    The two-tower model as it learns from the stream, beside popularity, session kNN and a frozen one.

    DATA is the folder with clicks.parquet, as `recsys ingest --dataset globo` reads it. A run through the days takes
    a minute or two of a core; what is done is kept when it is interrupted.
    """
    from recsys.commands.offline.reproduce import next_click as run

    run(data, seeds=seeds, out=out)


@_table(3)
def returns(data: Path, seeds: int, out: Path) -> None:
    """Clicks against returns on Globo.com news.

    One model of two tasks, what is clicked now and who is back the next day: first articles by several weights of both.

    DATA is the folder with clicks.parquet.
    """
    from recsys.commands.offline.reproduce import returns as run

    run(data, seeds=seeds, out=out)


COMMANDS = (reproduce,)
