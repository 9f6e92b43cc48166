"""Reads a Home Assistant recorder's database and uploads it. It knows the Ingest API, and nothing else of this service."""
