"""`recsys freeze`: copy a published model to another name."""

from __future__ import annotations

from pathlib import Path

from recsys import wiring
from recsys.commands.output.terminal import plain_console
from recsys.config.file import load


def run(path: Path, name: str, source: str) -> None:
    config = load(path)
    console = plain_console()
    with wiring.publisher(config, source) as (publisher, _), console.status("copying rows ...") as status:
        rows = publisher.freeze(name, lambda done: status.update(f"copied {done:,} rows ..."))
    console.print(f"Copied model {source!r} to {name!r}: {rows:,} rows. Name it as the model of an arm.")
