"""What the rows of a file are: mappings from roles, for one file and for files that belong together."""
