"""Makes the tables of facts from one version of Home Assistant. They hold names, words and units, and no judgement."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final

import orjson

from smarthouse_api.states.vocabulary.source import NotHomeAssistant, Source, enums, string_constants

Table = dict[str, Any]

_SANITISED: Final = str.maketrans(dict.fromkeys(".<>*#%&+?/", "_"))
"""What the integration of 2022 wrote instead of these characters."""

_UNIT_NAMES: Final = ("CURRENCY_", "DEGREE", "LIGHT_LUX", "UV_INDEX", "REVOLUTIONS_", "SIGNAL_STRENGTH_", "PERCENTAGE")
_UNIT_WORDS: Final = frozenset({"unit_of_measurement", "native_unit_of_measurement", "_attr_native_unit_of_measurement"})
_MICRO, _MU = "\u00b5", "\u03bc"


def tables(source: Source) -> dict[str, Table]:
    """Make all tables: name, and what its JSON file holds."""
    constants = source.module("const.py")
    integrations = list(source.strings())
    return {
        "source": {"home_assistant": _version(constants)},
        "domains": {"domains": _domains(source)},
        "units": _units(source, constants, integrations),
        "device_classes": _device_classes(source),
        "states": _states(integrations),
        "words": {platform: _shared_words(integrations, platform) for platform in ("sensor", "select")},
        "attributes": _attributes(source, integrations),
    }


def written(table: Table) -> str:
    """Write a table as the text of its file, which a reviewer can compare line by line."""
    return orjson.dumps(table, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _version(constants: ast.Module) -> str:
    found = {}
    for node in constants.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=value)):
                found[name] = str(value)
    try:
        return ".".join(found[f"{part}_VERSION"] for part in ("MAJOR", "MINOR", "PATCH"))
    except KeyError as missing:
        raise NotHomeAssistant(f"homeassistant/const.py does not tell the version: {missing} is missing") from None


def _domains(source: Source) -> list[str]:
    """List the platforms, and the integrations whose own module makes a component of entities."""
    platforms = dict(enums(source.module("generated/entity_platforms.py"))).get("EntityPlatforms", [])
    own = {
        name
        for name, module, tree in source.modules(b"EntityComponent[")
        if module == "__init__" and any(map(_makes_component, ast.walk(tree)))
    }
    return sorted(own.union(platforms))


def _makes_component(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Subscript(value=ast.Name(id="EntityComponent")), args=[_, ast.Name(id="DOMAIN"), *_]):
            return True
    return False


def _units(source: Source, constants: ast.Module, integrations: list[tuple[str, Table]]) -> Table:
    core = {unit for name, members in enums(constants) if name.startswith("UnitOf") for unit in members}
    core.update(text for name, text in string_constants(constants) if name.startswith(_UNIT_NAMES))
    core.update(_deprecated_units(constants))
    others = set(_translated_units(integrations)) | set(_written_units(source))
    others = {unit for unit in others if unit.strip() == unit != ""} - core
    return {
        "core": sorted(core),
        "integrations": sorted(others),
        "currencies": _currencies(source),
        "repairs": repairs(core, others),
    }


def repairs(core: Iterable[str], others: Iterable[str]) -> dict[str, str]:
    """Tell which unit each mangled spelling stands for, where only one can: one of the core, else one of an integration.

    Both spellings of micro (U+00B5, U+03BC) are mended to themselves.
    """
    mended: dict[str, str] = {}
    known = _with_both_micros(core)
    for units in (known, _with_both_micros(others) - known):
        spellings = defaultdict(set)
        for unit in units:
            spellings[unit.translate(_SANITISED)].add(unit)
        for spelling, meant in spellings.items():
            if len(meant) == 1 and spelling not in meant and spelling not in known:
                mended.setdefault(spelling, *meant)
    return dict(sorted(mended.items()))


def _with_both_micros(units: Iterable[str]) -> set[str]:
    return {unit.replace(one, other) for unit in units for one, other in ((_MICRO, _MU), (_MU, _MICRO))}


def _deprecated_units(constants: ast.Module) -> Iterator[str]:
    """List the units that a deprecated name of its own spells."""
    for node in constants.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Name(id="DeprecatedConstant"), args=[ast.Constant(value=str(unit)), *_]),
            ) if name.startswith("_DEPRECATED_CONCENTRATION"):
                yield unit


def _translated_units(integrations: list[tuple[str, Table]]) -> Iterator[str]:
    for _, texts in integrations:
        for entities in texts.get("entity", {}).values():
            for entity in entities.values():
                unit = entity.get("unit_of_measurement", "")
                if not unit.startswith("["):  # a reference to another text
                    yield unit


def _written_units(source: Source) -> Iterator[str]:
    """List the units that an integration spells in its code."""
    for _, _, tree in source.modules(b"unit_of_measurement"):
        for node in ast.walk(tree):
            match node:
                case ast.keyword(arg=name, value=ast.Constant(value=str(unit))) if name in _UNIT_WORDS:
                    yield unit
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(unit))) if name in _UNIT_WORDS:
                    yield unit


def _currencies(source: Source) -> list[str]:
    tree = source.module("generated/currencies.py")
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="ACTIVE_CURRENCIES")], value=value):
                return sorted(ast.literal_eval(value))
    return []


def _device_classes(source: Source) -> Table:
    sensor = source.json("generated/sensor.json")
    units = sensor["device_class_units"].items()
    return {
        "domains": dict(sorted(source.json("generated/device_classes.json").items())),
        "numeric": sorted(sensor["numeric_device_classes"]),
        "units": {name: sorted(unit for unit in each if unit is not None) for name, each in sorted(units)},
        "state_classes": sorted(sensor["state_classes"]),
    }


def _states(integrations: list[tuple[str, Table]]) -> Table:
    """Find for each domain the words of a state: under `_` for every device class, else for one."""
    found = {}
    for name, texts in integrations:
        components = texts.get("entity_component", {})
        words = {each: sorted(component["state"]) for each, component in components.items() if component.get("state")}
        common = words.get("_")
        if words:
            found[name] = {each: own for each, own in sorted(words.items()) if each == "_" or own != common}
    return found


def _shared_words(integrations: list[tuple[str, Table]], platform: str) -> list[str]:
    """Count the words that two integrations or more translate as states of a sensor or a select."""
    owners = Counter(
        chain.from_iterable(
            {word for entity in texts.get("entity", {}).get(platform, {}).values() for word in entity.get("state", {})}
            for _, texts in integrations
        )
    )
    return sorted(word for word, count in owners.items() if count > 1)


def _attributes(source: Source, integrations: list[tuple[str, Table]]) -> Table:
    """Find for each domain its attributes, and for each of these the words that are translated."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, module, tree in source.modules(b"Attribute(StrEnum)"):
        if module == "const":
            for enum, members in enums(tree):
                if enum.endswith(("CapabilityAttribute", "StateAttribute")):
                    for attribute in members:
                        found[name][attribute].update()
    for name, texts in integrations:
        for component in texts.get("entity_component", {}).values():
            for attribute, described in component.get("state_attributes", {}).items():
                found[name][attribute].update(described.get("state", {}))
    return {
        name: {attribute: sorted(words) for attribute, words in sorted(each.items())} for name, each in sorted(found.items())
    }
