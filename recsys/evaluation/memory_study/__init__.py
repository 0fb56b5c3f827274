"""Memory study: how capacity, admission and time to live of the embedding store change AUC on a log."""
