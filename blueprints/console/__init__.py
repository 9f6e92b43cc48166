"""The console, `/console/`: pages for people, whole without a script, that ask nobody but this service."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Flask, Response

from blueprints.console import files, languages, operator, pages, policy, sample, streams
from blueprints.console.faults import fault_page
from blueprints.dialects import Fault
from config.groups import ServerSettings


def register(app: Flask, settings: ServerSettings) -> None:
    """Have `app` serve the console, unless the settings leave it out."""
    if settings.console != "off":
        languages.register(app)
        policy.register(app)
        app.register_blueprint(files.blueprint)
        app.register_blueprint(pages.blueprint)
    if settings.console == "all":
        app.register_blueprint(operator.blueprint)
        app.register_blueprint(sample.blueprint)
        app.register_blueprint(streams.blueprint)


def dialects(settings: ServerSettings) -> Mapping[str, Callable[[Fault], Response]]:
    """Return how faults are told below the console's path."""
    return {policy.PATH: fault_page} if settings.console != "off" else {}
