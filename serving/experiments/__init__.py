"""Who sees which arm, what is counted, and what the counts show."""
