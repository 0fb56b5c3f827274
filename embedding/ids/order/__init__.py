"""The order in which a full table evicts its ids."""
