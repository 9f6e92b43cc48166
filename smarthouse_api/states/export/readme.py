"""The `README.md` in the zip of an export: what a person must know before they use the rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from smarthouse_api.arrow.times import time_text
from smarthouse_api.states.export.archive import Written
from smarthouse_api.states.export.citation import citation
from smarthouse_api.states.export.json_ld import CONDITIONS
from smarthouse_api.states.export.licences import licence
from smarthouse_api.states.export.metadata import Extract, Since, facts

_TEXT: Final = """# {title}

{subject} of smart homes, as Home Assistant recorded them: {rows} rows, from {covered}.
{author} published them on {made_at}.
{incomplete}{since}
**{conditions}** Real people live in these homes. If you recognise somebody all the same, tell {author}, and nobody else.

## Licence

{licence}

## How to cite

> {citation}
{kept}
## Files

{files}

Compare the SHA-256 with that of your file: `sha256sum *`. `datapackage.json` describes the files for Frictionless,
`*_metadata.json` for CKAN's `package_create`, `dataset.jsonld` for search engines.

## Columns

{meaning} Every file has the same rows in the same order, and these columns:

| column | type | meaning |
|---|---|---|
{columns}

- **Times** are UTC with microseconds: `2026-03-01T12:34:56.123456Z`.
- **null** is an empty cell in CSV, `null` in JSON, no element in XML. An empty text is `""` in CSV.
{pseudonyms}
## Filters

These filters and settings made this export. `all` means that nothing was left out. `date_from` and `date_to` are UTC days, both
included; they go by a row's own time, or by its arrival where `time_field` is `received`.

| filter | value |
|---|---|
{filters}
{consents}
## How to read the files

pandas:

```python
import pandas as pd

nulls = ({nulls})
rows = pd.read_csv(
    "{stem}.csv",
{texts}    keep_default_na=False,
    na_values={{name: [""] for name in nulls}},
    parse_dates=[{times}],
)
rows = pd.read_parquet("{stem}.parquet")
```

Polars takes the type of a column from its first rows. Let it look at all rows, or name the types:

```python
import polars as pl

rows = pl.read_csv("{stem}.csv", infer_schema_length=None)
rows = pl.read_ndjson("{stem}.jsonl", infer_schema_length=None)
rows = pl.read_parquet("{stem}.parquet")
```

DuckDB, in SQL:

```sql
SELECT {each}, avg({number}) FROM '{stem}.parquet'{where} GROUP BY {each};
SELECT * FROM read_csv('{stem}.csv');
SELECT * FROM read_json('{stem}.jsonl');
```

R:

```r
rows <- read.csv("{stem}.csv", na.strings = "", {classes}encoding = "UTF-8")
rows${moment} <- as.POSIXct(rows${moment}, format = "%Y-%m-%dT%H:%M:%OSZ", tz = "UTC")
rows <- jsonlite::stream_in(file("{stem}.jsonl"))
rows <- arrow::read_parquet("{stem}.parquet")
```

- **CSV:** in a spreadsheet, choose UTF-8 and import every column as text. Otherwise `°C` is garbled, `007` becomes 7, and a
  text that begins with `=`, `+`, `-` or `@` may run as a formula.
{objects}- **XML:** `<data><row>…</row></data>`, an element for each column that is not null.
- **Parquet:** compressed with zstd, times packed as differences. It is the smallest file, and the fastest to read.
"""

_PSEUDONYMS: Final = "- **Pseudonyms** stand for homes, and for names in ids. They are the same in all files of this export.\n"
_KEPT: Final = """
While the service keeps this file, `GET /api/export/dataset?version={version}` gives the very same bytes. A download or a job
with `since={version}` has what came after it.
"""

_RELEASED: Final = """
`GET /api/export/releases/{month}` of the service gives the very same bytes, unless the release was withdrawn.
"""

_CONSENTS: Final = """
`consents` counts homes by the version of the terms that they agreed to: all homes of this service, whatever the filters are.
"""

_OBJECT: Final = "- **JSON, JSONL:** `{name}` is an object. In the other formats it is JSON text.\n"


def _kept(extract: Extract) -> str:
    if extract.month is not None:
        return _RELEASED.format(month=extract.month)
    return _KEPT.format(version=extract.id) if extract.is_kept else ""


def readme(extract: Extract, files: Iterable[Written], stem: str) -> str:
    """Write the document in Markdown. stem: the files' name without its format."""
    files, terms, made_at = list(files), licence(extract.settings.license), time_text(extract.generated_at)
    return _TEXT.format(
        title=extract.title,
        meaning=extract.meaning,
        **_words(extract),
        rows=extract.rows,
        covered=extract.covered(" to ") or "no time",
        author=extract.settings.author,
        made_at=made_at,
        incomplete=f"\n**This export is incomplete**: {extract.incomplete}.\n" if extract.incomplete else "",
        since=_since(extract.since),
        citation=citation(extract),
        kept=_kept(extract),
        conditions=CONDITIONS,
        licence=" ".join(filter(None, (f"{terms.title}:", terms.words, terms.url))),
        files="\n".join(f"- `{file.name}`: {file.size} bytes, SHA-256 `{file.sha256}`" for file in files),
        columns="\n".join(f"| `{name}` | {column.type} | {column.description} |" for name, column in extract.columns.items()),
        filters="\n".join(f"| {name} | {_cell(value)} |" for name, value in facts(extract, files).items()),
        stem=stem,
        consents=_CONSENTS if extract.consents else "",
        pseudonyms=_PSEUDONYMS if "home" in extract.columns else "",
        each="home" if "home" in extract.columns else "start",
    )


def _since(since: Since | None) -> str:
    if since is None:
        return ""
    note = f" {since.note}." if since.note else ""
    if since.days:
        days = ", ".join(since.replaced)
        told = f"**These are the aggregates that may have changed after version `{since.version}`**: those of {days}. Leave out"
        return f"\n{told} the rows of that version that start on these days, in UTC, and take these.{note}\n"
    return (
        f"\n**These are the rows that entered the data lake after version `{since.version}`**, of any day. With the rows"
        f" of that version they are all rows.{note}\n"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("\r", " ")


def _words(extract: Extract) -> dict[str, str]:
    """Give the names that the examples need."""
    columns, is_states = extract.columns, extract.aggregation is None
    is_wide = extract.aggregation is not None and extract.aggregation.layout == "wide"
    numbers = [name for name, column in columns.items() if column.type == "number"]
    texts = [name for name, column in columns.items() if column.type in ("string", "object")]
    nulls = [
        name for name, column in columns.items() if not column.required and name not in ("entity_id", "state", "attributes")
    ]
    return {
        "subject": "State changes" if is_states else "States by intervals",
        "nulls": _quoted(nulls),
        "texts": '    dtype={"state": str},\n' if is_states else "",
        "times": _quoted(name for name, column in columns.items() if column.type in ("date", "datetime")),
        "number": f'"{numbers[0]}"' if is_wide and numbers else "value" if is_states else "mean",
        "where": "" if is_wide else " WHERE unit = '°C'",
        "classes": 'colClasses = c(state = "character"), ' if is_states else "",
        "moment": "time" if is_states else "start",
        "objects": "".join(_OBJECT.format(name=name) for name in texts if columns[name].type == "object"),
    }


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
