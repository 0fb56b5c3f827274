"""`recsys demo`: a server, a trainer and a user who clicks, on a log of its own."""
