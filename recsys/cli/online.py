"""Commands of the live loop: events come in, a model learns from them, rankings go out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from recsys.commands.options.common import CONFIG
from recsys.commands.user_errors import readable
from recsys.datasets.registry import DATASETS
from recsys.extras import needs

if TYPE_CHECKING:
    from serving.api_key import Scope


@click.command()
@CONFIG
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--dataset", type=click.Choice(list(DATASETS)), help="Import a public data set.")
@click.option("--from", "start", metavar="TIME", help="Only events at this time or later (ISO 8601, UTC).")
@click.option("--to", "end", metavar="TIME", help="Only events before this time.")
@click.option("--sort", is_flag=True, help="Sort the events of all files by time first, on disk if need be.")
@readable
@needs("log")
def ingest(
    config_path: Path, files: tuple[Path, ...], dataset: str | None, start: str | None, end: str | None, sort: bool
) -> None:
    """Read event files (.jsonl, .parquet, .csv, - for JSON lines on standard input) into the event log.

    Several files are merged by event time: name those that belong together, such as lists and clicks, in one
    command. Each is roughly in the order of time, unless you --sort them.
    """
    from recsys.commands.online.ingest import run

    run(config_path, files, dataset, start, end, sort)


@click.command()
@CONFIG
@click.option("--follow/--once", default=True, help="At the end of the log, wait for more events or stop.")
@click.option("--until", metavar="TIME", help="Stop before the first event at this time or later.")
@click.option("--publish/--no-publish", default=True, help="Publish rows to Redis for serving.")
@readable
@needs("training")
def train(config_path: Path, follow: bool, until: str | None, publish: bool) -> None:
    """Train online on the log, from the newest checkpoint on."""
    from recsys.commands.online.train import run

    run(config_path, follow=follow, until=until, publish=publish)


@click.command()
@CONFIG
@click.option(
    "--from", "source", type=click.Path(path_type=Path, exists=True), required=True, help="Checkpoints of other fields."
)
@readable
@needs("training")
def migrate(config_path: Path, source: Path) -> None:
    """Take over a model after fields were added, removed or changed: all that is known of the others stays.

    Reads the newest checkpoint in another folder, which stays as it is, and writes one for the present configuration
    into [training] checkpoints.
    """
    from recsys.commands.online.migrate import run

    run(config_path, source)


@click.command()
@CONFIG
@click.argument("name")
@click.option("--source", default="online", show_default=True, help="The published model to copy.")
@readable
@needs("training")
def freeze(config_path: Path, name: str, source: str) -> None:
    """Copy the published model to NAME, which then stays unchanged: an arm to compare the online model with."""
    from recsys.commands.online.freeze import run

    run(config_path, name, source)


@click.command()
@CONFIG
@click.option("--host", help="Overrides serving.host.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Overrides serving.port.")
@click.option("--processes", type=click.IntRange(1, 256), help="Overrides serving.processes.")
@click.option("--ray", metavar="ADDRESS", help="Ray Serve spreads the processes over this cluster, or `local`.")
@readable
@needs("serving")
def serve(config_path: Path, host: str | None, port: int | None, processes: int | None, ray: str | None) -> None:
    """Serve rankings over HTTP."""
    from recsys.commands.online.serve import run

    run(config_path, host, port, processes, ray)


@click.command()
@CONFIG
@click.option("--follow/--once", default=False, help="Show it again every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print everything that the trainer says, for programs.")
@readable
@needs("log")
def status(config_path: Path, follow: bool, as_json: bool) -> None:
    """Show how the trainer is doing: lag, speed, figures, embedding tables, checkpoint, what was lost."""
    from recsys.commands.online.status import run

    if follow and as_json:
        raise click.UsageError("--json prints once: leave --follow out")
    run(config_path, follow=follow, as_json=as_json)


@click.command()
@CONFIG
@click.option(
    "--since", help="Count from this event time on, such as 2026-03-01T12:00; else from the first impression."
)
@click.option(
    "--before", default="14d", show_default=True, help="How much of the time before that adjusts the differences."
)
@click.option("--json", "as_json", is_flag=True, help="Print every figure, for programs.")
@click.option("--publish", is_flag=True, help="Show the same at /v1/experiments of the servers.")
@readable
@needs("serving")
def experiments(config_path: Path, since: str | None, before: str, as_json: bool, publish: bool) -> None:
    """Show what the configured experiments show, by the event log, with users as the unit."""
    from recsys.commands.online.experiments import run

    run(config_path, since=since, before=before, as_json=as_json, publish=publish)


@click.command()
@CONFIG
@click.option("--since", metavar="TIME", help="Only lists that were shown at this event time or later (ISO 8601, UTC).")
@click.option("--json", "as_json", is_flag=True, help="Print the counts, for programs.")
@readable
@needs("serving")
def rescore(config_path: Path, since: str | None, as_json: bool) -> None:
    """Score what was shown again, from the log and the published models: is it what servers answered, bit for bit?

    Says of all other lists why not. The exit status is 1 if there is no reason for one.
    """
    from recsys.commands.online.rescore import run

    run(config_path, since=since, as_json=as_json)


@click.command()
@CONFIG
@click.argument("users", metavar="USER...", nargs=-1, required=True)
@click.option("--check", is_flag=True, help="Erase nothing: only look for what is left.")
@click.option("--now", is_flag=True, help="Remove older checkpoints too, once the newest has nothing of the users.")
@click.option("--json", "as_json", is_flag=True, help="Print every figure, for programs.")
@readable
@needs("training")
def forget(config_path: Path, users: tuple[str, ...], check: bool, now: bool, as_json: bool) -> None:
    """Erase users: from the log, what is computed of them, their embedding rows, Redis.

    Shows what every place had of them and has now. The exit status is 1 while anything is left.
    """
    from recsys.commands.online.forget import run

    run(config_path, users, check=check, now=now, as_json=as_json)


@click.command()
@click.option("--keep", is_flag=True, help="Keep server and trainer running until Ctrl-C.")
@click.option("--folder", type=click.Path(path_type=Path), default="run/demo", show_default=True)
@readable
@needs("all")
def demo(keep: bool, folder: Path) -> None:
    """Watch the whole loop on a real log: ingest, train, serve, click, and see the ranking change."""
    from recsys.commands.demo.command import run

    run(folder, keep)


SCOPES = ("rank", "events", "admin")  # those of serving.api_key, which `recsys --help` does not wait for


@click.group()
def key() -> None:
    """API keys of the server."""


@key.command()
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="What it opens.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Most requests a second. Default: no limit.")
@readable
@needs("log")
def create(name: str, scopes: tuple[Scope, ...], rate: float | None) -> None:
    """Make a key called NAME, print it once, and the line to put into recsys.toml."""
    from recsys.commands.online.key import create as print_key

    print_key(name, scopes, rate)


COMMANDS = (ingest, train, migrate, freeze, serve, key, status, experiments, rescore, forget, demo)
