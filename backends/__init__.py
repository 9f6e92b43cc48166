"""Store bytes: the two ports, one module for each technology, and the table that maps URL schemes to them."""
