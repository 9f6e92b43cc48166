"""OpenAPI: one document for each API and one for all of them, each with Swagger UI, which an installed package brings."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any

import swagger_ui
from flask import Blueprint, Flask, Response, jsonify, render_template, request, send_from_directory, url_for
from flask.typing import ResponseReturnValue
from flask_smorest import Api
from werkzeug.exceptions import HTTPException

from blueprints import dialects, parameters
from blueprints.documented_errors import CommonErrors, document_errors
from blueprints.openapi import FREE_OBJECT
from blueprints.records import LARGEST_PAGE
from smarthouse_api.house import House
from smarthouse_api.streams.model import LARGEST_INDEX
from smarthouse_api.version import own_version

_SWAGGER_UI = Path(swagger_ui.__file__).parent / "static"
# Or it may send the document to a validator on the internet.
_SWAGGER_UI_CONFIG = {"validatorUrl": None, "displayRequestDuration": True}


_TEXT = {"type": "string"}

# What is not under flask-smorest: path, name in clients, what it gives, content type, schema, and the statuses.
_HEALTH = (
    ("/health/live", "checkLiveness", "The process answers.", "application/json", FREE_OBJECT, (200,)),
    ("/health/ready", "checkReadiness", "The state of every store.", "application/json", FREE_OBJECT, (200, 503)),
    ("/metrics", "getMetrics", "Prometheus metrics of all worker processes together.", "text/plain", _TEXT, (200,)),
)
_HEALTH_PROBLEMS = {
    str(status): {
        "description": HTTPStatus(status).phrase,
        "content": {"application/problem+json": {"schema": FREE_OBJECT}},
    }
    for status in (400, 500)
}


class DocumentedApi(Api):  # type: ignore[misc]
    """Makes the document of one API. Its errors are the application's, not flask-smorest's."""

    DEFAULT_ERROR_RESPONSE_NAME = None
    """A document names every status: with "any other error", clients could not tell which errors there are."""

    def __init__(self, app: Flask, name: str, **options: Any) -> None:
        self._name = name
        super().__init__(app, **options)

    def handle_http_exception(self, error: HTTPException) -> Response:
        return dialects.answer(error)

    def _register_responses(self) -> None:
        document_errors(self.spec, self._name)

    def _register_pagination_header(self) -> None:
        """Do nothing: no API here pages in flask-smorest's way."""

    def _openapi_json(self) -> Response:
        return jsonify(_served(self.spec.to_dict()))


def register(app: Flask, blueprints: list[Any]) -> None:
    """Register `blueprints`, each with its document and Swagger UI (`{prefix}/openapi.json`, `{prefix}/ui`), and `/docs`.

    `{prefix}` is what all paths of the API begin with.
    """
    specs = {blueprint.name: _document(app, blueprint).spec for blueprint in blueprints}
    parameters.register(app, (spec.to_dict() for spec in specs.values()))
    whole = Blueprint("docs", __name__, url_prefix="/docs")
    whole.before_request(parameters.refuse_unknown)

    @whole.get("/openapi.json")
    def openapi() -> ResponseReturnValue:
        return jsonify(_served(_with_health(_merged({name: spec.to_dict() for name, spec in specs.items()}))))

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
    prefix = blueprint.url_prefix.partition("/<")[0]
    description = f"{blueprint.description}.\n\n{_limits_of(blueprint, app.extensions['smarthouse'])}"
    config = f"{blueprint.name.upper()}_"
    app.config.update(
        {
            f"{config}API_TITLE": f"SmartHouse {blueprint.name} API",
            f"{config}API_VERSION": own_version(),
            f"{config}OPENAPI_VERSION": "3.0.3",
            f"{config}OPENAPI_URL_PREFIX": prefix,
            f"{config}OPENAPI_SWAGGER_UI_PATH": "/ui",
            f"{config}OPENAPI_SWAGGER_UI_CONFIG": _SWAGGER_UI_CONFIG,
            # Relative, so that it also holds under a proxy's sub-path.
            f"{config}OPENAPI_SWAGGER_UI_URL": "../" * (prefix.count("/")) + "docs/assets/",
        }
    )
    told = {"info": {"description": description}, "extra_plugins": [CommonErrors(blueprint.name)]}
    api = DocumentedApi(app, blueprint.name, config_prefix=config, spec_kwargs=told)
    api.register_blueprint(blueprint)
    return api


def _limits_of(blueprint: Any, house: House) -> str:
    """Describe the limits of this installation for an API's users: the API's `limits.md`, with the values of the settings."""
    rates = {name: value or "any number" for name, value in asdict(house.settings.access).items()}
    largest = {"index": LARGEST_INDEX, "page": LARGEST_PAGE}
    with blueprint.open_resource("limits.md", "r") as text:
        told: str = text.read().format(**vars(house.settings), rates=rates, largest=largest)
    return told


def _served(spec: dict[str, Any]) -> dict[str, Any]:
    """Finish the document for this request: its server is where the client found this application."""
    return {**spec, "servers": [{"url": request.script_root or "/"}]}


def _merged(specs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "openapi": "3.0.3",
        "info": {
            "title": "SmartHouse API",
            "version": own_version(),
            "description": "All APIs of the service in one document.",
        },
        "paths": {},
        "tags": [],
        "components": {},
    }
    for name, alone in specs.items():
        spec = _with_names_of(name, alone)
        whole["info"]["description"] += f"\n\n**{name}.** {spec['info']['description']}"
        whole["paths"] |= spec["paths"]
        whole["tags"] += spec.get("tags", [])
        for kind, parts in spec.get("components", {}).items():
            whole["components"].setdefault(kind, {}).update(parts)
    return whole


def _with_names_of(api: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Put the API's name before each name that the document refers to: two APIs may give different things one name."""
    components = {
        kind: {name if kind == "securitySchemes" else f"{api}.{name}": part for name, part in parts.items()}
        for kind, parts in spec.get("components", {}).items()
    }
    renamed: dict[str, Any] = _renamed({**spec, "components": components}, api)
    return renamed


def _renamed(part: Any, api: str) -> Any:
    if isinstance(part, dict) and "$ref" in part:
        return {**part, "$ref": f"/{api}.".join(part["$ref"].rsplit("/", 1))}
    if isinstance(part, dict):
        return {name: _renamed(one, api) for name, one in part.items()}
    return [_renamed(one, api) for one in part] if isinstance(part, list | tuple) else part


def _with_health(spec: dict[str, Any]) -> dict[str, Any]:
    paths = {
        path: {
            "get": {
                "operationId": operation_id,
                "summary": summary,
                "tags": ["Health"],
                "responses": {
                    str(status): {"description": HTTPStatus(status).phrase, "content": {content_type: {"schema": schema}}}
                    for status in statuses
                }
                | _HEALTH_PROBLEMS,
            }
        }
        for path, operation_id, summary, content_type, schema, statuses in _HEALTH
    }
    health = {"name": "Health", "description": "Liveness, readiness and metrics"}
    return {**spec, "paths": {**spec["paths"], **paths}, "tags": [*spec["tags"], health]}
