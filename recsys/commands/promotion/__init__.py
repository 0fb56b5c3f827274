"""Commands that say which model is the champion."""
