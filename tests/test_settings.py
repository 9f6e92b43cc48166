"""Settings: their sources, their faults, their documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backends.registry import faults
from config.settings import PRESETS, Settings, SettingsError, variables
from config.table import COMPOSE, README, passed_on_in, written_into


def test_an_empty_environment_is_the_embedded_pair() -> None:
    settings = Settings.from_env({})
    assert settings.stores.state_url == "sqlite://./var/state.db"
    assert settings.stores.objects_url == "file://./var/objects"


def test_the_data_directory_moves_both_stores() -> None:
    settings = Settings.from_env({"SMARTHOUSE_DATA_DIR": "/srv/smarthouse"})
    assert (settings.stores.state_url, settings.stores.objects_url) == (
        "sqlite:///srv/smarthouse/state.db",
        "file:///srv/smarthouse/objects",
    )


def test_a_single_setting_overrides_the_preset() -> None:
    settings = Settings.from_env({"SMARTHOUSE_ENV": "development", "SMARTHOUSE_LOG_LEVEL": "error"})
    assert (settings.stores.state_url, settings.server.log_level) == ("memory://", "error")


def test_all_faults_are_reported_together_by_name() -> None:
    with pytest.raises(SettingsError) as told:
        Settings.from_env({"SMARTHOUSE_THREADS": "many", "SMARTHOUSE_MAX_RECORDS": "0", "SMARTHOUSE_STATE_ULR": "memory://"})
    assert "SMARTHOUSE_THREADS" in str(told.value)
    assert "SMARTHOUSE_MAX_RECORDS" in str(told.value)
    assert "did you mean SMARTHOUSE_STATE_URL?" in str(told.value)


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("file", "file/below"):
        with pytest.raises(SettingsError, match=f"{tmp_path}/file is a file"):
            Settings.from_env({"SMARTHOUSE_DATA_DIR": str(tmp_path / path)}, faults)
    Settings.from_env({"SMARTHOUSE_DATA_DIR": str(tmp_path / "none" / "below")}, faults)


def test_production_asks_for_both_stores() -> None:
    with pytest.raises(SettingsError, match=r"SMARTHOUSE_STATE_URL: required.*\n.*SMARTHOUSE_OBJECTS_URL: required"):
        Settings.from_env({"SMARTHOUSE_ENV": "production"})


@pytest.mark.parametrize("name", ["SMARTHOUSE_STATE_URL", "SMARTHOUSE_OBJECTS_URL"])
def test_memory_with_several_workers_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: memory:// is not shared between processes"):
        Settings.from_env({name: "memory://"})


@pytest.mark.parametrize("name", ["SMARTHOUSE_STATE_URL", "SMARTHOUSE_OBJECTS_URL"])
def test_an_unknown_store_is_answered_with_those_that_exist(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: .*memory://"):
        Settings.from_env({name: "mongodb://localhost"}, faults)


@pytest.mark.parametrize("url", ["sc://spark:15002", "sc://[::1]:15002", "sc://spark/;token=secret", "embedded"])
def test_an_engine_is_embedded_or_a_spark_connect_endpoint(url: str) -> None:
    assert Settings.from_env({"SMARTHOUSE_ENGINE_URL": url}).lake.engine_url == url


@pytest.mark.parametrize("url", ["", "sc://", "sc://spark:port/;token=secret", "spark://spark", "sc://user:secret@spark"])
def test_another_engine_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match="SMARTHOUSE_ENGINE_URL: no such engine") as told:
        Settings.from_env({"SMARTHOUSE_ENGINE_URL": url})
    assert "secret" not in str(told.value)


def test_no_password_of_a_store_is_shown() -> None:
    given = {"SMARTHOUSE_STATE_URL": "redis://:secret@host/0", "SMARTHOUSE_OBJECTS_URL": "minio://key:secret@host/bucket"}
    assert "secret" not in repr(Settings.from_env(given))


@pytest.mark.parametrize("rate", ["often", "5/fortnight", "0/minute"])
def test_a_rate_that_cannot_be_read_is_a_fault(rate: str) -> None:
    with pytest.raises(SettingsError, match="SMARTHOUSE_INGEST_RATE_HOME"):
        Settings.from_env({"SMARTHOUSE_INGEST_RATE_HOME": rate})


@pytest.mark.parametrize("days", ["-1", "36501", "1.5", "ten", ""])
@pytest.mark.parametrize("name", ["raw_days", "lake_days"])
def test_days_of_retention_are_whole_numbers_and_0_is_never(name: str, days: str) -> None:
    variable = f"SMARTHOUSE_{name.upper()}"
    with pytest.raises(SettingsError, match=variable):
        Settings.from_env({variable: days})
    assert getattr(Settings.from_env({variable: "0"}).growth, name) == getattr(Settings.from_env({}).growth, name) == 0


def test_every_preset_changes_only_settings_that_exist() -> None:
    assert all(set(preset) <= set(variables()) for preset in PRESETS.values())


def test_the_readme_has_every_setting_as_its_class_has_it() -> None:
    document = README.read_text()
    assert document == written_into(document), "the table in README.md is stale: run python -m config.table"


def test_compose_passes_on_the_settings_as_the_classes_have_them() -> None:
    document = COMPOSE.read_text()
    assert document == passed_on_in(document), "compose.yaml is stale: run python -m config.table"


def test_every_setting_says_what_it_is_for() -> None:
    told = {name: variable.field.metadata["doc"] for name, variable in variables().items()}
    assert [name for name, doc in told.items() if not re.fullmatch(r"(Number of|[A-Z][a-z]+) [^|\n]+\.", doc)] == []


@pytest.mark.parametrize(
    "origin", ["https://app.example", "http://192.168.1.5:3000", "http://[::1]:3000", "capacitor://localhost"]
)
def test_an_origin_is_named_as_browsers_send_it(origin: str) -> None:
    assert Settings.from_env({"SMARTHOUSE_CORS_STREAMS": f"https://a.example, {origin}"}).origins.streams[1] == origin


@pytest.mark.parametrize(
    "text",
    ["*", "null", "app.example", "https://app.example/", "https://App.example", "https://app.example:443", "https://*.example"],
)
def test_an_origin_that_no_browser_sends_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"SMARTHOUSE_CORS_STREAMS: .* is not an origin .*https://app.example") as told:
        Settings.from_env({"SMARTHOUSE_CORS_STREAMS": text})
    assert text in str(told.value)


def test_the_setting_for_origins_that_was_replaced_says_by_which() -> None:
    with pytest.raises(SettingsError, match=r"CORS_ORIGINS: .* use SMARTHOUSE_CORS_INGEST and SMARTHOUSE_CORS_EXPORT"):
        Settings.from_env({"SMARTHOUSE_CORS_ORIGINS": "*"})
