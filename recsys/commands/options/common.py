"""Options of several commands."""

from __future__ import annotations

from pathlib import Path

import click

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
UNTIL = click.option(
    "--until", metavar="TIME", help="Leave out what is in the log from the first event at this time or later."
)
OUT = "The folder for the results."
