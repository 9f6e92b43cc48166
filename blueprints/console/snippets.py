"""The rows that were chosen as a link, as code and as a citation, and how a new installation gets its first data."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from blueprints.console.asked import Asked
from blueprints.current_request import house
from blueprints.export.readers import needs_key
from blueprints.hosts import url_of
from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.states.export.licences import licence

_PANDAS = """import pandas as pd

rows = pd.read_csv("{url}", compression="zip")
"""
_KEYED_PANDAS = """import os
import pandas as pd

shown = {{"Authorization": "Bearer " + os.environ["KEY"]}}
rows = pd.read_csv("{url}", compression="zip", storage_options=shown)
"""
_R = """file <- tempfile(fileext = ".zip")
download.file("{url}", file, mode = "wb"{shown})
rows <- read.csv(unz(file, unzip(file, list = TRUE)$Name[1]))
"""
_CURL_SHOWN = '-H "Authorization: Bearer $KEY" '
_R_SHOWN = ', headers = c(Authorization = paste("Bearer", Sys.getenv("KEY")))'


def snippets(asked: Asked, rows: int, days: str, version: int) -> dict[str, Any]:
    """Write what was chosen for other programs, and how it is cited. days: which ones it is of, in words."""
    alone = asked.download_url("csv", metadata="false")
    is_keyed, settings, link = needs_key(), house().settings.exports, asked.download_url(asked.format)
    today, terms = datetime.now(UTC), licence(settings.license)
    return {
        "link": link,
        "curl": f"curl -sSo smarthouse.zip {_CURL_SHOWN if is_keyed else ''}'{link}'\n",
        "pandas": (_KEYED_PANDAS if is_keyed else _PANDAS).format(url=alone),
        "r": _R.format(url=alone, shown=_R_SHOWN if is_keyed else ""),
        "citation": (
            f"{settings.author} ({today.year}). State changes of smart homes: {rows} rows, {days}. "
            f"Version {version} of the lake, retrieved {today:%Y-%m-%d}. {link}"
        ),
        "licence": terms.title,
    }


def first_steps() -> dict[str, str]:
    """Write commands that bring a sample home, and take it away again. Its UUID is made for this page alone."""
    url, home, now = url_of("Ingest.Data"), uuid.uuid4(), seconds_text(datetime.now(UTC))
    sample = [
        _state("sensor.kitchen_temperature", "21.5", now, unit_of_measurement="°C", device_class="temperature"),
        _state("sensor.kitchen_humidity", "48", now, unit_of_measurement="%", device_class="humidity"),
        _state("binary_sensor.front_door", "off", now, device_class="door"),
    ]
    body = json.dumps({one["entity_id"]: [one] for one in sample}, ensure_ascii=False)
    key = _CURL_SHOWN if house().settings.access.ingest_access == "key" else ""
    return {
        "load": f"curl '{url}' {key}-H 'Home-UUID: {home}' --data-binary '{body}'\n",
        "remove": f"curl -X DELETE '{url}' {key}-H 'Home-UUID: {home}'\n",
    }


def _state(entity: str, value: str, at: str, **attributes: str) -> dict[str, Any]:
    return {"entity_id": entity, "state": value, "attributes": attributes, "last_changed": at, "last_updated": at}
