"""The files of a log in a folder: segments, partitions, and how old or erased events leave them."""
