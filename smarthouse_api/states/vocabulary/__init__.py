"""Home Assistant's vocabulary: facts that a command reads from its wheel, and our own judgements of what may be published."""
