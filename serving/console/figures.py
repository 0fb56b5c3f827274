"""Every figure that the console shows, with its definition: what has none cannot be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_DEFINITIONS: Final[dict[str, tuple[str, str]]] = {
    # The server.
    "ready": ("Server", "Ready once every model that an arm needs has been loaded."),
    "processes": ("Processes", "Server processes that answer, of those that share the port."),
    "process": ("Process", "Its number, as in the label of /metrics."),
    "process_ready": ("State", "Ready, or which models are not loaded; one that does not answer is started anew."),
    "versions": ("Versions", "Of the graphs that the process ranks with, by model."),
    "redis": ("Redis", "Whether it answers this server; without it, cached rows are used."),
    "queue": ("Waiting rankings", "Requests that wait for the ranking thread, or are on it."),
    "log_waiting": ("Waiting writes", "Requests whose events are not in the log yet."),
    "connections": ("Connections", "Clients that are connected now."),
    "answers": ("Answers", "Rankings and recommendations answered since the server started, with any status."),
    "degraded": ("Degraded", "Reasons given for degraded answers since the start; an answer may have several."),
    "overload": ("Refused", "Rankings refused with 429 since the start, because they would have been late."),
    # The trainer.
    "said": ("Last word", "Time since the trainer published its status; over 30 s it has ended or lost Redis."),
    "serving_run": ("Run", "Of the trainer; servers follow one run of a model at a time."),
    "step": ("Step", "Optimizer steps since the run began."),
    "rows": ("Rows learned", "Shown items with a label that were learned from; a corrected label counts again."),
    "rate": ("Rate now", "Rows learned a second, over about the last ten seconds."),
    "mean_rate": ("Mean rate", "Events of the log read a second since the trainer started."),
    "lag": ("Lag", "Events in the log that the trainer has not read."),
    "freshness": (
        "Newest label",
        "Age of the newest label learned, in event time; it also grows while nobody clicks. Try a user measures the "
        "way of one click.",
    ),
    "checkpoint": ("Checkpoint", "Age of the newest checkpoint: what a crash would have to learn again."),
    "task": ("Task", "What is predicted of a shown item."),
    "auc": ("AUC", "Chance that a positive row scores above a negative one; 0.5 is guessing."),
    "log_loss": ("Log loss", "Mean of -ln(probability given to what happened); less is better."),
    "calibration": ("Calibration", "Mean score over the share of positives; 1 is right, 2 is twice too high."),
    "normalised_entropy": ("Norm. entropy", "Log loss over that of always predicting the mean rate; below 1 learns."),
    # What became of events, as `streaming.join.outcomes` has it.
    "outcome": ("Outcome", "What the joiner did with an event, or what rows were made without."),
    "events": ("Events", "How many, since the log began."),
    "meaning": ("Meaning", "The definition of the number in the same row."),
    # Models.
    "model": ("Model", "The name that arms of experiments use."),
    "role": (
        "Role",
        "The champion ranks for arms without a model; others are named by arms or score in the shadow.",
    ),
    "version": ("Version", "Label of the exported graph: step, run, and a part for each start of the trainer."),
    "model_step": ("Step", "Optimizer step at which the graph was exported; rows are newer."),
    "model_age": ("In use for", "Time since this server loaded this graph."),
    "trained_to": ("Trained to", "Event time of the newest label when the graph was exported."),
    "scored_in": (
        "Scores in",
        "Numbers that the model computes with, and the engine: see docs/serving.md.",
    ),
    "cached": ("Rows cached", "Embedding rows in this process."),
    "hits": ("Cache hits", "Share of row look-ups since the start that this process answered without Redis."),
    "reason": ("Reason", "Why answers were degraded: see the page /docs, RankResponse."),
    "count": ("Count", "How often, since the server started."),
    "promotion": ("No.", "Of the promotion; `recsys rollback` takes it. 0 is the model online, before all."),
    "step_taken": ("What", "Promoted by recsys promote, or went back by recsys rollback."),
    "promoted_at": ("Since", "When it became the champion."),
    "promoted_by": ("By", "Who did so, as user@host."),
    "promoted_why": ("Why", "As given then, and what was overridden by --force."),
    "judged": ("Judged", "What the challenger's own scores said of it when it was promoted."),
    # A ranking.
    "rank": ("Rank", "Place in the list, best first."),
    "item": ("Item", "Its id, as events have it."),
    "score": ("Score", "Sum over tasks of weight times predicted probability; by popularity, the popularity."),
    "propensity": ("Propensity", "Chance that exploration put the item on this place; 1 without exploration."),
    "source": ("Source", "What proposed the item; given: it was named in the form."),
    "item_features": ("Features", "Of the item, as they were used for this ranking; - is missing."),
    "why": (
        "What features add",
        "Score less the score without the feature, the largest three; features that say the same show little.",
    ),
    "rank_change": ("Rank", "Place by score just before the click, and now."),
    "before": ("Before", "Score just before the click was stored."),
    "after": ("Now", "Score at the last look."),
    "change": ("Change", "Score now less score before; other users' events move scores, too."),
    "feature": ("Feature", "Name of a feature that the model reads."),
    "value": ("Value", "As it was used for this ranking; - is missing."),
    # Experiments.
    "arm": ("Arm", "A share of the users, and the model that ranks for them. The first is the control."),
    "users": ("Users", "Who were shown something; counters estimate it within a percent."),
    "impressions": ("Impressions", "Lists shown."),
    "clicks": ("Clicked", "Lists with at least one click in time."),
    "ctr": ("Click rate", "Clicked lists per list, with its 95 % confidence sequence, valid at every look."),
    "difference": ("Against the control", "Rate less that of the first arm, with the sequence shared by all arms."),
    "goal_difference": ("Against the control", "Mean less that of the first arm, adjusted by the time before."),
    "rail_difference": ("Against the control", "Figure less that of the first arm."),
    "rail_verdict": ("Verdict", "Worse if the arm is so by more than the margin, at the guardrail's confidence."),
    "verdict": ("Verdict", "Better or worse once the sequence excludes zero; looking often does not spoil it."),
    "sample_ratio": ("Sample ratio p", "Chance of such a split of users if the weights hold; below 0.001 is broken."),
    "since": ("Counting since", "When these counts began; Redis may have lost earlier ones."),
    "log_since": ("Counting since", "Event time from which on impressions of the log count."),
    "confidence": ("Confidence", "Chance that all intervals of the experiment hold at all times together."),
    "goal": ("Goal", "What the experiment is after beside clicks: a mean over users."),
    "per_user": ("Per user", "Mean over the users of the arm, with its confidence sequence."),
    "guardrail": ("Guardrail", "What must not get worse by more than its margin."),
    "figure": ("Figure", "The guardrail's figure in the arm."),
    "harm": (
        "Worse by at least",
        "Adjusted by the time before, with the guardrail's confidence; below 0: maybe not worse at all.",
    ),
    "adjusted": ("Adjusted", "The difference after taking out what users did before the experiment."),
    "left": ("Variance left", "Share of the variance that the adjustment leaves; less is sharper."),
    # Users and items.
    "popularity": ("Popularity", "Interactions with the item, decayed, as the popularity ranking uses it."),
    "popular_place": ("Place by popularity", "1 is the most popular item; - is not published among them."),
    "recent_place": ("Place by age", "1 is the item seen first most recently; - is not published among them."),
    "latest": ("Value", "The latest that this server has; it overrides nothing that a request brings."),
    "happened": ("Time", "Event time."),
    "what": ("What", "Shown (an impression), an action on an item, or new features."),
    "shown_items": ("Items", "Those shown, in order, or the one acted on."),
    "shown_arm": ("Arm", "Of the experiment that the impression belongs to."),
    "neighbours": ("Clicked together with", "Other items, best first, with their affinity as item_to_item uses it."),
    "place": ("Place", "Where something of the user may be."),
    "had": ("Had", "Things of the user found there before."),
    "has": ("Has", "Things of the user left there now."),
    "remedy": ("What to do", "About what is left."),
    # Embedding tables.
    "table": ("Table", "Embedding rows of one field, or of fields that share them."),
    "live": ("Live", "Ids that have a row now: admitted less expired, evicted and erased."),
    "cold": ("Cold", "Live ids whose row is on disk."),
    "moved_out": ("Moved out", "Rows that went from memory to disk."),
    "brought_back": ("Brought back", "Rows that came from disk to memory, because they were looked up."),
    "admitted": ("Admitted", "Ids that were given a row, since the log began."),
    "unadmitted": ("Unadmitted", "Look-ups of ids that have not been seen often enough for a row."),
    "expired": ("Expired", "Ids not seen within the table's ttl, whose rows were freed."),
    "evicted": ("Evicted", "Live ids that lost their row to newer ones, because the table is full."),
    "erased": ("Erased", "Ids that went because their user was erased."),
    "refused": ("Refused", "Look-ups of new ids in a batch with more ids than the table has rows."),
    "stale": ("Stale", "Updates of ids that lost their row between look-up and update."),
    "nonfinite": ("Not finite", "Updates left out because they would have made a row infinite."),
    "ahead": ("Ahead", "Look-ups with a time too far in the future to be believed."),
    "bytes": ("MiB", "Memory of the table in the trainer, in 2^20 bytes: ids, rows and optimizer state."),
    # Dead letters.
    "letters": ("Records", "Refused records with this reason among those that were read."),
    "letter_reason": ("Reason", "Why the record was refused."),
    "letter_place": ("Where", "Source and line, or topic and offset, of one such record, the newest."),
    "letter_raw": ("Content", "Its beginning."),
}


_WORDS: Final = frozenset(
    [
        "task",
        "outcome",
        "meaning",
        "model",
        "role",
        "process_ready",
        "version",
        "versions",
        "step_taken",
        "promoted_at",
        "promoted_by",
        "promoted_why",
        "judged",
        "reason",
        "item",
        "source",
        "feature",
        "value",
        "latest",
        "neighbours",
        "happened",
        "what",
        "shown_items",
        "shown_arm",
        "arm",
        "goal",
        "guardrail",
        "verdict",
        "rail_verdict",
        "item_features",
        "why",
        "place",
        "remedy",
        "table",
        "letter_reason",
        "letter_place",
        "letter_raw",
        "trained_to",
    ]
)
"""Columns of words, which begin on the left; numbers end on the right."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a page, as text."""

    key: str
    name: str
    meaning: str
    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class FigureColumn:
    key: str
    name: str
    meaning: str

    @property
    def words(self) -> bool:
        return self.key in _WORDS


@dataclass(frozen=True, slots=True)
class FigureTable:
    """Rows of text under columns that have definitions. `name` is its heading and names it for screen readers."""

    name: str
    columns: tuple[FigureColumn, ...]
    rows: Sequence[Sequence[str]]

    @classmethod
    def of(cls, name: str, keys: Sequence[str], rows: Sequence[Sequence[str]]) -> FigureTable:
        """With a definition for each of these keys; `task:NAME` is the probability of a task."""
        return cls(name, tuple(FigureColumn(key, *_definition(key)) for key in keys), rows)


def figure(key: str, text: str, *, warning: bool = False) -> Figure:
    """With its definition."""
    return Figure(key, *_DEFINITIONS[key], text, warning)


def _definition(key: str) -> tuple[str, str]:
    kind, _, task = key.partition(":")
    return (
        (task, f"Predicted probability of a positive label of {task}.")
        if kind == "task" and task
        else _DEFINITIONS[key]
    )
