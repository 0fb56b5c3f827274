"""The command line. Commands import what they need when they run, so that `recsys --help` answers at once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import click

from recsys.commands.options.guesses import guesses
from recsys.commands.readable import readable
from recsys.datasets.registry import DATASETS
from recsys.extras import needs

CONFIG = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default="recsys.toml",
    show_default=True,
    help="The configuration file.",
)


BATCH_UNTIL = "End of the batch stage: an ISO 8601 time, or a share of the shown items such as 0.8."
UNTIL = "Leave out what is in the log from the first event at this time or later."
OUT = "The folder for the results."


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="recsys")
@click.option("-v", "--verbose", is_flag=True, help="Log more, and show tracebacks.")
def main(verbose: bool) -> None:
    """A recommender that learns from every click while it serves.

    \b
    init -> check -> ingest -> train -> serve      the live loop
    status                                         how the trainer is doing
    inspect                                        what files hold, and a configuration for them
                     ingest -> replay              evaluate a model on a log before it goes live
                     ingest -> fit -> evaluate     learn a log in epochs; then train goes on online
                     ingest -> tune                search the settings of such a fit
                     ingest -> memory              choose how much the embedding store may hold
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("numba", "matplotlib", "PIL", "onnxscript", "onnx_ir", "torch.onnx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@main.command()
@click.argument("paths", metavar="[PATH] [--from FILE...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--from", "propose", is_flag=True, help="Propose a configuration for the files, from their first rows.")
@guesses
@readable
@needs("log")
def init(paths: tuple[Path, ...], propose: bool, **said: str | None) -> None:
    """Write a commented configuration file: with every setting at its default, or proposed --from files.

    PATH is recsys.toml by default. A proposal has a comment on each guess; the options say what only you know.
    """
    from recsys.commands import config

    files = [path for path in paths if propose and path.suffix != ".toml"]
    path, *more = [path for path in paths if path not in files] or [Path(config.TEMPLATE.name)]
    if more:
        raise click.UsageError("give one path for the configuration, and --from before files to propose one for")
    if not propose:
        config.init(path)
        return
    from recsys.commands.propose import init as run

    run(path, files, **said)


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@guesses
@readable
@needs("log")
def inspect(files: tuple[Path, ...], **said: str | None) -> None:
    """Show what the columns of files seem to be, and the configuration that `init --from` would write."""
    from recsys.commands.propose import inspect as run

    run(files, **said)


@main.command()
@CONFIG
@readable
@needs("log")
def check(config_path: Path) -> None:
    """Check the configuration file. An error names the line and the remedy."""
    from recsys.commands.config import check as run

    run(config_path)


@main.command()
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
    from recsys.commands.ingest import run

    run(config_path, files, dataset, start, end, sort)


@main.command()
@CONFIG
@click.option("--follow/--once", default=True, help="At the end of the log, wait for more events or stop.")
@click.option("--until", metavar="TIME", help="Stop before the first event at this time or later.")
@click.option("--publish/--no-publish", default=True, help="Publish rows to Redis for serving.")
@readable
@needs("training")
def train(config_path: Path, follow: bool, until: str | None, publish: bool) -> None:
    """Train online on the log, from the newest checkpoint on."""
    from recsys.commands.train import run

    run(config_path, follow=follow, until=until, publish=publish)


@main.command()
@CONFIG
@click.option("--until", metavar="TIME", help=UNTIL)
@click.option("--out", type=click.Path(path_type=Path), default="run/fit", show_default=True, help=OUT)
@readable
@needs("training")
def fit(config_path: Path, until: str | None, out: Path) -> None:
    """Learn the training part of the log in epochs, as [fit] says; train then goes on from the best one.

    After Ctrl-C or a crash the same command goes on from its newest checkpoint, to the same result.
    """
    from recsys.commands.fit import run

    run(config_path, until=until, out=out)


@main.command()
@CONFIG
@click.option("--part", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@click.option("--until", metavar="TIME", help=UNTIL)
@click.option("--out", type=click.Path(path_type=Path), default="run/fit", show_default=True, help=OUT)
@readable
@needs("training")
def evaluate(config_path: Path, part: Literal["test", "validation"], until: str | None, out: Path) -> None:
    """Judge what was fitted on a part of the log that it did not learn from."""
    from recsys.commands.evaluate import run

    run(config_path, part=part, until=until, out=out)


@main.command()
@CONFIG
@click.option("--until", metavar="TIME", help=UNTIL)
@click.option("--out", type=click.Path(path_type=Path), default="run/tune", show_default=True, help=OUT)
@readable
@needs("training")
def tune(config_path: Path, until: str | None, out: Path) -> None:
    """Search settings of training and model, as [tune] says: each trial is a fit, each model gets as many.

    After Ctrl-C or a crash the same command goes on, to the same result.
    """
    from recsys.commands.tune import run

    run(config_path, until=until, out=out)


@main.group()
def search() -> None:
    """Search embedding dimensions, beside controls of the same size."""


@search.command()
@CONFIG
@click.option("--until", metavar="TIME", help=UNTIL)
@click.option("--out", type=click.Path(path_type=Path), default="run/search", show_default=True, help=OUT)
@readable
@needs("training")
def dnis(config_path: Path, until: str | None, out: Path) -> None:
    """Differentiable neural input search: accuracy against embedding size, and dimensions for each table."""
    from recsys.commands.search.dnis import run

    run(config_path, until=until, out=out)


@search.command()
@CONFIG
@click.option("--until", metavar="TIME", help=UNTIL)
@click.option("--out", type=click.Path(path_type=Path), default="run/search", show_default=True, help=OUT)
@readable
@needs("training")
def ihas(config_path: Path, until: str | None, out: Path) -> None:
    """Instance-wise search: a model for each group of rows that needs the same dimensions."""
    from recsys.commands.search.ihas import run

    run(config_path, until=until, out=out)


@main.command()
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
    from recsys.commands.migrate import run

    run(config_path, source)


@main.command()
@CONFIG
@click.argument("name")
@click.option("--source", default="online", show_default=True, help="The published model to copy.")
@readable
@needs("training")
def freeze(config_path: Path, name: str, source: str) -> None:
    """Copy the published model to NAME, which then stays unchanged: an arm to compare the online model with."""
    from recsys.commands.freeze import run

    run(config_path, name, source)


@main.command()
@CONFIG
@click.option("--host", help="Overrides serving.host.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Overrides serving.port.")
@readable
@needs("serving")
def serve(config_path: Path, host: str | None, port: int | None) -> None:
    """Serve rankings over HTTP."""
    from recsys.commands.serve import run

    run(config_path, host, port)


@main.command()
@CONFIG
@click.option("--follow/--once", default=False, help="Show it again every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print everything that the trainer says, for programs.")
@readable
@needs("log")
def status(config_path: Path, follow: bool, as_json: bool) -> None:
    """Show how the trainer is doing: lag, speed, figures, embedding tables, checkpoint, what was lost."""
    from recsys.commands.status import run

    if follow and as_json:
        raise click.UsageError("--json prints once: leave --follow out")
    run(config_path, follow=follow, as_json=as_json)


@main.command()
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
@click.option("--out", type=click.Path(path_type=Path), default="run/replay", show_default=True, help=OUT)
@readable
@needs("training")
def replay(config_path: Path, batch_until: str, refresh: tuple[str, ...], until: str | None, out: Path) -> None:
    """Evaluate the configured model on the log: frozen against online, score then train."""
    from recsys.commands.replay import run

    run(config_path, batch_until, refresh, until, out)


@main.command()
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
    from recsys.commands.memory import run

    run(config_path, **options)


@main.command()
@click.option("--keep", is_flag=True, help="Keep server and trainer running until Ctrl-C.")
@click.option("--folder", type=click.Path(path_type=Path), default="run/demo", show_default=True)
@readable
@needs("all")
def demo(keep: bool, folder: Path) -> None:
    """Watch the whole loop on a real log: ingest, train, serve, click, and see the ranking change."""
    from recsys.commands.demo.command import run

    run(folder, keep)
