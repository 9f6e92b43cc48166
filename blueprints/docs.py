"""OpenAPI: one document for each API and one for the whole, each with Swagger UI served out of an installed package."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

import swagger_ui
from flask import Blueprint, Flask, Response, jsonify, render_template, request, send_from_directory, url_for
from flask.typing import ResponseReturnValue
from flask_smorest import Api
from marshmallow import Schema, fields
from werkzeug.exceptions import HTTPException

from blueprints import dialects
from smarthouse_api.house import House

VERSION = "0.1.0"
_SWAGGER_UI = Path(swagger_ui.__file__).parent / "static"
# Or it may send the document to a validator on the internet.
_SWAGGER_UI_CONFIG = {"validatorUrl": None, "displayRequestDuration": True}


LIMITS = {
    "Ingest": """
Limits of this installation: a request body has at most {settings.max_body_bytes} bytes as sent and
{settings.max_decoded_bytes} bytes decompressed, and may not decompress to more than {settings.max_compression_ratio} times its
size; it holds at most {settings.max_records} records; beyond that, 413, and nothing is kept. JSON nests at most
{settings.max_json_depth} deep. Requests of one home: {home_rate}; of one address: {address_rate}; beyond that, 429.
""",
    "Export": """
Limits of this installation: requests of one address: {export_rate}; beyond that, 429. The data may be of any size: it is
streamed, and a fault in the middle breaks the connection.
""",
}
"""What each API's document says of its limits."""

# What is not under flask-smorest: path, what it gives, content type, and the statuses.
_HEALTH = (
    ("/health/live", "The process answers.", "application/json", (200,)),
    ("/health/ready", "Every backend answers, or which does not.", "application/json", (200, 503)),
    ("/metrics", "Prometheus metrics of all worker processes together.", "text/plain", (200,)),
)
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until it is worth another try"}}


class ProblemSchema(Schema):
    """An error of Ingest and Export, as `application/problem+json`."""

    type = fields.String(metadata={"example": "about:blank"})
    title = fields.String(metadata={"description": "The kind of error", "example": "Bad Request"})
    status = fields.Integer(metadata={"description": "The HTTP status", "example": 400})
    detail = fields.String(metadata={"description": "What was wrong, and what would be right"})


class DocumentedApi(Api):  # type: ignore[misc]
    """One API's document. Its errors are the application's, not flask-smorest's."""

    ERROR_SCHEMA = ProblemSchema

    def handle_http_exception(self, error: HTTPException) -> Response:
        return dialects.answer(error)

    def _register_responses(self) -> None:
        """Errors are `application/problem+json`, which is not what flask-smorest says of them."""
        for status in (status for status in HTTPStatus if status >= 400):
            self._register_error(status.name, status, status.phrase)
        self._register_error("DEFAULT_ERROR", HTTPStatus.INTERNAL_SERVER_ERROR, "Any other error")

    def _register_error(self, name: str, status: HTTPStatus, description: str) -> None:
        example = {
            "type": "about:blank",
            "title": status.phrase,
            "status": status,
            "detail": "What was wrong, and what would be right",
        }
        content = {"application/problem+json": {"schema": ProblemSchema, "example": example}}
        headers = {"headers": _RETRY_AFTER} if status in (429, 503) else {}
        self.spec.components.response(name, {"description": description, "content": content, **headers}, lazy=True)

    def _register_pagination_header(self) -> None:
        """No API here pages in flask-smorest's way."""

    def _openapi_json(self) -> Response:
        return jsonify(_served(self.spec.to_dict()))


def register(app: Flask, blueprints: list[Any]) -> None:
    """Register `blueprints`, each with its document and Swagger UI (`{prefix}/openapi.json`, `{prefix}/ui`), and `/docs`."""
    specs = [_document(app, blueprint).spec for blueprint in blueprints]
    whole = Blueprint("docs", __name__, url_prefix="/docs")

    @whole.get("/openapi.json")
    def openapi() -> ResponseReturnValue:
        return jsonify(_served(_with_health(_merged([spec.to_dict() for spec in specs]))))

    @whole.get("")
    def page() -> ResponseReturnValue:
        return render_template(
            "swagger_ui.html",
            title="SmartHouse API",
            spec_url=url_for("docs.openapi"),
            swagger_ui_url=f"{url_for('docs.page')}/assets/",
            swagger_ui_config=_SWAGGER_UI_CONFIG,
        )

    @whole.get("/assets/<path:name>")
    def assets(name: str) -> ResponseReturnValue:
        return send_from_directory(_SWAGGER_UI, name, max_age=86400)

    app.register_blueprint(whole)


def _document(app: Flask, blueprint: Any) -> DocumentedApi:
    prefix = blueprint.url_prefix
    description = f"{blueprint.description}.\n{_limits(app.extensions['smarthouse'], blueprint.name)}"
    config = f"{blueprint.name.upper()}_"
    app.config.update(
        {
            f"{config}API_TITLE": f"SmartHouse {blueprint.name} API",
            f"{config}API_VERSION": VERSION,
            f"{config}OPENAPI_VERSION": "3.0.3",
            f"{config}OPENAPI_URL_PREFIX": prefix,
            f"{config}OPENAPI_SWAGGER_UI_PATH": "/ui",
            f"{config}OPENAPI_SWAGGER_UI_CONFIG": _SWAGGER_UI_CONFIG,
            # Relative, so that it also holds under a proxy's sub-path.
            f"{config}OPENAPI_SWAGGER_UI_URL": "../" * (prefix.count("/")) + "docs/assets/",
        }
    )
    api = DocumentedApi(app, config_prefix=config, spec_kwargs={"info": {"description": description}})
    api.register_blueprint(blueprint)
    return api


def _limits(house: House, name: str) -> str:
    settings = house.settings
    rates = {
        "home_rate": settings.ingest_rate_home,
        "address_rate": settings.ingest_rate_address,
        "export_rate": settings.export_rate_address,
    }
    return LIMITS[name].format(settings=settings, **{rate: text or "any number" for rate, text in rates.items()})


def _served(spec: dict[str, Any]) -> dict[str, Any]:
    """The document for whoever asks now: its server is wherever this application is mounted."""
    return {**spec, "servers": [{"url": request.script_root or "/"}]}


def _merged(specs: list[dict[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "openapi": specs[0]["openapi"],
        "info": {"title": "SmartHouse API", "version": VERSION, "description": "All APIs of the service in one document."},
        "paths": {},
        "tags": [],
        "components": {},
    }
    for spec in specs:
        whole["info"]["description"] += f"\n\n**{spec['tags'][0]['name']}.** {spec['info']['description']}"
        whole["paths"] |= spec["paths"]
        whole["tags"] += spec.get("tags", [])
        for kind, parts in spec.get("components", {}).items():
            whole["components"].setdefault(kind, {}).update(parts)
    return whole


def _with_health(spec: dict[str, Any]) -> dict[str, Any]:
    paths = {
        path: {
            "get": {
                "summary": summary,
                "tags": ["Health"],
                "responses": {
                    str(status): {"description": HTTPStatus(status).phrase, "content": {content_type: {"schema": {}}}}
                    for status in statuses
                },
            }
        }
        for path, summary, content_type, statuses in _HEALTH
    }
    health = {"name": "Health", "description": "Is it alive, can it work, what has it done"}
    return {**spec, "paths": {**spec["paths"], **paths}, "tags": [*spec["tags"], health]}
