"""Reads Home Assistant's own files, from its wheel or from a folder, and never imports them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol
from zipfile import BadZipFile, ZipFile

import msgspec

_STRINGS: Final = re.compile(r"homeassistant/components/([a-z0-9_]+)/strings\.json")
_MODULE: Final = re.compile(r"homeassistant/components/([a-z0-9_]+)/([a-z0-9_]+)\.py")

_BARE_EXCEPT: Final = re.compile(r"^(\s+except )([\w.]+(?:, [\w.]+)+):", re.MULTILINE)
_BLOCK: Final = re.compile(r"^(?=(?:async |class |def |@|from |import |if )|[A-Za-z_]\w*(?:: .+)? = )", re.MULTILINE)


class NotHomeAssistant(ValueError):
    """Says that a path holds no Home Assistant from which the facts can be read."""


class _Files(Protocol):
    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes: ...


class _Wheel:
    def __init__(self, path: Path) -> None:
        self._zip = ZipFile(path)

    def names(self) -> list[str]:
        return self._zip.namelist()

    def read(self, name: str) -> bytes:
        return self._zip.read(name)


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        package = self._path / "homeassistant"
        return [str(found.relative_to(self._path)) for found in package.rglob("*.*") if found.suffix in (".py", ".json")]

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()


class Source:
    """One version of Home Assistant, as text and syntax trees. Raises `NotHomeAssistant` where a file is missing or unreadable.

    path: the wheel, or the folder that holds the package `homeassistant`, such as `site-packages`.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._files: _Files = _Folder(path) if path.is_dir() else _Wheel(path)
        except (BadZipFile, OSError) as fault:
            raise NotHomeAssistant(f"{path} is neither a wheel nor a folder: {fault}") from None
        self._names = sorted(self._files.names())

    def json(self, name: str) -> Any:
        """Read a JSON file of the package, by its path below `homeassistant/`."""
        try:
            return msgspec.json.decode(self._read(f"homeassistant/{name}"))
        except msgspec.DecodeError as fault:
            raise NotHomeAssistant(f"homeassistant/{name} is not JSON: {fault}") from None

    def module(self, name: str) -> ast.Module:
        """Read a Python file of the package as a syntax tree, by its path below `homeassistant/`.

        Statements in a syntax that is newer than the running Python are left out.
        """
        return _parsed(self._read(f"homeassistant/{name}").decode())

    def strings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Go through the integrations that have texts: name, and what `strings.json` holds."""
        for name in self._names:
            if found := _STRINGS.fullmatch(name):
                yield found[1], self.json(name.removeprefix("homeassistant/"))

    def modules(self, word: bytes) -> Iterator[tuple[str, str, ast.Module]]:
        """Go through the integrations' modules that hold a word: the integration's name, the module's, and its tree."""
        for name in self._names:
            if (found := _MODULE.fullmatch(name)) and word in self._read(name):
                yield found[1], found[2], self.module(name.removeprefix("homeassistant/"))

    def _read(self, name: str) -> bytes:
        try:
            return self._files.read(name)
        except (KeyError, OSError):
            raise NotHomeAssistant(f"{name} is missing; give the wheel or folder of Home Assistant 2026.3 or newer") from None


def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError:
        blocks = _BLOCK.split(_BARE_EXCEPT.sub(r"\1(\2):", text))
        return ast.Module([statement for block in blocks for statement in _statements(block)], [])


def _statements(block: str) -> list[ast.stmt]:
    try:
        return ast.parse(block).body
    except SyntaxError:
        return []


def string_constants(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Go through what a module or class assigns a plain text to: name and text."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                yield name, text
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text))):
                yield name, text


def enums(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Go through the text enumerations of a module: name, and the members' values."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(isinstance(base, ast.Name) and base.id == "StrEnum" for base in node.bases):
            yield node.name, [text for _, text in string_constants(node)]
