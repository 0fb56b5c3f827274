"""Events by their time: files sorted and merged, and those that come too late."""
