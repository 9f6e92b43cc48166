"""The yardstick of uploads: a Flask view that reads the body and answers a small JSON, and nothing more."""

from __future__ import annotations

from types import SimpleNamespace

from flask import Flask, Response, jsonify, request

app = Flask(__name__)
# gunicorn's settings start and stop the housekeeping of whatever they serve; here there is none.
app.extensions["smarthouse"] = SimpleNamespace(housekeeper=SimpleNamespace(start=lambda: None), close=lambda: None)


@app.post("/api/ingest/data")
def data() -> Response:
    request.get_data(cache=False)
    return jsonify(message="Data received", id="0" * 32, records=1, ignored=0, duplicate=False)


@app.get("/health/ready")
def ready() -> Response:
    return jsonify(status="ok")
