"""The house of the application that serves the current request."""

from __future__ import annotations

from typing import cast

from flask import current_app

from smarthouse_api.house import House


def house() -> House:
    """Gives a view the house of the application that serves the current request."""
    return cast(House, current_app.extensions["smarthouse"])
