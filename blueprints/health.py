"""Health and metrics, for operators: is the service alive, can it work, what has it done."""

from __future__ import annotations

import os
from functools import lru_cache

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess

from blueprints.current_request import house
from blueprints.parameters import refuse_unknown
from smarthouse_api.house import House
from smarthouse_api.status.gauges import Gauges

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
    """Give Prometheus the counters of all worker processes together, and the gauges of the installation."""
    registry, counters = CollectorRegistry(), b""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.MultiProcessCollector(registry)
    else:
        counters = generate_latest(REGISTRY)
    registry.register(_gauges(house()))
    return Response(counters + generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


@lru_cache(1)
def _gauges(of: House) -> Gauges:
    return Gauges(of.status.report)
