"""The command line. Commands import what they need when they run, so that `recsys --help` answers at once."""

from __future__ import annotations

import logging

import click

from recsys.cli import describe, offline, online, promotion, published_tables
from recsys.commands.output.log_lines import log_to_stderr


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="recsys")
@click.option("-v", "--verbose", is_flag=True, help="Log more, and show tracebacks.")
def main(verbose: bool) -> None:
    """A recommender that learns from every click while it serves.

    \b
    init -> check -> ingest -> train -> serve      the live loop
    status                                         how the trainer is doing
    promote, rollback, versions, retire            which of several models is served
    experiments                                    what A/B tests show, by the log
    inspect                                        what files hold, and a configuration for them
                     ingest -> replay              evaluate a model on a log before it goes live
                     ingest -> fit -> evaluate     learn a log in epochs; then train goes on online
                     ingest -> tune                search the settings of such a fit
         simulate -> ingest                        a log of users whose preferences are known
                     ingest -> memory              choose how much the embedding store may hold
    """
    log_to_stderr(logging.DEBUG if verbose else logging.WARNING)


for _command in (
    *describe.COMMANDS,
    *online.COMMANDS,
    *promotion.COMMANDS,
    *offline.COMMANDS,
    *published_tables.COMMANDS,
):
    main.add_command(_command)
