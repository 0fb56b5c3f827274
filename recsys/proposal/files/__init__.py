"""The first rows of files whatever their format, and which files and rows belong together."""
