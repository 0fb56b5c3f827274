"""Who may ask, and how much at once: keys, connections, and the queue of rankings."""
