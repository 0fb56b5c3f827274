"""What the names in a trainer's status mean to their readers (`streaming.join.outcomes`, `Feed.losses`)."""

from __future__ import annotations

from typing import Final

OUTCOMES: Final = {
    "impressions": "Lists taken in, whose items become rows.",
    "duplicate_impressions": "Lists that came twice; the second is left out.",
    "late_impressions": "Lists that came after their own window had closed; left out.",
    "joined": "Interactions that decided a label.",
    "duplicates": "The same interaction once more.",
    "duplicate_labels": "Another action on an item that has its label.",
    "late": "Interactions after the window of their list; left out.",
    "unmatched": "Interactions whose list never came; left out.",
    "held": "Interactions that wait for their list.",
    "unknown_items": "Interactions with an item that the list did not show; left out.",
    "ignored": "Actions that decide no label.",
    "updates": "Features of users and items, and erasures.",
    "elsewhere": "Events of a partition that another worker joins.",
}
LOSSES: Final = {
    "closed_early": "Windows closed early: too many lists were open. Raise training.max_pending.",
    "evicted_users": "Users who lost their features to newer ones. Raise features.entities.",
    "evicted_items": "Items that lost their features to newer ones. Raise features.entities.",
    "evicted_counters_of_users": "Users whose counters went. Raise features.counted.",
    "evicted_counters_of_items": "Items whose counters went. Raise features.counted.",
    "evicted_counters_of_pairs": "Pairs whose counters went. Raise features.counted.",
    "evicted_histories": "Users whose history went. Raise features.counted.",
    "bad_values": "Feature values of the wrong kind, taken as missing: compare features.fields with the events.",
}
