"""Which items are shown, and in which order: retrieval, ranking and exploration."""
