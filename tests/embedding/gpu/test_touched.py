"""Export of touched rows."""

from __future__ import annotations

import pytest
import torch

from embedding.gpu.touched import TouchedRows
from tests.embedding.gpu.reference import Checked


def ids_of(touched: TouchedRows) -> set[int]:
    ids, _ = touched.export()
    return set(ids.tolist())


@pytest.fixture
def checked(device: str) -> Checked:
    checked = Checked(1000, device)
    checked.insert(list(range(300)))
    return checked


def test_exports_ids_with_the_rows_that_were_marked(checked: Checked) -> None:
    touched = TouchedRows(checked.table)
    marked = list(range(0, 300, 7))
    touched.mark(checked.table.find(checked.tensor(marked + marked + [999])))
    ids, rows = touched.export()
    assert dict(zip(ids.tolist(), rows.tolist(), strict=True)) == {
        one: checked.reference.entries[one].row for one in marked
    }


def test_repeats_until_acknowledged_and_forgets_nothing_marked_since(checked: Checked) -> None:
    touched = TouchedRows(checked.table)
    touched.mark(checked.table.find(checked.tensor([1, 2])))
    assert ids_of(touched) == {1, 2}
    assert ids_of(touched) == {1, 2}
    touched.mark(checked.table.find(checked.tensor([2, 3])))
    touched.acknowledge()
    assert ids_of(touched) == {2, 3}
    touched.acknowledge()
    assert ids_of(touched) == set()


def test_every_row_has_a_bit_of_its_own(checked: Checked) -> None:
    touched = TouchedRows(checked.table)
    for one in [*range(0, 300, 37), 299]:
        touched.mark(checked.table.find(checked.tensor([one])))
        assert ids_of(touched) == {one}
        touched.acknowledge()


def test_ids_that_expired_are_not_exported_and_their_rows_next_ids_are(checked: Checked) -> None:
    touched = TouchedRows(checked.table)
    checked.insert([5, 6], minute=9)
    touched.mark(checked.table.find(checked.tensor(list(range(10)))))
    checked.expire(9)
    assert ids_of(touched) == {5, 6}
    touched.mark(checked.table.find_or_insert(checked.tensor([1000]), 9)[0])
    assert {5, 6, 1000} <= ids_of(touched)


def test_nothing_marked_and_rows_refused(checked: Checked) -> None:
    touched = TouchedRows(checked.table)
    touched.mark(torch.empty(0, dtype=torch.int64, device=checked.device))
    touched.mark(checked.tensor([-1, -1]))
    assert ids_of(touched) == set()
    with pytest.raises(ValueError, match="int64"):
        touched.mark(torch.zeros(3))
