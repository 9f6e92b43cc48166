"""OpenAPI: one document for each API and one for the whole, each with Swagger UI served out of an installed package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import swagger_ui
from flask import Blueprint, Flask, Response, jsonify, render_template, request, send_from_directory, url_for
from flask.typing import ResponseReturnValue
from flask_smorest import Api
from marshmallow import Schema, fields
from werkzeug.exceptions import HTTPException

from blueprints import dialects

VERSION = "0.1.0"
_SWAGGER_UI = Path(swagger_ui.__file__).parent / "static"


class ProblemSchema(Schema):
    """An error of Ingest and Export, as `application/problem+json`."""

    type = fields.String(metadata={"example": "about:blank"})
    title = fields.String(metadata={"description": "The kind of error", "example": "Bad Request"})
    status = fields.Integer(metadata={"description": "The HTTP status", "example": 400})
    detail = fields.String(metadata={"description": "What was wrong, and what would be right"})


class DocumentedApi(Api):  # type: ignore[misc]
    """One API's document. Its errors are the application's, not flask-smorest's."""

    ERROR_SCHEMA = ProblemSchema

    def handle_http_exception(self, error: HTTPException) -> Response:  # type: ignore[override]
        return dialects.answer(error)

    def _openapi_json(self) -> Response:
        return jsonify(_served(self.spec.to_dict()))


def register(app: Flask, blueprints: list[Any]) -> None:
    """Register `blueprints`, each with its document and Swagger UI (`{prefix}/openapi.json`, `{prefix}/ui`), and `/docs`."""
    specs = [_document(app, blueprint).spec for blueprint in blueprints]
    whole = Blueprint("docs", __name__, url_prefix="/docs")

    @whole.get("/openapi.json")
    def openapi() -> ResponseReturnValue:
        return jsonify(_served(_merged([spec.to_dict() for spec in specs])))

    @whole.get("")
    def page() -> ResponseReturnValue:
        return render_template(
            "swagger_ui.html",
            title="SmartHouse API",
            spec_url=url_for("docs.openapi"),
            swagger_ui_url=f"{url_for('docs.page')}/assets/",
            swagger_ui_config={},
        )

    @whole.get("/assets/<path:name>")
    def assets(name: str) -> ResponseReturnValue:
        return send_from_directory(_SWAGGER_UI, name, max_age=86400)

    app.register_blueprint(whole)


def _document(app: Flask, blueprint: Any) -> DocumentedApi:
    prefix = blueprint.url_prefix
    config = f"{blueprint.name.upper()}_"
    app.config.update(
        {
            f"{config}API_TITLE": f"SmartHouse {blueprint.name} API",
            f"{config}API_VERSION": VERSION,
            f"{config}OPENAPI_VERSION": "3.0.3",
            f"{config}OPENAPI_URL_PREFIX": prefix,
            f"{config}OPENAPI_SWAGGER_UI_PATH": "/ui",
            # Relative, so that it also holds under a proxy's sub-path.
            f"{config}OPENAPI_SWAGGER_UI_URL": "../" * (prefix.count("/")) + "docs/assets/",
        }
    )
    api = DocumentedApi(app, config_prefix=config, spec_kwargs={"info": {"description": blueprint.description}})
    api.register_blueprint(blueprint)
    return api


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
        whole["paths"] |= spec["paths"]
        whole["tags"] += spec.get("tags", [])
        for kind, parts in spec.get("components", {}).items():
            whole["components"].setdefault(kind, {}).update(parts)
    return whole
