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
from blueprints.datasets.schemas import EnvelopeSchema
from blueprints.documented_limits import limits_of
from blueprints.envelope import VERSION as VERSION_OF_ENVELOPE

VERSION = "0.1.0"
_SWAGGER_UI = Path(swagger_ui.__file__).parent / "static"
# Or it may send the document to a validator on the internet.
_SWAGGER_UI_CONFIG = {"validatorUrl": None, "displayRequestDuration": True}


# What is not under flask-smorest: path, what it gives, content type, and the statuses.
_HEALTH = (
    ("/health/live", "The process answers.", "application/json", (200,)),
    ("/health/ready", "Whether every store answers, and which one fails.", "application/json", (200, 503)),
    ("/metrics", "Prometheus metrics of all worker processes together.", "text/plain", (200,)),
)
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before the next try"}}
_ERROR_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "Accepted authentication schemes"}},
    416: {"Content-Range": {"schema": {"type": "string"}, "description": "The total number of bytes"}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}
_WHAT_WAS_WRONG = "What was wrong, and what would be right"
_KEYS = {
    "ModeCloud": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`ModeCloud <key>`"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "`Bearer <key>`, with the same key"},
}


class ProblemSchema(Schema):
    """An error of Ingest and Export, as `application/problem+json`."""

    type = fields.String(metadata={"example": "about:blank"})
    title = fields.String(metadata={"description": "The kind of error", "example": "Bad Request"})
    status = fields.Integer(metadata={"description": "The HTTP status", "example": 400})
    detail = fields.String(metadata={"description": "What was wrong, and what would be right"})


class FaultSchema(Schema):
    """An error of the Stream Data Store."""

    reason = fields.String(metadata={"description": "A code for programs", "example": "INVALID_PARAMETER"})
    message = fields.String(metadata={"description": "What was wrong, and what would be right"})


class CodedSchema(Schema):
    """An error of data sources."""

    error = fields.String(metadata={"description": "A code for programs", "example": "INVALID_PAYLOAD"})
    message = fields.String(metadata={"description": "What was wrong, and what would be right"})


class EnvelopedErrorSchema(Schema):
    """An error of datasets: its code for programs, and what was wrong."""

    code = fields.String(metadata={"example": "DATASET_NOT_FOUND"})
    message = fields.String(metadata={"example": "Dataset with id not found"})
    trace = fields.String(metadata={"description": "Always empty", "example": ""})


class RefusedSchema(EnvelopeSchema):
    """An error of datasets, in Obsrv's envelope."""

    result = fields.Dict(metadata={"description": "Always empty", "example": {}})
    error = fields.Nested(EnvelopedErrorSchema)


class DocumentedApi(Api):  # type: ignore[misc]
    """Makes the document of one API. Its errors are the application's, not flask-smorest's."""

    ERROR_SCHEMA: type[Schema] = ProblemSchema
    ERROR_TYPE = "application/problem+json"
    KEYS: tuple[str, ...] = ()
    """Names of the ways to send a key."""

    def handle_http_exception(self, error: HTTPException) -> Response:
        return dialects.answer(error)

    def _register_responses(self) -> None:
        """Errors speak the API's dialect, which is not what flask-smorest says of them."""
        for status in (status for status in HTTPStatus if status >= 400):
            self._register_error(status.name, status, status.phrase)
        self._register_error("DEFAULT_ERROR", HTTPStatus.INTERNAL_SERVER_ERROR, "Any other error")

    def _register_error(self, name: str, status: HTTPStatus, description: str) -> None:
        content = {self.ERROR_TYPE: {"schema": self.ERROR_SCHEMA, "example": self._error_example(status)}}
        headers = {"headers": _ERROR_HEADERS[status]} if status in _ERROR_HEADERS else {}
        self.spec.components.response(name, {"description": description, "content": content, **headers}, lazy=True)

    def _error_example(self, status: HTTPStatus) -> dict[str, Any]:
        return {"type": "about:blank", "title": status.phrase, "status": status, "detail": _WHAT_WAS_WRONG}

    def _init_spec(self, **options: Any) -> None:
        super()._init_spec(**options)
        for name in self.KEYS:
            self.spec.components.security_scheme(name, _KEYS[name])

    def _register_pagination_header(self) -> None:
        """No API here pages in flask-smorest's way."""

    def _openapi_json(self) -> Response:
        return jsonify(_served(self.spec.to_dict()))


