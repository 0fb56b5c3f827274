"""Files with rows of several kinds, such as lists and what was done with their items, told apart by a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from recsys.proposal.columns.column import Column
from recsys.proposal.columns.vocabulary import says
from recsys.proposal.files.sample import Sample

_MOST_WORDS: Final = 20


def row_kinds(sample: Sample) -> list[Sample]:
    """The sample, or a part of it with lists and one with items, each with the `where` that tells its rows."""
    columns = [Column(name, cells) for name, cells in sample.columns.items()]
    lists = [one for one in columns if one.type == "list" and one.missing and says("shown", one.name)]
    items = [one for one in columns if one.type in ("text", "integer") and one.missing and says("item", one.name)]
    best: tuple[float, list[Sample]] = (0.0, [sample])
    for word in columns:
        if word.type != "text" or word.missing > len(word.cells) / 2 or not 2 <= len(word.distinct) <= _MOST_WORDS:
            continue
        with_lists, with_items = _words(word, lists), _words(word, items)
        clear = max((says("item", one.name) for one in items if _words(word, [one])), default=0.0)
        if with_lists and with_items and clear > best[0] and not set(with_lists) & set(with_items):
            best = (clear, [rows_with(sample, word, with_lists), rows_with(sample, word, with_items)])
    return best[1]


def _words(word: Column, columns: Sequence[Column]) -> list[str]:
    """The words in whose rows one of the columns mostly has a value."""
    found = []
    for text in word.distinct:
        rows = [n for n, cell in enumerate(word.cells) if cell == text]
        if any(sum(not one.is_missing(one.cells[n]) for n in rows) > len(rows) / 2 for one in columns):
            found.append(text)
    return found


def rows_with(sample: Sample, word: Column, words: Sequence[str]) -> Sample:
    """The rows that have one of the words in that column, and the `where` that tells them."""
    rows = [n for n, cell in enumerate(word.cells) if cell in words]
    columns = {name: [cells[n] for n in rows] for name, cells in sample.columns.items()}
    kept = {name: cells for name, cells in columns.items() if Column(name, cells).type != "empty"}
    where = {word.name: words[0] if len(words) == 1 else list(words)}
    return replace(sample, columns=kept, rows=len(rows), settings={**sample.settings, "where": where})
