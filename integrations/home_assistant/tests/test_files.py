"""The manifest, translations, icons and services, as Home Assistant's own checker would look at them."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from custom_components.smarthouse import button, issues, sensor, services
from custom_components.smarthouse.client import Fault
from custom_components.smarthouse.const import PACES, PASTS

FOLDER: Final = Path(__file__).parent.parent / "custom_components" / "smarthouse"
LANGUAGES: Final = ("en", "pt", "de")
SOURCES: Final = {path.stem: path.read_text() for path in FOLDER.glob("*.py")}


def read(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / name).read_text()))


def leaves(tree: dict[str, Any], path: str = "") -> dict[str, str]:
    told: dict[str, str] = {}
    for name, part in tree.items():
        told |= leaves(part, f"{path}.{name}") if isinstance(part, dict) else {f"{path}.{name}": part}
    return told


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", text))


def test_the_manifest_says_what_a_custom_integration_must() -> None:
    manifest = read("manifest.json")
    assert list(manifest) == ["domain", "name", *sorted(set(manifest) - {"domain", "name"})]
    assert manifest["domain"] == FOLDER.name
    assert (manifest["requirements"], manifest["config_flow"], manifest["integration_type"]) == ([], True, "service")
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"])
    assert manifest["documentation"].startswith("https://")
    assert json.loads((FOLDER.parent.parent / "hacs.json").read_text())["homeassistant"] == "2025.4.0"


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_says_the_same(language: str) -> None:
    english, told = leaves(read("translations/en.json")), leaves(read(f"translations/{language}.json"))
    assert sorted(told) == sorted(english)
    for name, text in english.items():
        assert placeholders(told[name]) == placeholders(text), name
        assert told[name].strip()
    assert {path.stem for path in (FOLDER / "translations").iterdir()} == set(LANGUAGES)


def test_each_step_and_field_of_a_dialogue_has_a_text() -> None:
    told = read("translations/en.json")
    steps = {name: set(re.findall(r"step_id=\"(\w+)\"", SOURCES[name])) for name in ("config_flow", "options_flow", "repairs")}
    assert steps["config_flow"] == set(told["config"]["step"])
    assert steps["options_flow"] == set(told["options"]["step"])
    assert steps["repairs"] == {step for one in told["issues"].values() for step in one.get("fix_flow", {}).get("step", {})}
    assert _without_description(told) == []
    menu = told["options"]["step"]["init"]["menu_options"]
    assert set(menu) == set(re.findall(r"menu_options=\[(.*)\]", SOURCES["options_flow"])[0].replace('"', "").split(", "))


def _without_description(tree: dict[str, Any], path: str = "") -> list[str]:
    """The fields of dialogues that have a name and no description."""
    missing = [f"{path}.{name}" for name in tree.get("data", {}) if name not in tree.get("data_description", {})]
    return missing + [
        one for name, part in tree.items() if isinstance(part, dict) for one in _without_description(part, f"{path}.{name}")
    ]


def test_each_fault_has_a_text_wherever_it_is_shown() -> None:
    told, faults = read("translations/en.json"), set(map(str, Fault))
    assert faults <= set(told["config"]["error"])
    assert faults <= set(told["options"]["error"])
    assert set(told["entity"]["sensor"]["last_fault"]["state"]) == {*faults, sensor.NO_FAULT, sensor.LEFT}
    for name in (issues.CONSENT, issues.OBJECTED):
        assert faults <= set(told["issues"][name]["fix_flow"]["error"])
    for name in (issues.FORGET, issues.REMOVED):
        assert faults <= set(told["issues"][name]["fix_flow"]["error"])


def test_each_entity_issue_option_and_exception_has_a_text() -> None:
    told, icons = read("translations/en.json"), read("icons.json")
    sensors = {str(one.translation_key) for one in sensor.SENSORS}
    buttons = {str(one.translation_key) for one in (button.UPLOAD, button.FORGET)}
    for found in (told["entity"], icons["entity"]):
        assert set(found["sensor"]) == sensors
        assert set(found["button"]) == buttons
    assert set(told["issues"]) == {
        issues.CONSENT,
        issues.OBJECTED,
        issues.REFUSED,
        issues.QUOTA,
        issues.LOST,
        issues.GONE,
        issues.LEFT_OUT,
        issues.FORGET,
        issues.REMOVED,
    }
    assert set(told["selector"]["pace"]["options"]) == set(PACES)
    assert set(told["selector"]["past"]["options"]) == set(PASTS)
    raised = {
        key for text in SOURCES.values() for key in re.findall(r"translation_domain=DOMAIN,\s+translation_key=\"(\w+)\"", text)
    }
    assert raised | set(map(str, Fault)) == set(told["exceptions"])
    for one in told["issues"].values():
        assert ("fix_flow" in one) != ("description" in one)


def test_the_icon_is_as_home_assistant_shows_it() -> None:
    # The size of a PNG stands in its first chunk.
    sizes = {path.name: struct.unpack(">II", path.read_bytes()[16:24]) for path in (FOLDER / "brand").iterdir()}
    assert sizes == {"icon.png": (256, 256), "icon@2x.png": (512, 512)}


def test_the_service_is_described() -> None:
    described = yaml.safe_load((FOLDER / "services.yaml").read_text())
    told, icons = read("translations/en.json")["services"], read("icons.json")["services"]
    assert set(described) == set(told) == set(icons) == {services.PREVIEW}
    assert set(described["preview"]["fields"]) == set(told["preview"]["fields"]) == {services.ATTR_ENTRY}


def test_the_quality_scale_lists_each_rule_with_its_state() -> None:
    rules = yaml.safe_load((FOLDER / "quality_scale.yaml").read_text())["rules"]
    assert len(rules) >= 50
    for name, state in rules.items():
        if isinstance(state, dict):
            assert set(state) == {"status", "comment"}, name
            state = state["status"]
        assert state in ("done", "exempt", "todo"), name


def test_no_module_imports_the_service() -> None:
    ours = re.compile(r"^(from|import) (backends|blueprints|config|smarthouse_api)\b", re.MULTILINE)
    assert [name for name, text in SOURCES.items() if ours.search(text)] == []
