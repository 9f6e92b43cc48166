"""Publishing: the lake as a dataset on an open-data portal, kept up to date by the same command."""
