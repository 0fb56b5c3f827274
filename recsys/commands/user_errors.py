"""How a command ends: an error that the user can act on is one message, any other exception a traceback."""

from __future__ import annotations

import functools
import logging
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from recsys.errors import RecsysError

FAULT = 70
"""Exit status of an unexpected error (`EX_SOFTWARE`)."""


def readable(command: Callable[..., None]) -> Callable[..., None]:
    """Print an error that the user can act on as one message, with exit status 1.

    These are `RecsysError`. Any other exception is a fault of this project: its traceback is shown, and the exit status
    is `FAULT`. click itself ends a command whose output nobody reads any more (BrokenPipeError).
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except RecsysError as error:
            if logging.getLogger().isEnabledFor(logging.DEBUG):
                raise
            click.secho(f"error: {error}", fg="red", err=True)
            sys.exit(1)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception:
            click.echo(traceback.format_exc(), err=True, nl=False)
            click.secho("This is a fault of recsys, please report it with the lines above.", fg="red", err=True)
            sys.exit(FAULT)

    return wrapped
