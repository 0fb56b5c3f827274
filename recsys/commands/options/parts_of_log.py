"""What the commands that compare models begin with: the configuration, and the parts of its log."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from rich.console import Console

from recsys import wiring
from recsys.commands.options.iso_time import parse_time
from recsys.commands.options.output_folder import check_out
from recsys.commands.output.terminal import READING
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.fit.parts import Parts, read_parts


def read_log(path: Path, until: str | None, out: Path, console: Console) -> tuple[Config, Parts]:
    """The configuration in the file `path` and its log up to `--until`; refuses an `--out` that cannot be written."""
    config = load(path)
    wiring.set_threads(config)
    check_out(out)
    end = parse_time(until, "--until") if until else None
    with closing(wiring.event_log(config)) as log, console.status(READING):
        return config, read_parts(config, log, end)
