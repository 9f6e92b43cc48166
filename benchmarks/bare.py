"""The yardsticks over HTTP: Flask views that read a body and answer a small JSON, or send an object, and nothing more."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from flask import Flask, Response, jsonify, request

from backends.ports import ObjectStore
from backends.registry import open_objects
from config.settings import Settings

app = Flask(__name__)
# gunicorn's settings ask every application for a first key, and start its watch and its housekeeping.
app.extensions["smarthouse"] = SimpleNamespace(
    watch=SimpleNamespace(start=lambda ends: None),
    begin=lambda: None,
    housekeeper=SimpleNamespace(start=lambda: None),
    ask_to_stop=lambda: None,
    close=lambda: None,
)


@app.post("/api/ingest/data")
def data() -> Response:
    request.get_data(cache=False)
    return jsonify(message="Data received", id="0" * 32, records=1, ignored=0, duplicate=False)


@app.post("/homes/<home>/smartModules/<module>/streams/<name>/data")
def packet(home: str, module: str, name: str) -> tuple[Response, int]:
    request.get_data(cache=False)
    return jsonify(start=0, stop=0), 201


@app.get("/objects/<path:key>")
def stored(key: str) -> Response:
    response = Response(_objects().stream(key), content_type="application/octet-stream")
    response.content_length = request.args.get("size", type=int)
    return response


@cache
def _objects() -> ObjectStore:
    return open_objects(Settings.from_env().stores.objects_url)


@app.get("/health/ready")
def ready() -> Response:
    return jsonify(status="ok")
