"""One row per shown item: neighbouring rows of one request are a list, whatever the blocks they are read in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import InvalidValueError
from streaming.ingest.counts import Counts
from streaming.ingest.formats import sources
from streaming.ingest.formats.open_source import open_source
from streaming.ingest.formats.sources import BEGIN, Block, Position
from streaming.ingest.mapping.column_mapping import Mapping
from tests.streaming.ingest.shapes.tables import ingested

COLUMNS = {"id": "r", "time": "t", "user": "u", "item": "i", "actions.click": "y"}
SHOWN = Mapping("shown", COLUMNS)


def blocks(path: Path, start: Position = BEGIN) -> list[Block]:
    return [block for block in open_source(path, SHOWN).blocks(start) if isinstance(block, Block)]


def test_rows_of_one_request_are_a_list(tmp_path: Path) -> None:
    columns = COLUMNS | {"features.device": "d", "item_features.price": "p", "propensities": "q"}
    mapping = Mapping("shown", columns, kinds={"price": "numeric"})
    content = (
        "r,t,u,i,y,d,p,q\nr1,5,u,a,0,phone,1.5,0.5\nr1,6,u,b,1,tablet,2,0.25\nr2,7,v,a,0,,3,1\nr3,8,w,c|d,true,,,1\n"
    )
    found = ingested(tmp_path / "a.csv", content, mapping)
    assert [(one.id, one.time, one.user, one.items) for one in found.lists] == [
        ("r1", 5, "u", ["a", "b"]),
        ("r2", 7, "v", ["a"]),
        ("r3", 8, "w", ["c|d"]),
    ]
    assert found.lists[0].features == {"device": "phone"}
    assert found.lists[0].item_features == {"price": [1.5, 2]}
    assert found.lists[0].propensities == [0.5, 0.25]
    assert [(one.impression, one.item, one.time) for one in found.done] == [("r1", "b", 6), ("r3", "c|d", 8)]
    assert found.counts == Counts(5)


@pytest.mark.slow
@given(
    groups=st.lists(st.tuples(st.sampled_from("uvw"), st.lists(st.sampled_from("abcde"), min_size=1, unique=True))),
    size=st.integers(1, 60),
    data=st.data(),
)
def test_lists_do_not_depend_on_blocks_and_reading_goes_on_at_their_ends(
    tmp_path_factory: pytest.TempPathFactory, groups: list[Any], size: int, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("shown") / "a.csv"
    lines = [f"r{n},{n},{user},{item},1\n" for n, (user, items) in enumerate(groups) for item in items]
    path.write_text("r,t,u,i,y\n" + "".join(lines))
    whole = [line for block in blocks(path) for line in block.lines]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "READ_BYTES", size)
        parts = blocks(path)
        assert [line for block in parts for line in block.lines] == whole
        cut = data.draw(st.integers(0, len(parts)))
        before = [line for block in parts[:cut] for line in block.lines]
        after = [line for block in blocks(path, parts[cut - 1].end if cut else BEGIN) for line in block.lines]
        assert before + after == whole


def test_rows_without_a_request_are_lists_of_their_own(tmp_path: Path) -> None:
    columns = {name: column for name, column in COLUMNS.items() if name != "id"}
    content = "t,u,i,y\n5,u,a,1\n5,u,a,1\n5,u,b,0\n"
    found = ingested(tmp_path / "a.csv", content, Mapping("shown", columns))
    assert [one.items for one in found.lists] == [["a"], ["a"], ["b"]]
    assert len({one.id for one in found.lists}) == 3
    assert len(found.done) == 2
    again = ingested(tmp_path / "a.csv", content, Mapping("shown", columns))
    assert [one.id for one in again.lists] == [one.id for one in found.lists]


def test_rows_of_one_user_and_time_are_a_list(tmp_path: Path) -> None:
    mapping = Mapping("shown", COLUMNS | {"id": ["u", "t"]})
    found = ingested(tmp_path / "a.csv", "t,u,i,y\n5,u,a,0\n5,u,b,1\n6,u,a,0\n6,v,a,0\n", mapping)
    assert [(one.id, one.items) for one in found.lists] == [("u:5", ["a", "b"]), ("u:6", ["a"]), ("v:6", ["a"])]
    assert found.clicks == [("u:5", "b", "click")]


def test_values_of_the_label_and_several_actions(tmp_path: Path) -> None:
    mapping = Mapping("shown", COLUMNS | {"actions.buy": "b"}, positive_values=("yes", "2"))
    content = "r,t,u,i,y,b\nr,5,u,a,no,0\nr,5,u,b,yes,1\nr,5,u,c,,2\nr,5,u,d,1,2.0\n"
    found = ingested(tmp_path / "a.csv", content, mapping)
    assert found.clicks == [("r", "b", "click"), ("r", "c", "buy"), ("r", "d", "buy")]


def test_a_row_that_cannot_be_read_costs_its_item_only(tmp_path: Path) -> None:
    found = ingested(tmp_path / "a.csv", "r,t,u,i,y\nr,5,u,a,0\nr,soon,u,b,1\nr,5,u,,1\nr,5,u,c,1\n", SHOWN)
    assert [one.items for one in found.lists] == [["a", "c"]]
    assert [line for line, _ in found.dead] == [3, 4]


def test_no_interaction_is_left_of_a_list_that_is_refused(tmp_path: Path) -> None:
    found = ingested(tmp_path / "a.csv", "r,t,u,i,y\nr,5,,a,1\nq,5,u,b,1\nq,5,u,b,1\n", SHOWN)
    assert found.counts == Counts(0, 0, 2)


def test_files_without_times_and_users(tmp_path: Path) -> None:
    columns = {"item": "ad", "actions.click": "label"}
    mapping = Mapping("shown", columns, start=1_000, interval=10, anonymous="request")
    found = ingested(tmp_path / "a.tsv", "1\tx\n0\ty\n", mapping, text={"header": ("label", "ad")})
    assert [(one.time, one.items) for one in found.lists] == [(1_000, ["x"]), (1_010, ["y"])]
    assert [one.user for one in found.lists] == [f"anonymous:{one.id}" for one in found.lists]
    with pytest.raises(InvalidValueError, match="start: a column has the times already"):
        Mapping("shown", COLUMNS, start=5)
    with pytest.raises(InvalidValueError, match="a row of kind 'shown' needs time, user, item, actions"):
        Mapping("shown", columns)


LIBSVM = """1 qid:7 3:1 12:0.5 # first
-1 qid:7 4:1 12:1.5
# nothing

0 qid:8 3:1
1 qid:8 5
"""


def test_libsvm_and_libfm(tmp_path: Path) -> None:
    columns = {
        "id": "qid", "item": "#1", "actions.click": "label", "item_features.score": "12", "item_features.on": "indices",
    }  # fmt: skip
    mapping = Mapping("shown", columns, kinds={"score": "numeric"}, start=0, anonymous="request")
    found = ingested(tmp_path / "a.libsvm", LIBSVM, mapping)
    assert [(one.id, one.items) for one in found.lists] == [("7", ["3", "4"]), ("8", ["3"])]
    assert found.lists[0].item_features == {"score": [0.5, 1.5], "on": [["3", "12"], ["4", "12"]]}
    assert found.clicks == [("7", "3", "click")]
    assert found.dead == [(6, "'5' is not a pair of index and value")]
    with pytest.raises(InvalidValueError, match="has no column 'user'; it has label, qid, indices"):
        open_source(tmp_path / "a.libsvm", Mapping("shown", columns | {"user": "user"}, start=0))
