"""The newest Home Assistant, read and not run: whatever this integration imports and calls is there.

Its Python may be newer than this machine's. `HOME_ASSISTANT_WHEEL` names the file.
"""

from __future__ import annotations

import ast
import json
import os
import re
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

FOLDER: Final = Path(__file__).parent.parent / "custom_components" / "smarthouse"
SOURCES: Final = sorted(FOLDER.glob("*.py"))
_BARE_TYPES: Final = re.compile(r"^(\s*except\*? )([^()\n:]+,[^()\n:]+):", re.MULTILINE)
METHODS: Final = {
    ("homeassistant.config_entries", "ConfigFlow"): [
        "async_set_unique_id",
        "_abort_if_unique_id_configured",
        "async_update_reload_and_abort",
        "_get_reconfigure_entry",
        "_get_reauth_entry",
        "async_create_entry",
    ],
    ("homeassistant.data_entry_flow", "FlowHandler"): [
        "add_suggested_values_to_schema",
        "async_show_form",
        "async_show_menu",
        "async_abort",
    ],
    ("homeassistant.config_entries", "ConfigEntry"): [
        "async_on_unload",
        "async_start_reauth",
        "async_get_active_flows",
        "async_create_background_task",
    ],
    ("homeassistant.config_entries", "ConfigEntries"): [
        "async_entries",
        "async_get_entry",
        "async_update_entry",
        "async_schedule_reload",
        "async_forward_entry_setups",
        "async_unload_platforms",
        "async_remove",
    ],
    ("homeassistant.helpers.update_coordinator", "DataUpdateCoordinator"): [
        "async_config_entry_first_refresh",
        "async_set_updated_data",
        "_async_setup",
        "_async_update_data",
    ],
    ("homeassistant.helpers.storage", "Store"): ["async_load", "async_save", "async_delay_save", "async_remove"],
    ("homeassistant.components.recorder.core", "Recorder"): ["async_block_till_done", "async_add_executor_job"],
    ("homeassistant.helpers.entity_registry", "EntityRegistry"): ["async_get"],
    ("homeassistant.helpers.area_registry", "AreaRegistry"): ["async_get_area"],
}


class Wheel:
    """Tells what the modules of a wheel define."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)
        self._names = set(self._archive.namelist())

    def file(self, module: str) -> str | None:
        path = module.replace(".", "/")
        return next((name for name in (f"{path}.py", f"{path}/__init__.py") if name in self._names), None)

    def texts(self, file: str) -> Iterator[tuple[str, str]]:
        """The files of this name of all integrations, each with the integration's name."""
        for name in sorted(self._names):
            folder, _, last = name.rpartition("/")
            if last == file and folder.startswith("homeassistant/components/"):
                yield folder.rpartition("/")[2], self._archive.read(name).decode()

    @cache  # noqa: B019  it lives as long as the tests
    def tree(self, module: str) -> ast.Module:
        name = self.file(module)
        assert name is not None, f"{module} is gone"
        # As of Python 3.14, several types of exceptions need no parentheses.
        return ast.parse(_BARE_TYPES.sub(r"\1(\2):", self._archive.read(name).decode()))

    @cache  # noqa: B019
    def defined(self, module: str) -> dict[str, ast.stmt]:
        return dict(_defined(self.tree(module).body))

    def function(self, module: str, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """Find a function, also where a module only passes it on."""
        found = self.defined(module).get(name)
        if isinstance(found, ast.ImportFrom):
            package = module if str(self.file(module)).endswith("__init__.py") else module.rpartition(".")[0]
            for _ in range(found.level - 1):
                package = package.rpartition(".")[0]
            of = f"{package}.{found.module}".rstrip(".") if found.level else str(found.module)
            return self.function(of, name) if self.file(of) else None
        return found if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef) else None


def _defined(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node
            case ast.Assign():
                yield from (
                    (name.id, node) for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)
                )
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.TypeAlias(name=ast.Name(id=name)):
                yield name, node
            case ast.Import() | ast.ImportFrom():
                yield from ((one.asname or one.name, node) for one in node.names)
            case ast.If() | ast.Try():
                handlers = [part for one in getattr(node, "handlers", []) for part in one.body]
                yield from _defined([*node.body, *node.orelse, *handlers])


@pytest.fixture(scope="module")
def wheel() -> Wheel:
    path = os.environ.get("HOME_ASSISTANT_WHEEL")
    if not path:
        pytest.skip("HOME_ASSISTANT_WHEEL names no file: the newest wheel could not be had")
    return Wheel(Path(path))


