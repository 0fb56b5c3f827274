"""The next click of news readers, retrieved while the log goes on."""
