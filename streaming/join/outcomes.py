"""What becomes of events in the joiner, by name."""

OUTCOMES = (
    "impressions",  # taken in; each of its positions comes out once, and once more if a click corrects it
    "duplicate_impressions",  # an impression of that id is open, or closed recently
    "late_impressions",  # after its own window had closed: a missing click would mean nothing
    "joined",  # decided a label
    "duplicates",  # the same impression, item and action once more
    "duplicate_labels",  # another action on an item that has its label
    "late",  # after the impression's window
    "unmatched",  # no impression came within `lateness`
    "held",  # waiting for the impression: becomes one of the other outcomes
    "unknown_items",  # the impression did not show that item
    "ignored",  # an action that decides no label
    "updates",  # of users and items, and erasures: nothing that the joiner joins
    "elsewhere",  # of a partition that another joiner joins
)
"""What became of the events. Each event counts once, so that the counts add up to the events pushed."""

TALLIES = ("positives", "negatives", "corrected", "closed", "closed_early", "forgotten")
"""Final labels by value, positive ones that had been given out as silent, and windows by how they closed; those that
are `forgotten` because their user was erased."""
