"""Columns of texts as views hold what the plain ones hold."""

from __future__ import annotations

import pyarrow as pa
import pytest

from smarthouse_api.arrow.views import with_views, without_views

LONG = "a text that does not fit into its view, "


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [None, None],
        ["", "a", None, "twelve bytes", "thirteen bytes", LONG * 9, "", "äß→"],
        [f"{LONG}{number % 7}" if number % 3 else None for number in range(1000)],
    ],
    ids=["none", "nulls", "lengths", "repeats"],
)
@pytest.mark.parametrize("start", [0, 1])
def test_views_show_the_texts_whether_these_are_plain_or_encoded(texts: list[str | None], start: int) -> None:
    plain = pa.array(texts, pa.string()).slice(start)
    for column in (plain, pa.array(texts, pa.string()).dictionary_encode().slice(start)):
        batch = pa.RecordBatch.from_pydict({"text": column, "number": pa.array(range(len(column)), pa.int64())})
        viewed = with_views(batch)
        viewed.validate(full=True)
        assert viewed.schema.types == [pa.string_view(), pa.int64()]
        assert viewed.to_pylist() == batch.to_pylist()
        assert without_views(viewed).column("text").equals(plain)
