"""How a dataset is cited: a sentence for people, and `CITATION.cff` for programs."""

from __future__ import annotations

import json

from smarthouse_api.arrow.times import time_text
from smarthouse_api.states.export.licences import licence
from smarthouse_api.states.export.metadata import Extract


def citation(extract: Extract) -> str:
    """Write the sentence by which a dataset is cited."""
    author, made_at = extract.settings.author, time_text(extract.generated_at)
    covered = extract.covered(" to ") or "no time"
    told = f"{author} ({extract.generated_at.year}). {extract.title}: {extract.rows} rows, {covered}."
    after = f", after version {extract.since.version}" if extract.since else ""
    kind = "Version" if extract.is_kept else "Export" if extract.month is None else f"Release of {extract.month}, version"
    return f"{told} {kind} {extract.id}{after}, {made_at}."


def citation_file(extract: Extract) -> bytes:
    """Write `CITATION.cff`, in version 1.2.0 of the Citation File Format."""
    terms = licence(extract.settings.license)
    members = {
        "cff-version": "1.2.0",
        "message": citation(extract),
        "type": "dataset",
        "title": extract.title,
        "version": extract.id,
        "date-released": f"{extract.generated_at:%Y-%m-%d}",
        **({"license-url": terms.url} if terms.url else {}),
    }
    # Each value is a JSON text, which YAML reads as it is.
    told = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in members.items()]
    return "\n".join([*told, "authors:", f"  - name: {json.dumps(extract.settings.author, ensure_ascii=False)}", ""]).encode()
