"""The command line as a whole."""

from __future__ import annotations

from importlib.metadata import version

from click.testing import CliRunner

from smarthouse_api.cli import main


def test_the_version_is_that_of_the_installed_package() -> None:
    told = CliRunner().invoke(main, ["--version"])
    assert (told.exit_code, told.output) == (0, f"smarthouse, version {version('smarthouse-api')}\n")
