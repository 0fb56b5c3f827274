"""`recsys freeze`: keep a published model as it is, under another name."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from recsys import wiring
from recsys.config.file import load


def run(path: Path, name: str, source: str) -> None:
    config = load(path)
    console = Console()
    with wiring.publisher(config, source) as (publisher, _), console.status("copying rows ...") as status:
        rows = publisher.freeze(name, lambda done: status.update(f"copied {done:,} rows ..."))
    console.print(f"Model {name!r} is {source!r} as it is now: {rows:,} rows. Name it in an arm to compare with it.")
