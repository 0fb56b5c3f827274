"""The recommender as a Python object: the parts of the command line in one process."""
