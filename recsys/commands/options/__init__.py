"""Options that several commands share: how they are parsed and checked."""
