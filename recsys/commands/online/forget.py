"""`recsys forget`: erasing users, and the proof of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from recsys import wiring
from recsys.commands.output.terminal import plain_console, say
from recsys.config.file import load
from serving.erasure.place import Finding, check_users, erased, found


def run(path: Path, users: Sequence[str], *, check: bool, now: bool, as_json: bool) -> None:
    """Erase the users, or only look with `check`; print what every place had and has. Exits with 1 if any is left."""
    check_users(users)
    with wiring.places(load(path), users, now=now) as (places, log):
        findings = found(places) if check else erased(places, log.tell)
    left = sum(finding.now for finding in findings)
    console = plain_console()
    if as_json:
        shown = {"users": list(users), "places": [asdict(finding) for finding in findings], "left": left}
        console.out(json.dumps(shown, ensure_ascii=False), highlight=False)
    else:
        console.print(_table(findings))
        for finding in findings:
            if finding.now:
                say(console, f"{finding.place}: {finding.remedy}.", style="yellow")
        if not any(finding.before for finding in findings):
            say(console, f"Nothing is known of {', '.join(map(repr, users))}.")
    if left:
        sys.exit(1)


def _table(findings: Sequence[Finding]) -> Table:
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("place", "found before", "found now"):
        drawn.add_column(name, justify="left" if name == "place" else "right")
    for finding in findings:
        drawn.add_row(finding.place, f"{finding.before:,}", f"{finding.now:,}")
    return drawn
