"""What is kept comes back to the bit; a trainer that goes on from a checkpoint keeps no step twice."""

import errno
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.errors import StateError
from streaming.encode.batch import Jagged, TrainingBatch
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.encode.user_rows import user_ids
from streaming.kept.batch_files import batch_files
from streaming.kept.batch_format import BatchFileWriter, BatchOrigin, KeptBatch, read_batches
from streaming.kept.batches_place import BatchesPlace
from streaming.kept.kept_batches import KeptBatches
from streaming.log import durable_files

SPEC = FeatureSpec.of(
    [
        Field("user", "categorical", "user"),
        Field("tags", "multi", "item.tags"),
        Field("age", "numeric", "request.age"),
        Field("price", "numeric", "item.price"),
    ]
)
ORIGIN = BatchOrigin(SPEC.to_json().decode(), {"wait": 5})
USERS = ("u0", "u1", "u2", "u3")


def batch(step: int, rows: int = 4) -> TrainingBatch:
    """The users in turn; other values are drawn."""
    rng = np.random.default_rng(step)
    lengths_B = rng.integers(0, 3, rows, np.int32)
    users_U = user_ids(SPEC, USERS)["user"]
    return TrainingBatch(
        ids={
            "user": Jagged(users_U[np.arange(rows) % len(USERS)], np.ones(rows, np.int32)),
            "tags": Jagged(rng.integers(0, 1 << 64, lengths_B.sum(), np.uint64), lengths_B),
        },
        numeric_BN=np.where(rng.random((rows, 2)) < 0.3, np.nan, rng.random((rows, 2))).astype(np.float32),
        labels_B=rng.integers(0, 2, rows).astype(np.float32),
        counted_B=rng.integers(0, 2, rows).astype(np.float32),
        keys_B=rng.integers(0, 1 << 62, rows),
        tasks_B=rng.integers(0, 2, rows),
        weights_B=rng.random(rows, np.float32),
        propensities_B=rng.random(rows, np.float32),
        positions_B=rng.integers(-1, 9, rows, np.int32),
        times_B=rng.integers(0, 1 << 40, rows),
        now=100 * step,
        cursor=(step, 2 * step),
        clock=100 * step + 1,
    )


def bits(kept: KeptBatch) -> tuple[Any, ...]:
    """All of a batch, as it is in memory."""
    rows = kept.batch
    ids = {name: (one.values.tobytes(), one.lengths_B.tobytes()) for name, one in rows.ids.items()}
    columns = {name: (str(getattr(rows, name).dtype), getattr(rows, name).tobytes()) for name in rows.columns()}
    return kept.step, kept.erased, ids, columns, rows.numeric_BN.shape, rows.now, rows.clock, rows.cursor


def everything(folder: Path) -> list[tuple[Any, ...]]:
    return [bits(kept) for run in sorted(folder.iterdir()) for file in batch_files(run) for kept in file.batches()]


def keep(kept: KeptBatches, steps: Iterable[int]) -> None:
    for step in steps:
        kept.add(step, batch(step))
    kept.end_file()()


def test_batches_come_back_to_the_bit() -> None:
    given = [KeptBatch(1, batch(1)), KeptBatch(2, batch(2, 1), ("u9",)), KeptBatch(3, batch(3, 7))]
    writer = BatchFileWriter(ORIGIN)
    for one in given:
        writer.add(one)
    found = [*read_batches(writer.finish())]
    assert [*map(bits, found)] == [*map(bits, given)]
    assert all(column.flags.writeable for one in found for column in (one.batch.labels_B, one.batch.numeric_BN))


def test_any_program_that_reads_arrow_reads_the_files(tmp_path: Path) -> None:
    import pyarrow.feather

    kept = KeptBatches(tmp_path, ORIGIN)
    kept.begin("run", 0)
    keep(kept, [1, 2])
    table = pyarrow.feather.read_table(batch_files(tmp_path / "run")[0].path)
    assert table.column("labels").to_pylist() == [*batch(1).labels_B, *batch(2).labels_B]


