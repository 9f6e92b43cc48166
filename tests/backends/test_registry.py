from __future__ import annotations

import subprocess
import sys

import pytest

from backends.ports import ObjectStore, StateStore
from backends.registry import OBJECT_BACKENDS, STATE_BACKENDS, open_objects, open_state

URLS = {"memory": "memory://"} | {
    scheme: f"{scheme}://localhost/0" for scheme in ("redis", "rediss", "redis+cluster", "rediss+cluster")
}


@pytest.mark.parametrize("scheme", STATE_BACKENDS)
def test_every_state_scheme_opens_a_state_store(scheme):
    assert isinstance(open_state(URLS.get(scheme, f"{scheme}://localhost/never-opened")), StateStore)


@pytest.mark.parametrize("scheme", OBJECT_BACKENDS)
def test_every_object_scheme_opens_an_object_store(scheme):
    assert isinstance(open_objects(URLS.get(scheme, f"{scheme}://localhost/never-opened")), ObjectStore)


@pytest.mark.parametrize(("open_store", "table"), [(open_state, STATE_BACKENDS), (open_objects, OBJECT_BACKENDS)])
@pytest.mark.parametrize("url", ["sqlit:///srv/state.db", "srv/state.db", ""])
def test_an_unknown_scheme_is_answered_with_the_known_ones(open_store, table, url):
    with pytest.raises(ValueError, match="no store for") as caught:
        open_store(url)
    assert all(f"{scheme}://" in str(caught.value) for scheme in table)


@pytest.mark.parametrize("url", ["memory://somewhere", "memory://?timeout_seconds=5"])
@pytest.mark.parametrize("open_store", [open_state, open_objects])
def test_a_store_in_memory_has_no_options(open_store, url):
    with pytest.raises(ValueError, match="memory://"):
        open_store(url)


def test_a_backend_is_imported_only_when_its_url_is_opened():
    code = "import sys, backends.registry as r; r.open_state('memory://'); print(any('sqlite' in m for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_constructor_opens_nothing(tmp_path):
    open_state(f"sqlite://{tmp_path}/a/state.db")
    open_objects(f"file://{tmp_path}/b")
    assert not [*tmp_path.iterdir()]
