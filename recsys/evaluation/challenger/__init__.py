"""A challenger against the champion, on what was shown: by the scores that servers have logged of both."""
