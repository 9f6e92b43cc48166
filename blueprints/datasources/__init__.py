"""Data sources, `/restapi/datasource`."""

from blueprints.datasources.routes import blueprint as blueprint