def imports(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """Each name of Home Assistant's that a module of ours imports: module, name, and what it is called here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and str(node.module).startswith("homeassistant"):
            for one in node.names:
                yield str(node.module), one.name, one.asname or one.name


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_each_import_and_call_fits_the_newest_version(wheel: Wheel, source: Path) -> None:
    tree = ast.parse(source.read_text())
    modules, functions = {}, {}
    for module, name, here in imports(tree):
        if name in wheel.defined(module):
            functions[here] = (module, name)
        else:
            modules[here] = f"{module}.{name}"
            assert wheel.file(modules[here]), f"{module} has no {name} any more"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert node.attr in wheel.defined(modules[node.value.id]), f"{modules[node.value.id]} has no {node.attr}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Name(id=name) if name in functions:
                    _fits(node, wheel.function(*functions[name]))
                case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in modules:
                    _fits(node, wheel.function(modules[name], attribute))


def _fits(call: ast.Call, function: ast.FunctionDef | ast.AsyncFunctionDef | None) -> None:
    """Hold a call to the parameters of a function."""
    if function is None:
        return
    given = function.args
    positional = [one.arg for one in (*given.posonlyargs, *given.args)]
    named = {*positional, *(one.arg for one in given.kwonlyargs)}
    assert given.vararg or len(call.args) <= len(positional), ast.unparse(call)
    assert given.kwarg or {one.arg for one in call.keywords} <= named, ast.unparse(call)
    needed = positional[: len(positional) - len(given.defaults)]
    needed += [one.arg for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None]
    told = {*positional[: len(call.args)], *(one.arg for one in call.keywords)}
    if not any(one.arg is None for one in call.keywords) and not any(isinstance(one, ast.Starred) for one in call.args):
        assert set(needed) <= told, ast.unparse(call)


@pytest.mark.parametrize(("where", "methods"), METHODS.items(), ids=lambda value: value[1] if isinstance(value, tuple) else "")
def test_each_method_that_is_used_is_there(wheel: Wheel, where: tuple[str, str], methods: list[str]) -> None:
    module, name = where
    found: set[str] = set()
    names = [name]
    while names:
        defined = wheel.defined(module).get(names.pop())
        if isinstance(defined, ast.ClassDef):
            found |= {part.name for part in defined.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)}
            bases = [base.value if isinstance(base, ast.Subscript) else base for base in defined.bases]
            names += [base.id for base in bases if isinstance(base, ast.Name)]
    assert set(methods) <= found


def test_the_registry_keeps_what_was_removed(wheel: Wheel) -> None:
    registry = wheel.defined("homeassistant.helpers.entity_registry")["EntityRegistry"]
    assert isinstance(registry, ast.ClassDef)
    assert "deleted_entities" in dict(_defined(registry.body))


def test_reading_the_recorder_takes_the_arguments_that_are_given(wheel: Wheel) -> None:
    module = "homeassistant.components.recorder"
    for part, name, named in (
        ("history", "get_significant_states", {"include_start_time_state", "significant_changes_only"}),
        ("statistics", "statistics_during_period", {"statistic_ids", "period", "units", "types"}),
    ):
        function = wheel.function(f"{module}.{part}", name)
        assert function is not None
        assert named <= {one.arg for one in function.args.args}


def test_the_quality_scale_has_the_rules_of_the_newest_version(wheel: Wheel) -> None:
    rules = re.compile(r"^  ([a-z-]+):", re.MULTILINE)
    listed = [text for name, text in wheel.texts("quality_scale.yaml")]
    assert len(listed) > 100
    known = {rule for text in listed for rule in rules.findall(text)}
    assert set(rules.findall((FOLDER / "quality_scale.yaml").read_text())) == known


def test_the_manifest_has_only_what_the_newest_version_knows(wheel: Wheel) -> None:
    ours, others = (
        json.loads((FOLDER / "manifest.json").read_text()),
        [json.loads(text) for _, text in wheel.texts("manifest.json")],
    )
    described = wheel.defined("homeassistant.loader")["Manifest"]
    assert isinstance(described, ast.ClassDef)
    assert set(ours) <= set(dict(_defined(described.body)))
    for name in ("categories", "connectivity"):
        assert set(ours[name]) <= {one for other in others for one in other.get(name, ())}
