"""Faults, tested for real: the service and its stores as processes, struck while homes upload. `CHAOS_ROUNDS=50` for many."""
