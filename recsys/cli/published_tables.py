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


@click.group()
def reproduce() -> None:
    """Compute the tables of the documentation anew. What is in the folder of results is not computed again."""


def _table(
    seeds: int | None = None, of: str = "Fits of each model.", trains: bool = True
) -> Callable[[Command], Command]:
    """A table that is made of the folder DATA, by so many seeds; one that `trains` needs PyTorch."""

    def made(run: Command) -> Command:
        run = readable(needs("training")(run) if trains else run)
        run = click.option(
            "--out", type=click.Path(path_type=Path), default="run/reproduce", show_default=True, help=OUT
        )(run)
        if seeds is not None:
            run = click.option("--seeds", type=click.IntRange(1), default=seeds, show_default=True, help=of)(run)
        data = click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
        return reproduce.command(run.__name__.replace("_", "-"))(data(run))

    return made


@_table(5, "Seeds of models and anchors.")
def coat(data: Path, seeds: int, out: Path) -> None:
    """Debiasing on Coat: IPS, SNIPS, doubly robust learning and kernel balancing, with controls.

    DATA is the folder of Coat's four .ascii files, from https://www.cs.cornell.edu/~schnabts/mnar/.
    """
    from recsys.commands.offline.reproduce import coat as run

    run(data, seeds=seeds, out=out)


@_table(3)
def autoint(data: Path, seeds: int, out: Path) -> None:
    """AutoInt and models beside it on MovieLens 1M, by the protocol of AutoInt's paper.

    DATA is the folder with ratings.parquet, users.dat and movies.dat. A fit takes minutes; one that was interrupted
    goes on from where it was.
    """
    from recsys.commands.offline.reproduce import autoint as run

    run(data, seeds=seeds, out=out)


@_table(3)
def histories(data: Path, seeds: int, out: Path) -> None:
    """What a user's last movies are worth on MovieLens 1M by time: none, their mean, target and self-attention.

    DATA is the folder with ratings.parquet, users.dat and movies.dat. A fit that was interrupted goes on from where it
    was.
    """
    from recsys.commands.offline.reproduce import histories as run

    run(data, seeds=seeds, out=out)


@_table(3)
def unified(data: Path, seeds: int, out: Path) -> None:
    """Rows of their own, shared by all ids, and shared by the ids of a field, in three sizes on MovieLens 1M.

    DATA is the folder with ratings.parquet, users.dat and movies.dat. A fit that was interrupted goes on from where it
    was.
    """
    from recsys.commands.offline.reproduce import unified as run

    run(data, seeds=seeds, out=out)


@_table(3, "Searches of each model.")
def dnis(data: Path, seeds: int, out: Path) -> None:
    """DNIS and its controls at four sizes on MovieLens 1M, with a DeepFM and AutoInt.

    DATA is the folder with ratings.parquet, users.dat and movies.dat. A search with the DeepFM takes a quarter of an
    hour of a core, one with AutoInt hours; one that was interrupted goes on from where it was.
    """
    from recsys.commands.offline.reproduce import dnis as run

    run(data, seeds=seeds, out=out)


@_table(3, "Searches.")
def ihas(data: Path, seeds: int, out: Path) -> None:
    """Models by groups of rows, as iHAS finds them, and their controls on MovieLens 1M, with a DeepFM.

    DATA is the folder with ratings.parquet, users.dat and movies.dat. A search takes some ten minutes of a core; one
    that was interrupted goes on from where it was.
    """
    from recsys.commands.offline.reproduce import ihas as run

    run(data, seeds=seeds, out=out)


@_table(trains=False)
def open_bandit(data: Path, out: Path) -> None:
    """Off-policy estimates on the Open Bandit Dataset: each policy from the other's log, and from its own.

    DATA is the folder with bts/ and random/, from https://research.zozo.com/data.html.
    """
    from recsys.commands.offline.reproduce import open_bandit as run

    run(data, out=out)


@_table(5, "Draws of what is left out.", trains=False)
def slates(data: Path, seeds: int, out: Path) -> None:
    """Lists of films on MovieLens 1M: relevance beside variety, and merged sources of which one is biased.

    DATA is the folder with ratings.parquet, users.dat and movies.dat.
    """
    from recsys.commands.offline.reproduce import slates as run

    run(data, seeds=seeds, out=out)


@_table(5)
def retrieval(data: Path, seeds: int, out: Path) -> None:
    """The two-tower model on MovieLens 1M by time, with and without self-supervision, beside baselines.

    DATA is the folder with ratings.parquet, users.dat and movies.dat. A fit takes minutes; what is done is kept when it
    is interrupted.
    """
    from recsys.commands.offline.reproduce import retrieval as run

    run(data, seeds=seeds, out=out)


COMMANDS = (reproduce,)
