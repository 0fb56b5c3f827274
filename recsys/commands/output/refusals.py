"""Why records were refused, and what to write so that they are read."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

from recsys.remedies import remedy


def show_reasons(console: Console, reasons: Iterable[tuple[str, int]]) -> None:
    """A line for each reason with its count, and one with its remedy, if the configuration has one."""
    for reason, count in reasons:
        console.print(f"  {count:,} x {reason}", highlight=False, markup=False)
        if found := remedy(reason):
            console.print(f"      {found}", style="yellow", highlight=False, markup=False)
