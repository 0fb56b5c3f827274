"""Where `recsys search` keeps what it has."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Console

from recsys.commands.output.terminal import say
from recsys.config.schema import Config
from recsys.evaluation.result_settings import settings_of
from recsys.fit.parts import Parts
from recsys.search.search_folder import SearchFolder


def search_folder(
    config: Config, method: Literal["dnis", "ihas"], parts: Parts, out: Path, console: Console
) -> SearchFolder:
    """The folder of that name in `out`; says so if it goes on. Raises InvalidValueError if it is of another search."""
    of_log = {"rows": parts.rows, "end": parts.end}
    settings, stated = (settings_of(config, "fit", method, stated=stated) | of_log for stated in (False, True))
    found = SearchFolder.of(out / method, settings, stated)
    if found.has_begun:
        say(console, f"Going on from {out / method}.")
    return found
