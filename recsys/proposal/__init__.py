"""A configuration proposed for files that nobody has described: what the columns are, by their names and values."""
