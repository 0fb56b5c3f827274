"""What `train` and `replay` say about the labels in the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing

from recsys import wiring
from recsys.config.schema import Config
from recsys.feature_survey import feature_doubts
from recsys.group_survey import group_doubts
from recsys.log_survey import action_doubts, one_label, unmet


def log_warnings(config: Config) -> Iterator[str]:
    """Actions, features and groups of items that the log lacks, and actions in it that nothing is learned from."""
    with closing(wiring.event_log(config)) as log:
        fields = wiring.spec(config).fields
        yield from action_doubts(log, wiring.tasks(config), fields)
        yield from feature_doubts(log, fields)
        yield from group_doubts(log, config.serving.minimums)


def label_warnings(config: Config, labels: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    """What looks wrong with the `labels` that were learned: by task their number, and how many are positive."""
    tasks = wiring.tasks(config)
    for task in tasks:
        count, positives = labels[task.name]
        if not 0 < positives < count:
            of = f" of {task.name}" if len(tasks) > 1 else ""
            with closing(wiring.event_log(config)) as log:
                yield from filter(None, [one_label(count, positives, task, of), unmet(log, task)])
