"""The house: the factory and the rules that are neither HTTP nor storage."""
