"""What was done with an item, and which of it makes a label positive."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from recsys.config.units import milliseconds
from recsys.proposal.columns.column import Column
from recsys.proposal.columns.likeness import FALSE
from recsys.proposal.columns.vocabulary import ACTIONS, NOT_POSITIVE, SHOWN_ACTIONS, VERBS, says, tokens
from recsys.proposal.files.sample import Sample
from recsys.proposal.mappings.mapping import Noted, ProposedMapping
from recsys.proposal.roles.roles import Guess

_ENOUGH: Final = 2000
"""Rows by which the gaps between events are judged."""


def add_labels(made: ProposedMapping) -> None:
    """Map the columns that say what was done with an item, and propose what counts as a positive label."""
    roles = made.of.roles
    if "clicked" in roles:
        made.columns["actions.click"] = Noted(roles.names("clicked")[0], roles.found["clicked"][0].reason)
    if "marked" in roles or "clicked" in roles:
        made.positive = Noted(["click"])
    elif made.kind == "shown" and "label" in roles:
        _labels(made)
    elif made.kind == "interaction" and "label" in roles:
        _interactions(made)
    elif "rating" in roles and made.kind in ("shown", "interaction", "feedback"):
        _rating(made)
    elif made.kind in ("interaction", "feedback"):
        _actions(made)
    if made.kind == "feedback":
        _pairs(made)


def _labels(made: ProposedMapping) -> None:
    labels = made.of.roles.found["label"]
    actions = _action_names([_verb(guess) for guess in labels])
    for action, guess in zip(actions, labels, strict=True):
        made.columns[f"actions.{action}"] = Noted(guess.name, guess.reason)
    words = {text for guess in labels for text in guess.column.distinct}
    no_is_yes = any(word.lower() in FALSE for guess in labels for word in guess.yes)
    if no_is_yes or not words <= {"0", "1", "-1", "True", "False", "true", "false"}:
        yes = sorted({word for guess in labels for word in guess.column.distinct if guess.means_yes(word)})
        yes += [word.lower() for word in yes if word in ("True", "False")]  # as truths of JSON are compared
        made.settings["positive_values"] = Noted(yes, "what means yes; every other value means no")
    shares = [Noted([action], _share(guess, made.of.sample)) for action, guess in zip(actions, labels, strict=True)]
    made.positive, made.tasks = shares[0], dict(zip(actions[1:], shares[1:], strict=True))


def _share(guess: Guess, sample: Sample) -> str:
    positives = sum(count for word, count in guess.column.distinct.items() if guess.means_yes(word))
    cells = guess.column.cells if guess.yes else guess.column.values
    which = "" if sample.whole else f"first {len(guess.column.cells):,} "
    return f"{positives / max(len(cells), 1):.1%} of the {which}rows"


def _verb(guess: Guess) -> str:
    """The name that tells the action: that of the column, or the word for yes where it has none."""
    verbs = ACTIONS | VERBS.keys()
    named = verbs.intersection(tokens(guess.name)) or len(guess.yes) != 1
    return guess.name if named else guess.yes[0]


def _interactions(made: ProposedMapping) -> None:
    """Of rows that say what was done with an item of a list in another file: those in which it was."""
    guess = made.of.roles.found["label"][0]
    if guess.yes and says("action", guess.name):
        made.add_column("action", [guess])
        made.positive = Noted(list(guess.yes), _share(guess, made.of.sample))
        return
    yes = [word for word in guess.column.distinct if guess.means_yes(word)]
    made.settings["where"] = Noted({guess.name: yes[0] if len(yes) == 1 else yes}, "other rows say nothing was done")
    made.positive = Noted(["click"], _share(guess, made.of.sample))


_CLICKS: Final = frozenset({"click", "clicked", "clk", "clicks"})


def _action_names(columns: Sequence[str]) -> list[str]:
    """A name of its own for each label; only the first may be `click` for want of a verb.

    >>> _action_names(["liked", "converted"]), _action_names(["label", "click"])
    (['like', 'converted'], ['click', 'click_'])
    """
    names: list[str] = []
    for column in columns:
        name = _action_name(column)
        if names and name == "click":
            name = "_".join(tokens(column))
        while name in names:
            name += "_"
        names.append(name)
    return names


def _action_name(column: str) -> str:
    """The action that a column of labels tells: `click`, as clients send it, unless its name has another verb.

    >>> [_action_name(name) for name in ("outcome_clicked", "label", "converted", "is_order", "purchased", "y")]
    ['click', 'click', 'click', 'order', 'purchase', 'click']
    """
    words = [word for word in tokens(column) if word in ACTIONS | VERBS.keys()]
    return "click" if not words or _CLICKS.intersection(words) else VERBS.get(words[0], words[0])


def _rating(made: ProposedMapping) -> None:
    rating = made.of.roles.column("rating")
    if rating is None:
        return
    made.columns["value"] = Noted(rating.name, made.of.roles.found["rating"][0].reason)
    if made.kind == "shown":
        made.columns["actions.rate"] = Noted(rating.name, "each row is a rating")
        if min(rating.numbers) <= 0 and not rating.continuous:
            made.settings["positive_values"] = Noted(sorted(rating.distinct, key=float), "every rating is an action")
    elif made.kind == "interaction":
        made.columns.pop("action", None)
    threshold = _threshold(rating)
    share = sum(value >= threshold for value in rating.numbers) / len(rating.numbers)
    made.positive = Noted(["rate" if made.kind == "shown" else "click"])
    made.min_value = Noted(threshold, f"{share:.1%} of the ratings are as high; choose what counts as liking")


def _threshold(rating: Column) -> float:
    """Four fifths of the scale; less if nothing is as high, more if everything is. Without levels the upper quarter."""
    if rating.continuous:
        return float(f"{sorted(rating.numbers)[3 * len(rating.numbers) // 4]:.2g}")
    low, high = min(rating.numbers), max(rating.numbers)
    wanted = 0.8 * high
    levels = sorted(level for level in set(rating.numbers) if level > low)
    return next((level for level in levels if level >= wanted), levels[-1])


def _pairs(made: ProposedMapping) -> None:
    """Wide enough that rows of a log with few events find a partner."""
    roles = made.of.roles
    times = sorted(roles.times(_ENOUGH))
    gaps = sorted(b - a for a, b in pairwise(times))
    usual = gaps[int(0.9 * (len(gaps) - 1))] if gaps else 0
    if 4 * usual > milliseconds("1h"):
        wide = next((span for span in ("1d", "7d", "30d") if milliseconds(span) >= 4 * usual), "365d")
        made.settings["negatives_within"] = Noted(wide, "events are rare: rows so far apart are shown together")


def _actions(made: ProposedMapping) -> None:
    roles = made.of.roles
    action = roles.column("action")
    if action is None:
        made.positive = Noted(["click"])
        return
    made.add_column("action", roles.found["action"])
    ranked = [text for text, _ in action.distinct.most_common()]
    able = [text for text in ranked if _with_items(text, action, roles.column("item"))] or ranked
    chosen = [text for text in able if not (SHOWN_ACTIONS | NOT_POSITIVE).intersection(tokens(text))] or able
    counts = ", ".join(f"{text} {action.distinct[text]:,}" for text in ranked[:8])
    made.positive = Noted(chosen, f"in the first rows: {counts}; leave the ones that count")


def _with_items(word: str, action: Column, item: Column | None) -> bool:
    """Whether most rows with an action name an item."""
    cells = [item.cells[n] for n, cell in enumerate(action.cells) if str(cell) == word] if item is not None else []
    return not cells or sum(not item.is_missing(cell) for cell in cells) > len(cells) / 2  # type: ignore[union-attr]
