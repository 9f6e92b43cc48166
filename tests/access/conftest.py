"""State stores that count for all processes."""

from tests.backends.conftest import fakeredis_state as fakeredis_state
from tests.backends.conftest import redis_state as redis_state
