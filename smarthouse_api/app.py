"""The factory: makes the WSGI application, in the one place that knows every part."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from config.settings import Settings
from smarthouse_api.house import House
from smarthouse_api.serving.logs import log_to_stderr


def create_app(settings: Settings) -> Flask:
    """Make the WSGI application. It opens no store and starts no thread: the server starts `House.housekeeper`."""
    from blueprints import (
        console,
        datasets,
        datasources,
        dialects,
        docs,
        export,
        fitness,
        health,
        hosts,
        ingest,
        observability,
        origins,
        path_segments,
        streams,
    )

    log_to_stderr(settings.server.log_level, settings.server.log_format)
    app = Flask("smarthouse_api", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.requests.max_body_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    # No view here is a coroutine. Flask would check that at each request, which takes a twentieth of the request's time.
    app.ensure_sync = lambda function: function  # type: ignore[assignment, method-assign]
    app.extensions["smarthouse"] = House(settings)
    if settings.server.trusted_proxies:
        hops = settings.server.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_prefix=hops)  # type: ignore[method-assign]
    named = (
        "/homes",
        "/restapi/datasource",
        "/v2",
        "/api/export/jobs",
        "/api/export/releases",
        "/api/ingest/receipts",
        "/console/operator/streams",
    )
    path_segments.register(app, *named)
    observability.register(app)
    hosts.register(app)
    origins.register(app, settings.origins)
    fitness.register(app)
    app.register_blueprint(health.blueprint)
    docs.register(app, [ingest.blueprint, export.blueprint, streams.blueprint, datasources.blueprint, datasets.blueprint])
    console.register(app, settings.server)
    dialects.register(app, console.dialects(settings.server))
    return app
