"""`recsys init --from` and `recsys inspect`: a configuration proposed for files, and what it would ingest."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table

from recsys.commands.describe.config import free_path
from recsys.commands.options.iso_time import parse_time, written_time
from recsys.commands.output.refusals import show_reasons
from recsys.commands.output.terminal import plain_console
from recsys.errors import InvalidValueError
from recsys.proposal.columns.column import Column
from recsys.proposal.ingest_trial import Trial, trial
from recsys.proposal.mappings.mapping import Described, ProposedMapping
from recsys.proposal.mappings.properties import only_properties
from recsys.proposal.proposal import Proposal, describe, propose
from recsys.proposal.roles.roles import Said
from streaming.ingest.mapping.event_time import Unit

_EXAMPLES = 3
_WIDEST = 24
"""Characters of a column's name."""


def init(
    path: Path, files: Sequence[Path], positive: Sequence[str], *, force: bool = False, **said: str | None
) -> None:
    """Write the proposal; nothing is written if the first rows give nothing to learn from."""
    if not files:
        raise InvalidValueError("give the files to look at, such as: recsys init --from clicks.csv")
    path = free_path(path, " --from FILE...", force=force)
    console = plain_console()
    proposal, tried = _tried(propose(files, _said(positive, **said)), path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(proposal.text)
    console.print(f"Wrote {path}: compare the comments in it with what you know of the files.")
    _would_ingest(console, tried)
    _questions(console, proposal)
    named = "" if path == Path("recsys.toml") else f" -c {shlex.quote(str(path))}"
    given = " ".join(shlex.quote(f"./{file}" if str(file).startswith("-") else str(file)) for file in files)
    sort = " --sort" if tried.late else ""
    steps = [f"recsys ingest{named}{sort} {given}", f"recsys train{named} --once"]
    if proposal.short:
        steps.insert(1, f"recsys fit{named}    # in epochs: one pass over a log this short finds less (docs/train.md)")
    console.print(
        f"Next: {steps[0]}", *(f"      {step}" for step in steps[1:]), sep="\n", soft_wrap=True, highlight=False
    )


def inspect(files: Sequence[Path], positive: Sequence[str], **said: str | None) -> None:
    """Show columns, proposal and what it would ingest, and write nothing."""
    console = plain_console()
    described = describe(files, _said(positive, **said))
    if only_properties(described):
        _show_columns(console, described)
        console.print("These are properties alone: give the file of what happened as well for a proposal.")
        return
    try:
        proposal = propose(files, _said(positive, **said))
    except InvalidValueError:
        _show_columns(console, described)
        raise
    _show_columns(console, described, proposal.mappings)
    proposal, tried = _tried(proposal, Path("recsys.toml"))
    console.print(proposal.text, highlight=False, soft_wrap=True)
    _would_ingest(console, tried)
    _questions(console, proposal)


def _said(
    positive: Sequence[str], *, time_unit: str | None, time_format: str | None, start: str | None,
    origin: str | None, **columns: str | None
) -> Said:  # fmt: skip
    """What the options say of columns, and of times."""
    for option, text in (("--start", start), ("--origin", origin)):
        if text:
            parse_time(text, option)
    named = {role: name for role, name in columns.items() if name}
    unit = cast("Unit | None", time_unit)
    return Said(named, unit, time_format or "", tuple(positive), start or "", origin or "")


def _tried(proposal: Proposal, path: Path) -> tuple[Proposal, Trial]:
    """The proposal with what its trial tells, and the trial. Raises InvalidValueError if nothing can be learned."""
    tried = trial(proposal.config(path), proposal.files)
    if tried.wait is not None:
        proposal = proposal.waiting(tried.wait)
        tried = trial(proposal.config(path), proposal.files)
    return proposal.for_labels(tried.labels, tried.rows), _learnable(proposal, tried)


def _learnable(proposal: Proposal, tried: Trial) -> Trial:
    """Raises InvalidValueError if nothing can be learned from what the proposal ingests."""
    if not tried.counts.accepted:
        reason = tried.reasons[0][0] if tried.reasons else "there were none"
        raise InvalidValueError(f"none of the first {tried.counts.read:,} records would be accepted: {reason}")
    if not tried.labels and tried.reasons:
        raise InvalidValueError(
            f"no list of shown items would be accepted, so that nothing can be learned: {tried.counts.dead:,} of "
            f"{tried.counts.read:,} records would be refused, such as for: {tried.reasons[0][0]}"
        )
    if not tried.labels:
        raise InvalidValueError("the files have no list of shown items, so that nothing can be learned from them alone")
    if not tried.positives and proposal.label_further_on:
        return tried
    if not tried.positives and tried.tardy > tried.unmatched:
        raise InvalidValueError(
            f"none of the first {tried.labels:,} shown items would be positive: {tried.tardy:,} clicks come too late. "
            f"{tried.example} Write the time of each list, not only its day, or give what was done soon after it"
        )
    if not tried.positives and not tried.unmatched:
        raise InvalidValueError(
            f"none of the first {tried.labels:,} shown items would be positive; give the file of the clicks as well, "
            "or name the column that says it with --label COLUMN"
        )
    if not tried.positives:
        raise InvalidValueError(
            f"none of the first {tried.labels:,} shown items would be positive, with {tried.unmatched:,} clicks that "
            "fit no list; give files that belong together, or say with --request and --label what joins them. "
            f"{tried.example}"
        )
    return tried


def _would_ingest(console: Console, tried: Trial) -> None:
    counts = tried.counts
    console.print(
        f"Of the first rows: {counts.accepted:,} events accepted ({tried.events}), {counts.duplicate:,} duplicate, "
        f"{counts.dead:,} refused."
    )
    show_reasons(console, tried.reasons)
    if tried.span is not None:
        console.print(f"Event times: {written_time(tried.span[0])} to {written_time(tried.span[1])}")
    console.print(f"Labels: {tried.labels:,} shown items, {tried.positives / tried.labels:.1%} of them positive.")
    for warning in _warnings(tried):
        console.print(warning, style="yellow")


def _questions(console: Console, proposal: Proposal) -> None:
    for question in proposal.open_questions:
        console.print(question, style="yellow", highlight=False)


def _warnings(tried: Trial) -> list[str]:
    found = []
    if not tried.positives:
        found.append("All positive labels stand further on in the file.")
    if not tried.negatives:
        found.append(
            "All of them are positive, of which nothing can be learned: the files seem to lack what was not clicked."
        )
    if tried.unmatched > tried.positives:
        found.append(f"{tried.unmatched:,} clicks fit no list among the first rows.")
    if tried.late:
        found.append(f"{tried.late:,} events are not in the order of time: ingest with --sort.")
    return found


def _show_columns(console: Console, described: Sequence[Described], mappings: Sequence[ProposedMapping] = ()) -> None:
    for one in described:
        read = {
            feature.column.name: feature.source
            for mapping in mappings
            if mapping.of.path == one.path
            for feature in mapping.features
        }
        console.print(_columns(one, read))
        for note in one.sample.notes:
            console.print(note)


def _columns(one: Described, read: Mapping[str, str]) -> Table:
    """`read`: by column, the source of the field that reads it."""
    sample = one.sample
    rows = f"{'all' if sample.whole else 'the first'} {sample.rows:,} rows"
    table = Table(box=None, pad_edge=False, title=f"{one.path}: {rows}", title_justify="left")
    for heading in ("column", "type", "missing", "different"):
        table.add_column(heading, no_wrap=True, overflow="ellipsis", max_width=_WIDEST)
    for heading in ("examples", "guess"):  # wrapped, so that the narrowest terminal shows all of them
        table.add_column(heading, overflow="fold", ratio=1)
    guesses = {name: f"feature: {source}" for name, source in read.items()}
    guesses |= {guess.name: f"{role}: {guess.reason}" for role, found in one.roles.found.items() for guess in found}
    for name, cells in sample.columns.items():
        column = Column(name, cells)
        examples = ", ".join(text[:30] for text in list(column.elements)[:_EXAMPLES])
        kind = f"list ({column.separator})" if column.separator else column.type
        table.add_row(name, kind, f"{column.missing:,}", f"{len(column.elements):,}", examples, guesses.get(name, ""))
    return table
