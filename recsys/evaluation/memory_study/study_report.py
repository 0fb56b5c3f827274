"""The result of a study for people: a table for a document, and the plot."""

from __future__ import annotations

from pathlib import Path

from recsys.evaluation.memory_study.study_result import MIB, MeasuredSetting, StudyResult, mean
from recsys.evaluation.memory_study.toml import sections
from recsys.evaluation.replay.report.replay_report import figure, gain
from streaming.log.durable_files import replace

COLUMNS = (
    "setting",
    "MiB at most",
    "MiB at the end",
    "ids",
    "evicted",
    "expired",
    "unadmitted",
    "refused",
    "AUC",
    "over unbounded [95 %]",
    "log loss",
    "seeds",
)
"""Ids, evicted and the rest are of all tables, at the end; `unadmitted` and `refused` count look-ups. The interval is
by windows of the online stage, see `recsys.evaluation.replay.arm_figures.gain`; AUC and log loss are means of the
seeds."""
HOW_TO_APPLY = """To use a setting, write it into `recsys.toml`, in place of the capacity, ttl, admission and
threshold of the table. Capacities are numbers of ids: a share is a share of the ids of this log.
"""


def write(result: StudyResult, folder: Path) -> None:
    """`result.json`, `table.md` and `auc_against_memory.svg`."""
    from recsys.evaluation.memory_study import plot  # Matplotlib takes most of a second to import

    folder.mkdir(parents=True, exist_ok=True)
    replace(folder / "result.json", result.to_json())  # atomically: an interrupted study continues from it
    (folder / "table.md").write_text(document(result), "utf-8")
    (folder / "auc_against_memory.svg").write_text(plot.auc_against_memory(result), "utf-8")


def document(result: StudyResult) -> str:
    """The whole table, and how each setting is written into `recsys.toml`."""
    settings = [f"`{point.name}`:\n```toml\n{sections(point)}```\n" for point in result.points if point.family]
    return "\n".join([markdown(result), *([HOW_TO_APPLY, *settings] if settings else [])])


def markdown(result: StudyResult) -> str:
    """The whole table."""
    rule = f"|---|{'---:|' * (len(COLUMNS) - 1)}"
    rows = [f"| {' | '.join(cells(point))} |" for point in result.points]
    below = [line for text in (noise(result), *notes(result)) for line in ("", text)]
    return "\n".join([f"| {' | '.join(COLUMNS)} |", rule, *rows, *below]) + "\n"


def noise(result: StudyResult) -> str:
    """How much AUC varies between seeds."""
    if result.chance is None:
        return "One seed each: how much AUC differs between seeds is unknown."
    return (
        f"Between seeds the AUC of a setting has a standard deviation of {figure(result.seed_deviation)}, and its "
        f"difference to the unbounded store's with the same seed {figure(result.gain_deviation)}: a mean difference "
        f"below {figure(result.chance)} may be chance."
    )


def notes(result: StudyResult) -> list[str]:
    """Caveats of single settings."""
    refusing = [point.name for point in result.points if any(run.total("refused") for run in point.runs)]
    if not refusing:
        return []
    return [
        f"New ids were refused with {', '.join(refusing)}: the capacity is below the ids of one batch of "
        f"{result.config['training']['batch_size']} examples, so that some got no row although the table was full of "
        "this batch's own. That says little about the share on a longer log: try a larger capacity, or a smaller "
        "training.batch_size."
    ]


def size(count: float) -> str:
    """Bytes in MiB, with two decimals or at least three digits.

    >>> size(26444852), size(12516)
    ('25.22', '0.0119')
    """
    mib = count / MIB
    return f"{mib:.2f}" if mib >= 1 else f"{mib:#.3g}"


def cells(point: MeasuredSetting) -> list[str]:
    """The texts of one setting, one per column."""

    def total(counter: str) -> str:
        return f"{mean([run.total(counter) for run in point.runs]) or 0:,.0f}"

    return [
        point.name,
        size(point.most_bytes),
        size(mean([run.bytes for run in point.runs]) or 0),
        *(total(counter) for counter in ("live", "evicted", "expired", "unadmitted", "refused")),
        figure(point.auc),
        gain(point.gain) if point.family else "-",
        figure(point.log_loss),
        f"{len(point.runs)}",
    ]
