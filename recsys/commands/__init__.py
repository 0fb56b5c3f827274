"""The commands of the command line, one module each. Only they print."""
