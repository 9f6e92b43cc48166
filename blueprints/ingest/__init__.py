"""Ingest, `/api/ingest`."""

from blueprints.ingest.routes import blueprint as blueprint
