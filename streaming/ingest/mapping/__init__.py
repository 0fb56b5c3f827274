"""How rows of a file become events: columns to fields, values to the types of events, times to milliseconds."""
