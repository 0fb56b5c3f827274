"""`recsys train` with several workers: the process that the user sees, and the workers."""