class StreamsApi(DocumentedApi):
    """Makes the document of streams, with their errors and the ways to send a key."""

    ERROR_SCHEMA = FaultSchema
    ERROR_TYPE = "application/json"
    KEYS = ("ModeCloud", "Bearer")

    def _error_example(self, status: HTTPStatus) -> dict[str, Any]:
        return {"reason": dialects.reason_of(status), "message": _WHAT_WAS_WRONG}


class DatasourcesApi(DocumentedApi):
    """Makes the document of data sources, with their errors and the way to send a token."""

    ERROR_SCHEMA = CodedSchema
    ERROR_TYPE = "application/json"
    KEYS = ("Bearer",)

    def _error_example(self, status: HTTPStatus) -> dict[str, Any]:
        return {"error": dialects.code_of(status), "message": _WHAT_WAS_WRONG}


class DatasetsApi(DocumentedApi):
    """Makes the document of datasets, with Obsrv's envelope and the way to send a key."""

    ERROR_SCHEMA = RefusedSchema
    ERROR_TYPE = "application/json"
    KEYS = ("Bearer",)

    def _error_example(self, status: HTTPStatus) -> dict[str, Any]:
        code = dialects.response_code_of(status)
        return {
            "id": "api.data.in",
            "ver": VERSION_OF_ENVELOPE,
            "ts": "2024-05-30T18:05:48+00:00",
            "params": {"status": "FAILED", "resmsgid": "acf07609-77de-4ab5-81ea-42e41b8b95ff"},
            "responseCode": code,
            "result": {},
            "error": {"code": code, "message": _WHAT_WAS_WRONG, "trace": ""},
        }


_APIS: dict[str, type[DocumentedApi]] = {
    "Streams": StreamsApi,
    "Datasources": DatasourcesApi,
    "Datasets": DatasetsApi,
}


def register(app: Flask, blueprints: list[Any]) -> None:
    """Registers `blueprints`, each with its document and Swagger UI (`{prefix}/openapi.json`, `{prefix}/ui`), and `/docs`.

    `{prefix}` is what all paths of the API begin with.
    """
    specs = {blueprint.name: _document(app, blueprint).spec for blueprint in blueprints}
    whole = Blueprint("docs", __name__, url_prefix="/docs")

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
    description = f"{blueprint.description}.\n{limits_of(app.extensions['smarthouse'], blueprint.name)}"
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
    api = _APIS.get(blueprint.name, DocumentedApi)(
        app, config_prefix=config, spec_kwargs={"info": {"description": description}}
    )
    api.register_blueprint(blueprint)
    return api


def _served(spec: dict[str, Any]) -> dict[str, Any]:
    """The document for whoever asks now: its server is wherever this application is mounted."""
    return {**spec, "servers": [{"url": request.script_root or "/"}]}


def _merged(specs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "openapi": "3.0.3",
        "info": {"title": "SmartHouse API", "version": VERSION, "description": "All APIs of the service in one document."},
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
    """The document with what is referred to named after its API: two APIs may call different things the same."""
    components = {
        kind: {name if kind == "securitySchemes" else f"{api}.{name}": part for name, part in parts.items()}
        for kind, parts in spec.get("components", {}).items()
    }
    renamed: dict[str, Any] = _renamed({**spec, "components": components}, api)
    return renamed


def _renamed(part: Any, api: str) -> Any:
    if isinstance(part, dict):
        return {name: _reference(one, api) if name == "$ref" else _renamed(one, api) for name, one in part.items()}
    return [_renamed(one, api) for one in part] if isinstance(part, list | tuple) else part


def _reference(reference: str, api: str) -> str:
    place, _, name = reference.rpartition("/")
    return f"{place}/{api}.{name}"


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
    health = {"name": "Health", "description": "Liveness, readiness and metrics"}
    return {**spec, "paths": {**spec["paths"], **paths}, "tags": [*spec["tags"], health]}
