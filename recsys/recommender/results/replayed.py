"""The result of a replay, for a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.evaluation.replay.replay_result import ReplayResult
from recsys.evaluation.replay.report import replay_report
from recsys.recommender.results.frame import Frame

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Drawing:
    """A plot that a notebook displays."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> None:
        """Write the SVG file."""
        Path(path).write_text(self.svg, "utf-8")


class ResultTable(Frame):
    """Rows and columns of a result."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def to_arrow(self) -> pa.Table:
        return self._table

    def __repr__(self) -> str:
        return repr(self._table)

    def _repr_html_(self) -> str:
        rows = [[_text(value) for value in row.values()] for row in self._table.to_pylist()]
        return html_table(self._table.column_names, rows)


class Replayed:
    """Arms of a replay: `frozen`, which keeps the weights of the batch stage, and one per refresh rule.

    A notebook displays its table and the AUC over time. How to read it: `docs/replay.md`.
    """

    def __init__(self, result: ReplayResult) -> None:
        self.result = result
        """Every figure, as in `result.json`."""

    @property
    def summary(self) -> str:
        """The table of arms as Markdown."""
        return replay_report.markdown(self.result)

    @cached_property
    def arms(self) -> ResultTable:
        """One row per arm, with its figures over all rows, by interval, and its gain over the frozen arm."""
        import pyarrow as pa

        return ResultTable(pa.Table.from_pylist([_arm(arm) for arm in self.result.arms]))

    @cached_property
    def over_time(self) -> ResultTable:
        """The AUC of each arm in each window: columns `arm`, `start` (UTC), `rows`, `auc`."""
        import pyarrow as pa

        rows = [
            {
                "arm": arm.name,
                "start": datetime.fromtimestamp(window.start / 1000, UTC),
                "rows": window.rows,
                "auc": auc,
            }
            for arm in self.result.arms
            for window, auc in zip(self.result.windows, arm.window_auc, strict=True)
        ]
        return ResultTable(pa.Table.from_pylist(rows))

    @cached_property
    def figures(self) -> dict[str, Drawing]:
        """The plots of the report by name: `over_time`, `by_interval`, `reliability`, `slices`."""
        from recsys.evaluation.replay.report import plots

        drawn = (plots.over_time, plots.by_interval, plots.reliability, plots.slices)
        return {draw.__name__: Drawing(draw(self.result)) for draw in drawn}

    def save(self, folder: str | Path) -> None:
        """Write the report of `recsys replay`: `report.html`, `result.json`, `table.md` and plots."""
        replay_report.write(self.result, Path(folder))

    def __repr__(self) -> str:
        stage = f"{replay_report.moment(self.result.batch_until)} to {replay_report.moment(self.result.until)} UTC"
        return f"Online stage {stage}\n{self.summary}"

    def _repr_html_(self) -> str:
        names = [name for name, _ in replay_report.columns()]
        drawing = self.figures["over_time"].svg
        return html_table(names, [replay_report.cells(arm) for arm in self.result.arms]) + drawing


def html_table(names: list[str], rows: list[list[str]]) -> str:
    """A plain table, in the style of the notebook."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _arm(arm: Any) -> dict[str, Any]:
    gain = arm.gains[0] if arm.gains else None
    return {
        "arm": arm.name,
        "refreshes": arm.refreshes,
        **arm.all,
        "interval_auc": arm.interval_auc,
        "frozen_interval_auc": arm.frozen_interval_auc,
        "gain": gain.auc if gain else None,
        "gain_low": gain.low if gain else None,
        "gain_high": gain.high if gain else None,
        "known_users": arm.known_users,
        "known_items": arm.known_items,
    }


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)
