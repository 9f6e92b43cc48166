"""The Stream Data Store."""
