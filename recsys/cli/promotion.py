"""Commands that say which model is the champion."""

from __future__ import annotations

from pathlib import Path

import click

from recsys.commands.options.common import CONFIG
from recsys.commands.user_errors import readable
from recsys.extras import needs

WHY = click.option("--why", default="", metavar="TEXT", help="Kept in the record.")


@click.command()
@CONFIG
@click.argument("model")
@WHY
@click.option("--check", is_flag=True, help="Only judge it, and say what speaks against it.")
@click.option("--since", metavar="TIME", help="Judge by what was shown at this event time or later (ISO 8601, UTC).")
@click.option("--json", "as_json", is_flag=True, help="With --check: print every figure, for programs.")
@click.option("--force", is_flag=True, help="Promote it whatever speaks against it; the record says what did.")
@readable
@needs("serving")
def promote(
    config_path: Path, model: str, why: str, check: bool, since: str | None, as_json: bool, force: bool
) -> None:
    """Make the published MODEL the champion, on all servers at once, unless it is worse on what was shown."""
    from recsys.commands.promotion.promote import run

    if as_json and not check:
        raise click.UsageError("--json shows the figures of --check: add it")
    run(config_path, model, why=why, check=check, since=since, as_json=as_json, force=force)


@click.command()
@CONFIG
@click.argument("version", type=click.IntRange(min=0), required=False)
@WHY
@readable
@needs("serving")
def rollback(config_path: Path, version: int | None, why: str) -> None:
    """Go back to the model or run that was served before, or to the model of VERSION, on all servers at once."""
    from recsys.commands.promotion.rollback import run

    run(config_path, version, why=why)


@click.command()
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="Print everything, for programs.")
@readable
@needs("serving")
def versions(config_path: Path, as_json: bool) -> None:
    """List all champions and why they were promoted, and the models that are published."""
    from recsys.commands.promotion.versions import run

    run(config_path, as_json=as_json)


@click.command()
@CONFIG
@click.argument("model")
@readable
@needs("serving")
def retire(config_path: Path, model: str) -> None:
    """Remove MODEL from Redis, if nothing uses it: it cannot be gone back to then."""
    from recsys.commands.promotion.retire import run

    run(config_path, model)


COMMANDS = (promote, rollback, versions, retire)
