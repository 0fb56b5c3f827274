"""`recsys key create`: an API key for the server."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from recsys.errors import InvalidValueError
from serving.api_key import ApiKey, Scope, new_key


def create(name: str, scopes: Sequence[Scope], rate: float | None) -> None:
    """Print a new key, which is stored nowhere, and the line for the configuration."""
    try:
        key, configured = new_key(name, scopes, rate)
    except ValueError:
        raise InvalidValueError(
            f"the name {name!r} cannot be used: write up to 64 letters, digits, dots, dashes and underscores, "
            "a letter or digit first"
        ) from None
    click.echo(f"The key, shown this once; clients send it as `Authorization: Bearer KEY`:\n{key}\n")
    click.echo(f"Add its line to `api_keys = [ ]` in [serving], and start the server again:\n{_line(configured)}")


def _line(key: ApiKey) -> str:
    values = {name: json.dumps(value) for name, value in key.model_dump(exclude_none=True).items()}
    return f"  {{ {', '.join(f'{name} = {value}' for name, value in values.items())} }},"
