"""Sample homes, so that a new installation has something to show."""
