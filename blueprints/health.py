"""Health and metrics, for operators: is the service alive, can it work, what has it done."""

from __future__ import annotations

import os

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess

from blueprints.current_request import house
from blueprints.parameters import refuse_unknown

blueprint = Blueprint("health", __name__)
blueprint.before_request(refuse_unknown)


@blueprint.get("/health/live")
def live() -> ResponseReturnValue:
    """Tell that the process answers."""
    return jsonify({"status": "ok"})


@blueprint.get("/health/ready")
def ready() -> ResponseReturnValue:
    """Tell that every backend answers, or answer 503 and name those that do not."""
    told, failed = house().health()
    return jsonify({"status": "unavailable" if failed else "ok", "backends": told}), 503 if failed else 200


@blueprint.get("/metrics")
def metrics() -> ResponseReturnValue:
    """Give Prometheus the metrics of all worker processes together."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
