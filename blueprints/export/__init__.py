"""Export, `/api/export`."""

from blueprints.export.routes import blueprint as blueprint
