"""What a proposal had to decide without knowing, in sentences: only the user can say whether it is right."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from recsys.config.sections.learning.training import TrainingSection
from recsys.config.units import written
from recsys.proposal.columns.column import is_number
from recsys.proposal.columns.likeness import odd_cells, one_truth, two_valued
from recsys.proposal.columns.vocabulary import known, says, tokens
from recsys.proposal.mappings.mapping import Noted, ProposedMapping
from recsys.proposal.wording.left_out import left_out, of_lists_only

_BOUGHT: Final = frozenset(
    {"purchase", "purchases", "purchased", "bought", "buy", "order", "orders", "ordered", "transaction", "transactions"}
)
"""Words of actions, columns and files that say that something was bought."""
_LEVELS: Final = 20
"""Different numbers from which on a column says how much, rather than which."""
_NUMBERS: Final = 8
"""Most actions in a sentence."""


def open_questions(mappings: Sequence[ProposedMapping], training: Mapping[str, Noted]) -> Iterator[str]:
    """One sentence for each."""
    for one in mappings:
        yield from _times(one)
        yield from _users(one)
        yield from _numbered_actions(one)
        yield from _scores(one)
        yield from _mixed_numbers(one)
        yield from _possible_labels(one)
        yield from left_out(one)
    yield from of_lists_only(mappings)
    actions = training["positive"].value
    bought = [action for action in actions if _BOUGHT.intersection(tokens(action))]
    measured = any(one.kind == "interaction" for one in mappings)  # from the times of lists and of what was done
    if not measured and "wait" not in training and (bought or (mappings and all(_purchases(one) for one in mappings))):
        yield (
            "The rows say when something was bought, and not how long after it was shown, so that no wait is measured: "
            f"what a server shows waits {written(TrainingSection().wait)} ([training] wait) for it before it counts as "
            "not bought; write a longer one if purchases come later."
        )
    if "click" not in actions:
        names = " or ".join(map(repr, actions))
        value = ", with a value" if "min_value" in training else ""
        yield f"What counts is an interaction whose action is {names}{value}: events sent to the server have to say so."


def _times(one: ProposedMapping) -> Iterator[str]:
    reading = one.of.roles.reading
    if reading is not None and reading.doubt:
        name = one.of.roles.names("time")[0]
        yield f"{one.of.path}: {name!r} is read as {reading.form}: of the values that were tried {reading.doubt}."


def _users(one: ProposedMapping) -> Iterator[str]:
    if "anonymous" in one.settings and "user" not in one.columns:
        yield (
            f"{one.of.path}: no column identifies a user, so that each list gets a user of its own "
            '(anonymous = "request") and nobody is known again; if one does, say --user COLUMN.'
        )


def _numbered_actions(one: ProposedMapping) -> Iterator[str]:
    action = one.of.roles.column("action") if "action" in one.columns else None
    if action is not None and action.type == "integer":
        words = ", ".join(list(action.distinct)[:_NUMBERS])
        yield (
            f"{one.of.path}: what the numbers in {action.name!r} ({words}) mean, only you know: leave in [training] "
            "positive those of what counts."
        )


def _possible_labels(one: ProposedMapping) -> Iterator[str]:
    """Columns that may say of each row whether something was done, where every row is taken as that."""
    for column in one.of.roles.others if one.kind == "feedback" else ():
        unclear = says("label", column.name) or (two_valued(column) and not known(column.name))
        if len(column.distinct) == 2 and column.type in ("text", "integer") and unclear:
            one_value, other = sorted(column.distinct)  # of 0 and 1 the second one means yes
            yield (
                f"{one.of.path}: every row is taken as something a user did, whatever {column.name!r} says; if one of "
                f"its values, {one_value!r} and {other!r}, means that nothing was done, say --label {column.name} "
                f"--positive {other!r} (the one that means yes)."
            )
        if odd := odd_cells(column):
            usual = " and ".join(repr(word) for word in sorted(column.distinct) if word not in odd)
            yield (
                f"{one.of.path}: every row is taken as something a user did, whatever {column.name!r} says; its values "
                f"are {usual} but for {sum(odd.values()):,} of the first {len(column.values):,}: if it is a label, say "
                f"--label {column.name} --positive VALUE."
            )
        if one_truth(column) and says("label", column.name):
            yield (
                f"{one.of.path}: {column.name!r} is {column.texts[0]} in all rows that were looked at, so that every "
                "row is taken as something a user did, and what was not chosen is drawn from the rows of others; if "
                f"rows with another value are things shown and not chosen, say --label {column.name}."
            )


def _mixed_numbers(one: ProposedMapping) -> Iterator[str]:
    """Columns of numbers but for a few cells, which are no numeric fields for these."""
    for column in one.of.roles.others:
        odd = {word: count for word, count in column.distinct.items() if not is_number(word)}
        count = sum(odd.values())
        if column.type == "text" and len(column.distinct) - len(odd) > _LEVELS and 20 * count <= len(column.values):
            yield (
                f"{one.of.path}: {column.name!r} is no field of numbers, since {count:,} of the first "
                f"{len(column.values):,} values are none, such as {next(iter(odd))!r}: correct or empty them."
            )


def _scores(one: ProposedMapping) -> Iterator[str]:
    """Numbers without levels that are called a rating, of rows that are events: they may say anything."""
    for feature in one.features if one.kind == "feedback" else ():
        name = feature.column.name
        if feature.kind == "numeric" and says("rating", name) == 3:
            yield (
                f"{one.of.path}: what the numbers in {name!r} ({feature.note}) mean, only you know: they are an input "
                f"of the model; if they say how much the user liked the item, write value = {json.dumps(name)} in "
                f"place of {feature.field}, delete the field {feature.name!r} of [features], and say from which number "
                "on it counts with [training] min_value."
            )


def _purchases(one: ProposedMapping) -> bool:
    """Whether a log without actions is of purchases, by the name of its file or of a column."""
    names = [one.of.path.stem, *one.of.sample.columns]
    return one.kind == "feedback" and any(_BOUGHT.intersection(tokens(name)) for name in names)
