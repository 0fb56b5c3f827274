"""Public data sets as event streams. What a log does not contain is made by a rule that its data card states."""
