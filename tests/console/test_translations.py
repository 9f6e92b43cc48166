"""The catalogues of the console: whole, and with the places that the texts have."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from blueprints.console.languages import CATALOGUES, LANGUAGES

METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2.ext:babel_extract")]


@cache
def texts() -> frozenset[str | tuple[str, ...]]:
    """Each text that pages show, and the pairs of those with a plural."""
    found = extract_from_dir(Path(CATALOGUES).parent, METHODS, {"**/templates/**.html": {"newstyle_gettext": "true"}})
    return frozenset(message for _, _, message, _, _ in found)


def places(text: str) -> list[str]:
    return sorted(re.findall(r"%\((\w+)\)s", text))


def read(language: str) -> Catalog:
    with (CATALOGUES / f"{language}.po").open("rb") as written:
        return read_po(written, locale=language, abort_invalid=True)


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_text_is_translated(language: str) -> None:
    told = {message.id: message for message in read(language) if message.id}
    assert {key if isinstance(key, str) else tuple(key) for key in told} == texts()
    for key, message in told.items():
        assert not message.fuzzy
        pairs = [(key, message.string)] if isinstance(key, str) else [(key[1], text) for text in message.string]
        for text, translated in pairs:
            assert translated, key
            assert places(translated) == places(text), key
