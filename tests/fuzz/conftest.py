"""Where the library that makes the requests keeps its tables."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="package")
def hypothesis_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep it out of the checkout. It is imported in the tests alone: that takes longer than many a test."""
    from hypothesis.configuration import set_hypothesis_home_dir

    set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))
