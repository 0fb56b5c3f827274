"""The life of a table's ids: the id table, admission, expiry and eviction."""
