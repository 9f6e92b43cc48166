"""Configure gunicorn: `gunicorn -c config/gunicorn.py wsgi:app`."""

from __future__ import annotations

import gc
import glob
import os
import shutil
import sys
import tempfile
from functools import partial
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from backends.ports import StoreError, StoreUnfit
from backends.registry import faults, open_objects, open_state, unfit
from config.settings import Settings, SettingsError

try:
    settings = Settings.from_env(None, faults)
except SettingsError as fault:
    sys.exit(str(fault))

# A worker that exits so stops gunicorn: it would otherwise be started again for ever.
_BOOT_ERROR = 3

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
workers = settings.server.workers
worker_class = "smarthouse_api.serving.worker.Worker"
threads = settings.server.threads
reload = settings.server.reload
graceful_timeout = int(settings.server.request_timeout_seconds)
timeout = 60
keepalive = 5
# The longest that gunicorn allows: names of streams may be long, and are percent-encoded.
limit_request_line = 8190
control_socket_disable = True
# gunicorn's own debug log repeats the paths of requests, with any secret that a client put there.
if settings.server.log_format == "json":
    _stderr = {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}
    logconfig_dict = {
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "smarthouse_api.serving.logs.JsonFormatter"}},
        "handlers": {"stderr": _stderr},
        "root": {"level": "INFO", "handlers": ["stderr"]},
        "loggers": {"gunicorn.error": {"level": "INFO", "handlers": ["stderr"], "propagate": False}},
    }
loglevel = "info" if settings.server.log_level == "debug" else settings.server.log_level

# Generated clients send `Home_UUID`, a spelling that gunicorn drops in silence. This lets that one header through, from any
# address, and trusts no other header. SMARTHOUSE_TRUSTED_PROXIES says which headers of proxies are trusted.
forwarded_allow_ips = "*"
forwarder_headers = "HOME_UUID"
secure_scheme_headers: dict[str, str] = {}

# Arrow's own allocator keeps the memory of a finished export. The system's needs a quarter less at the peak, and 5 % more time.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

# Only the service's own user may read the homes' data.
os.umask(0o077)

# The workers share their counters through files in a folder, which the metrics library reads when it is first imported.
# It maps the files into memory, and a full disk under them would kill every worker. So the folder is not beside the data, and
# in memory if possible. `on_starting` fails if another user has made a folder of this name.
_shared_memory = "/dev/shm"  # noqa: S108
_folder_of_folders = _shared_memory if os.path.isdir(_shared_memory) else tempfile.gettempdir()
_metrics_folders = os.path.join(_folder_of_folders, f"smarthouse-metrics-{os.getuid()}-{os.environ.get('PORT', '8000')}-")
_metrics_folder = f"{_metrics_folders}{os.getpid()}"  # of this master: another of the same port may be ending, or be elsewhere
os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics_folder


def on_starting(server: Any) -> None:
    if told := unfit(settings.stores):
        sys.exit("\n".join(told))
    _refuse_newer_formats()
    _remove_folders_of_the_dead()
    shutil.rmtree(_metrics_folder, ignore_errors=True)
    os.mkdir(_metrics_folder)


def _remove_folders_of_the_dead() -> None:
    """Remove the metrics of masters of this port that were killed, and of no other."""
    for folder in glob.glob(f"{glob.escape(_metrics_folders)}*"):
        try:
            os.kill(int(folder.removeprefix(_metrics_folders)), 0)  # asks whether it runs
        except (ProcessLookupError, ValueError):
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:
            continue


def _refuse_newer_formats() -> None:
    """End with a sentence if a newer version wrote a store. The stores are closed again before a worker is made."""
    from smarthouse_api.coordination.installation import Installation
    from smarthouse_api.coordination.store_agreement import NewerFormat

    state, objects = open_state(settings.stores.state_url), open_objects(settings.stores.objects_url)
    try:
        Installation(state, objects).refuse_newer()
    except NewerFormat as fault:
        sys.exit(f"Not started: {fault}")
    except StoreError:
        pass  # each worker asks again, and readiness says what is wrong
    finally:
        state.close()
        objects.close()


def when_ready(server: Any) -> None:
    if settings.server.console == "off":
        return
    if settings.server.log_format == "json":
        server.log.info("The console is at %s/console/", _address())
    else:  # past the log, whose lines begin with so much that a terminal breaks the address
        sys.stderr.write(f"\nThe console is at {_address()}/console/\n\n")


def _address() -> str:
    """Return an address that a browser on this machine can open: one that stands for all of its own is none."""
    host, _, port = bind.rpartition(":")
    return f"http://{'localhost' if host in ('', '0.0.0.0', '::', '[::]') else host}:{port}{os.environ.get('SCRIPT_NAME', '')}"  # noqa: S104


def post_worker_init(worker: Any) -> None:
    # To look through all that was loaded takes 75 ms, in the middle of anything: also of a commit that others wait for.
    gc.collect()
    gc.freeze()
    house = worker.wsgi.extensions["smarthouse"]
    house.part_exports()  # it forks, and so comes before any thread and any connection
    from smarthouse_api.serving import cut_metrics  # noqa: F401  # what it counts begins at 0

    worker.receive_seconds, worker.longest_body = settings.requests.receive_seconds, settings.requests.max_body_bytes
    house.watch.start(partial(_end, worker.log))
    _show_first_key(house, worker.log)  # before anything else of this process may touch the stores
    if settings.server.housekeeping == "api":
        house.housekeeper.start()


def _end(log: Any, told: str) -> None:
    """End the service, since a newer version wrote a store. It may have answered only by now."""
    log.critical("Not started: %s", told)
    os._exit(_BOOT_ERROR)  # of a thread, `sys.exit` would end only the thread


def _show_first_key(house: Any, log: Any) -> None:
    """Print the first key of a new installation, past the log. The service starts even if this fails."""
    try:
        if key := house.begin():
            signs_in = f"\nSign in with it at {_address()}/console/operator" if settings.server.console == "all" else ""
            sys.stdout.write(f"\nAn admin key, the first key of this installation, shown this once:\n{key}{signs_in}\n\n")
            sys.stdout.flush()
    except StoreUnfit:
        pass  # the watch has said so, and nothing is made
    except Exception as fault:  # of any kind: a command can make a key, and a worker that ends here would be restarted for ever
        log.warning("No first key was shown: %s; `smarthouse keys create --admin` makes one", type(fault).__name__)


def worker_exit(server: Any, worker: Any) -> None:
    if getattr(worker, "wsgi", None) is not None:
        worker.wsgi.extensions["smarthouse"].close()


def child_exit(server: Any, worker: Any) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    shutil.rmtree(_metrics_folder, ignore_errors=True)