@pytest.mark.parametrize("goes_on_from", [0, 2, 3, 4, 6])
def test_steps_after_the_checkpoint_that_training_goes_on_from_are_kept_once(tmp_path: Path, goes_on_from: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        kept = KeptBatches(folder, ORIGIN)
        kept.begin("run", 0)
        for first in (1, 3, 5):
            keep(kept, [first, first + 1])
    assert len(batch_files(killed / "run")) == 3
    again = KeptBatches(killed, ORIGIN)
    again.begin("run", goes_on_from)
    assert [step for step, *_ in everything(killed)] == [*range(1, goes_on_from + 1)]
    keep(again, range(goes_on_from + 1, 7))
    assert everything(killed) == everything(whole)


def test_a_run_that_begins_anew_leaves_the_batches_of_another(tmp_path: Path) -> None:
    for run in ("one", "two"):
        kept = KeptBatches(tmp_path, ORIGIN)
        kept.begin(run, 0)
        keep(kept, [1])
    assert [step for step, *_ in everything(tmp_path)] == [1, 1]


def test_what_is_older_than_is_to_be_kept_goes(tmp_path: Path) -> None:
    old = KeptBatches(tmp_path, ORIGIN)
    old.begin("old", 0)
    keep(old, [1])
    kept = KeptBatches(tmp_path, ORIGIN, keep=250)
    kept.begin("new", 0)
    for step in range(1, 7):
        keep(kept, [step])
    assert [file.first for file in batch_files(tmp_path / "new")] == [4, 5, 6]
    assert not (tmp_path / "old").exists()


def test_what_a_full_disk_has_not_taken_is_written_with_the_next(tmp_path: Path, monkeypatch: Any) -> None:
    kept = KeptBatches(tmp_path, ORIGIN)
    kept.begin("run", 0)
    full = iter([OSError(errno.ENOSPC, "No space left on device")])

    def replace(path: Path, data: bytes) -> None:
        if error := next(full, None):
            raise error
        durable_files.replace(path, data)

    monkeypatch.setattr("streaming.kept.batch_files.replace", replace)
    with pytest.raises(OSError, match="No space"):
        keep(kept, [1, 2])
    assert everything(tmp_path) == []
    keep(kept, [3])
    assert [step for step, *_ in everything(tmp_path)] == [1, 2, 3]


def flips(data: bytes) -> Iterator[bytes]:
    for place in range(0, len(data), max(len(data) // 20, 1)):
        yield data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        yield data[:place]


def test_a_flipped_bit_and_a_missing_end_are_named(tmp_path: Path) -> None:
    kept = KeptBatches(tmp_path, ORIGIN)
    kept.begin("run", 0)
    keep(kept, [1, 2])
    (file,) = batch_files(tmp_path / "run")
    for damaged in flips(file.path.read_bytes()):
        file.path.write_bytes(damaged)
        with pytest.raises(StateError, match="is damaged"):
            [*file.batches()]


def test_an_erased_user_goes_from_files_and_from_what_is_not_written(tmp_path: Path) -> None:
    kept = KeptBatches(tmp_path, ORIGIN)
    kept.begin("run", 0)
    keep(kept, [1, 2])
    place = BatchesPlace(tmp_path, ["u1", "nobody"])
    assert place.count() == 2
    place.remove()
    assert place.count() == 0
    kept.add(3, batch(3))
    kept.forget(["u1"])
    keep(kept, [4])
    assert place.count() == 1, "who came back after the erasure"
    found = [one for file in batch_files(tmp_path / "run") for one in file.batches()]
    assert [(one.step, len(one.batch), one.erased) for one in found] == [
        (1, 3, ()),
        (2, 3, ()),
        (3, 3, ()),
        (4, 4, ("u1",)),
    ]


def test_rows_that_were_written_after_the_erasure_was_asked_for_go_once_the_trainer_reads_of_it(tmp_path: Path) -> None:
    kept, place = KeptBatches(tmp_path, ORIGIN), BatchesPlace(tmp_path, ["u1"])
    kept.begin("run", 0)
    kept.add(1, batch(1))
    place.remove()
    keep(kept, [2])
    assert place.count() == 2
    kept.forget(["u1"])
    keep(kept, [3])
    assert place.count() == 1, "who came back after the erasure"
    assert [(step, len(columns["labels_B"][1]) // 4) for step, _, _, columns, *_ in everything(tmp_path)] == [
        (1, 3),
        (2, 3),
        (3, 4),
    ]


def test_a_damaged_file_does_not_keep_an_erasure_from_others_or_a_checkpoint(tmp_path: Path, caplog: Any) -> None:
    kept = KeptBatches(tmp_path, ORIGIN)
    kept.begin("run", 0)
    keep(kept, [1])
    keep(kept, [2])
    first, second = batch_files(tmp_path / "run")
    first.path.write_bytes(first.path.read_bytes()[:-1])
    kept.forget(["u1"])
    keep(kept, [3])
    assert f"erased users may be left in it: {first.path} is damaged" in caplog.text
    _, other, third = batch_files(tmp_path / "run")
    assert (other.rows_of(["u1"]), third.first, second.path.exists()) == (0, 3, False)


def test_what_a_killed_writer_left_goes_when_its_run_goes_on_and_with_an_erasure(tmp_path: Path) -> None:
    kept = KeptBatches(tmp_path, ORIGIN)
    kept.begin("run", 0)
    keep(kept, [1])
    (file,) = batch_files(tmp_path / "run")
    left = file.path.with_name(f".{file.path.name}.4711")
    left.write_bytes(b"half")
    kept.begin("run", 1)
    assert not left.exists()
    left.write_bytes(b"half")
    BatchesPlace(tmp_path, ["u1"]).remove()
    assert not left.exists()


def test_a_file_that_retention_removes_meanwhile_has_no_rows_of_anybody(tmp_path: Path) -> None:
    kept = KeptBatches(tmp_path, ORIGIN)
    kept.begin("run", 0)
    keep(kept, [1])
    (file,) = batch_files(tmp_path / "run")
    assert file.rows_of(["u1"]) == 1
    file.path.unlink()
    file.drop(["u1"])
    assert file.rows_of(["u1"]) == 0


def test_a_trainer_whose_run_became_old_by_that_of_another_goes_on(tmp_path: Path) -> None:
    behind, ahead = (KeptBatches(tmp_path, ORIGIN, keep=100) for _ in range(2))
    behind.begin("behind", 0)
    keep(behind, [1])
    ahead.begin("ahead", 0)
    keep(ahead, [50])
    assert not (tmp_path / "behind").exists()
    keep(behind, [2])
    assert [file.first for file in batch_files(tmp_path / "behind")] == [2]


def test_something_else_in_an_old_run_does_not_keep_a_trainer_from_its_checkpoint(tmp_path: Path) -> None:
    kept = KeptBatches(tmp_path, ORIGIN, keep=100)
    for run, step in (("old", 1), ("new", 50)):
        kept.begin(run, 0)
        (tmp_path / run / "notes").touch()
        keep(kept, [step])
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["notes"]


def test_a_batch_may_have_lost_all_its_rows(tmp_path: Path) -> None:
    kept = KeptBatches(tmp_path, ORIGIN)
    kept.begin("run", 0)
    kept.add(1, batch(1, 1))
    kept.forget(["u0"])
    kept.end_file()()
    ((one,),) = ([*file.batches()] for file in batch_files(tmp_path / "run"))
    assert len(one.batch) == 0
    assert one.batch.numeric_BN.shape == (0, 2)


def test_batches_of_other_settings_or_features_differ() -> None:
    fewer = BatchOrigin(FeatureSpec.of(SPEC.fields[:2]).to_json().decode(), {"wait": 6})
    assert ORIGIN.differences(ORIGIN) == []
    assert ORIGIN.differences(fewer) == ["features", "wait"]
