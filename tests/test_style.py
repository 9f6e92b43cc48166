"""The docstrings, held to the house style: each public class says first what it is for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    path for folder in ("smarthouse_api", "backends", "blueprints", "config") for path in (ROOT / folder).rglob("*.py")
)
BEGINS_WITH_A_PARAMETER = re.compile(r"[a-z_]+(, [a-z_]+)*: ")


def public_classes() -> Iterator[tuple[str, str]]:
    """Each public class by file and name, with its docstring; not the views, whose methods are documented instead."""
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                is_view = any(ast.unparse(base) == "MethodView" for base in node.bases)
                if not is_view:
                    yield f"{path.relative_to(ROOT)}::{node.name}", ast.get_docstring(node) or ""


CLASSES = dict(public_classes())


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_says_first_what_it_is_for(name: str) -> None:
    assert CLASSES[name]
    assert not BEGINS_WITH_A_PARAMETER.match(CLASSES[name])
