"""Commands that describe a log: its files and the configuration for them."""

from __future__ import annotations

from pathlib import Path

import click

from recsys.commands.options.common import CONFIG
from recsys.commands.options.guesses import guesses
from recsys.commands.user_errors import readable
from recsys.extras import needs


@click.command()
@click.argument("paths", metavar="[PATH] [--from FILE...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--from", "propose", is_flag=True, help="Propose a configuration for the files, from their first rows.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@guesses
@readable
@needs("log")
def init(paths: tuple[Path, ...], propose: bool, force: bool, positive: tuple[str, ...], **said: str | None) -> None:
    """Write a commented configuration file: with every setting at its default, or proposed --from files.

    PATH is recsys.toml by default. A proposal has a comment on each guess; the options say what only you know.
    `recsys inspect` shows a proposal without writing it.
    """
    from recsys.commands.describe import config

    files = [path for path in paths if propose and path.suffix != ".toml"]
    path, *more = [path for path in paths if path not in files] or [Path(config.TEMPLATE.name)]
    if more:
        raise click.UsageError("give one path for the configuration, and --from before files to propose one for")
    if not propose:
        config.init(path, force=force)
        return
    from recsys.commands.describe.propose import init as run

    run(path, files, positive, force=force, **said)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@guesses
@readable
@needs("log")
def inspect(files: tuple[Path, ...], positive: tuple[str, ...], **said: str | None) -> None:
    """Show what the columns of files seem to be, and the configuration that `init --from` would write."""
    from recsys.commands.describe.propose import inspect as run

    run(files, positive, **said)


@click.command()
@CONFIG
@readable
@needs("log")
def check(config_path: Path) -> None:
    """Check the configuration file. An error names the line and the remedy."""
    from recsys.commands.describe.config import check as run

    run(config_path)


COMMANDS = (init, inspect, check)
