"""Which engine a URL names. A new engine is one module beside `datafusion` and `spark`, and one branch here."""

from __future__ import annotations

from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.lake.engine import Engine


def open_engine(url: str, **seconds: float) -> Engine:
    """Open the engine that `SMARTHOUSE_ENGINE_URL` names: `embedded`, or a Spark Connect endpoint, `sc://host:port`.

    seconds: `answer_seconds`, `query_seconds` and `write_seconds` of `SparkEngine`.

    Asks no server. Raises `ValueError`, which tells no secret of the URL, for any other, and where the client is missing.
    """
    if url == "embedded":
        return EmbeddedEngine()
    if not url.startswith("sc://"):
        raise ValueError(f"unknown engine {url.partition(':')[0]!r}; there are embedded and sc://host:port")
    try:
        from smarthouse_api.lake.spark import SparkEngine
    except ImportError as fault:
        raise ValueError("an engine sc://host:port needs the client of Spark: install smarthouse-api[spark]") from fault
    return SparkEngine(url, **seconds)
