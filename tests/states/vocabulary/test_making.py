"""The command that makes the tables anew, on a small wheel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from click.testing import CliRunner, Result

from smarthouse_api.cli import main
from smarthouse_api.states.vocabulary import facts

CONST = """
from enum import StrEnum
MAJOR_VERSION: Final = 2031
MINOR_VERSION: Final = 2
PATCH_VERSION: Final = "1"
PERCENTAGE: Final = "%"
LIGHT_LUX: Final = "lx"
ATTR_ICON: Final = "icon"
class UnitOfSpeed(StrEnum):
    \"\"\"Units of speed.\"\"\"
    KILOMETERS_PER_HOUR = "km/h"
"""
NEWER_THAN_THIS_PYTHON = """
DOMAIN = "alarm_clock"
def newer():
    try:
        pass
    except ValueError, TypeError:
        pass
async def async_setup(hass, config):
    component = EntityComponent[Clock](_LOGGER, DOMAIN, hass)
    return component
"""
BORROWED = 'async def async_setup(hass):\n    EntityComponent[X](_LOGGER, "sensor", hass)\n'
FILES = {
    "const.py": CONST,
    "generated/entity_platforms.py": 'class EntityPlatforms(StrEnum):\n    """Those."""\n    SENSOR = "sensor"\n',
    "generated/currencies.py": 'ACTIVE_CURRENCIES = {"EUR"}\n',
    "generated/device_classes.json": {"sensor": ["speed", "enum"]},
    "generated/sensor.json": {
        "numeric_device_classes": ["speed"],
        "device_class_units": {"speed": ["km/h", None]},
        "state_classes": ["total"],
    },
    "components/alarm_clock/__init__.py": NEWER_THAN_THIS_PYTHON,
    "components/borrower/__init__.py": BORROWED,
    "components/alarm_clock/const.py": (
        'class ClockEntityStateAttribute(StrEnum):\n    """Attributes."""\n    TONE = "tone"\n'
        'class ClockService(StrEnum):\n    RING = "ring"\n'
    ),
    "components/alarm_clock/strings.json": {
        "entity_component": {
            "_": {"state": {"rings": "Rings", "rests": "Rests"}, "state_attributes": {"tone": {"state": {"low": "Low"}}}},
            "radio": {"state": {"plays": "Plays"}},
            "bell": {"state": {"rests": "Rests", "rings": "Rings"}},
        }
    },
    "components/one/strings.json": {"entity": {"sensor": {"a": {"state": {"busy": "Busy", "odd": "Odd"}}}}},
    "components/two/strings.json": {
        "entity": {"sensor": {"b": {"state": {"busy": "Busy"}, "unit_of_measurement": "g/h"}, "c": {"state": {"busy": "Busy"}}}}
    },
    "components/two/sensor.py": 'DESCRIPTIONS = (Description(key="d", native_unit_of_measurement="sheep/min"),)\n',
}


def forget_tables() -> None:
    for one in vars(facts).values():
        if hasattr(one, "cache_clear"):
            one.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A made-up Home Assistant. The tables are written into a folder of the test, and no later test has them."""
    for name, content in FILES.items():
        file = tmp_path / "site" / "homeassistant" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    (tmp_path / "tables").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(facts, "TABLES", tmp_path / "tables")
        forget_tables()
        yield tmp_path / "site"
    forget_tables()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["vocabulary", "--from", *arguments])


def made() -> dict[str, object]:
    return {file.stem: json.loads(file.read_text()) for file in facts.TABLES.iterdir()}


def test_the_facts_are_read_and_nothing_is_imported(folder: Path) -> None:
    assert run(str(folder)).exit_code == 0
    assert made() == {
        "source": {"home_assistant": "2031.2.1"},
        "domains": {"domains": ["alarm_clock", "sensor"]},
        "units": {
            "core": ["%", "km/h", "lx"],
            "integrations": ["g/h", "sheep/min"],
            "currencies": ["EUR"],
            "repairs": {"_": "%", "g_h": "g/h", "km_h": "km/h", "sheep_min": "sheep/min"},
        },
        "device_classes": {
            "domains": {"sensor": ["speed", "enum"]},
            "numeric": ["speed"],
            "units": {"speed": ["km/h"]},
            "state_classes": ["total"],
        },
        "states": {"alarm_clock": {"_": ["rests", "rings"], "radio": ["plays"]}},
        "words": {"sensor": ["busy"], "select": []},
        "attributes": {"alarm_clock": {"tone": ["low"]}},
    }


def test_a_wheel_gives_the_same_as_the_folder(folder: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "homeassistant-2031.2.1-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, file.relative_to(folder))
    run(str(folder))
    assert run(str(wheel), "--check").output == "Tables written: 0; unchanged: 7\n"


def test_check_names_the_tables_that_differ_and_writes_none(folder: Path) -> None:
    run(str(folder))
    (facts.TABLES / "words.json").write_text("{}")
    told = run(str(folder), "--check")
    assert told.exit_code == 1
    assert "These differ: words.json" in told.output
    assert (facts.TABLES / "words.json").read_text() == "{}"
    run(str(folder))
    assert run(str(folder), "--check").exit_code == 0


@pytest.mark.parametrize("missing", ["const.py", "generated/sensor.json"])
def test_what_is_no_home_assistant_ends_the_command_with_a_sentence(folder: Path, missing: str) -> None:
    (folder / "homeassistant" / missing).unlink()
    told = run(str(folder))
    assert told.exit_code == 1
    assert f"homeassistant/{missing} is missing; give the wheel or folder of Home Assistant 2026.3 or newer" in told.output
    assert not list(facts.TABLES.iterdir())


def test_a_file_that_is_no_wheel_ends_the_command_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_text("x")
    assert "is neither a wheel nor a folder" in run(str(tmp_path / "x.whl")).output
