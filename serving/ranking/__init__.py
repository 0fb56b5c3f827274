"""Which items are shown, and in which order: ranking and exploration."""
