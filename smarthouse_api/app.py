"""The factory: the one place that knows every part."""

from __future__ import annotations

import logging
import sys

from flask import Flask
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

from config.settings import Settings
from smarthouse_api.house import House


def create_app(settings: Settings) -> Flask:
    """The WSGI application. Opens no store and starts no thread; `House.housekeeper` is for whoever serves it to start."""
    from blueprints import datasets, datasources, dialects, docs, edge, export, health, ingest, paths, streams

    log_to_stderr(settings.log_level)
    app = Flask("smarthouse_api", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    # No view here is a coroutine, and Flask would ask each function at each request, for a twentieth of the time it takes.
    app.ensure_sync = lambda function: function  # type: ignore[assignment, method-assign]
    app.extensions["smarthouse"] = House.from_settings(settings)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_prefix=hops)  # type: ignore[method-assign]
    CORS(
        app,
        resources={r"/api/(ingest|export)/.*": {"origins": list(settings.cors_origins)}},
        expose_headers=edge.EXPOSED_HEADERS,
    )
    paths.register(app, "/homes", "/restapi/datasource", "/v2")
    edge.register(app)
    app.register_blueprint(health.blueprint)
    docs.register(app, [ingest.blueprint, export.blueprint, streams.blueprint, datasources.blueprint, datasets.blueprint])
    dialects.register(app)
    return app


def log_to_stderr(level: str) -> None:
    """Write log records of at least this level to the standard error."""
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    # No line says in which thread it was written, and finding that out costs as much as writing it.
    logging.logThreads = logging.logMultiprocessing = False
    # Its warnings of what it repeats name whom an object belongs to.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    # Its debug log shows the state of every connection, headers included.
    logging.getLogger("flask_cors").setLevel(logging.WARNING)
