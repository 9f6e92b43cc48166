"""Start the service's programs in a tenth of the time: from a process that has loaded the modules already.

Most of what a start costs here is loading modules: two seconds of processor time for each process. Tests start hundreds.
So each process of pytest has a nursery, which loads them once, and forks for each program. What a program does from then on
is what it does anywhere, with its own arguments, environment, folder, files and exit code.

`gunicorn` of `tests/test_server.py` starts the service as an operator does.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

LIBRARIES = (
    *("flask", "flask_smorest", "marshmallow", "apispec.ext.marshmallow", "werkzeug.serving", "yaml", "limits", "xmltodict"),
    *("flask_babel", "babel.messages.pofile", "babel.messages.mofile"),
    *("numpy", "pyarrow.compute", "pyarrow.parquet", "deltalake", "sqlglot.dialects.spark", "sqlglot.optimizer"),
    *("msgspec", "orjson", "zstandard", "isal.igzip", "jsonschema_rs", "redis", "minio", "click"),
    *("gunicorn.app.wsgiapp", "gunicorn.workers.gthread", "smarthouse_api.app", "smarthouse_api.house", "smarthouse_api.cli"),
)
"""What the nursery loads. Not `prometheus_client`, which reads the environment when it is loaded, nor what imports it."""

ROOT = Path(__file__).parent.parent
_LONGEST_REQUEST = 1 << 20
_SET_CHILD_SUBREAPER = 36
_asking = threading.Lock()


class Program(subprocess.Popen[Any]):
    """Runs a command that begins with `sys.executable` as `subprocess.Popen` does, but with the libraries loaded."""

    # Its parameters differ from version to version of Python, except for the order of these.
    def _execute_child(self, args: list[str], *rest: Any) -> None:
        assert args[0] == sys.executable
        _, _, _, pass_fds, cwd, env, _, _, _, *streams = rest
        theirs_in, ours_in, ours_out, theirs_out, ours_err, theirs_err, _, _, _, _, _, is_leader, *_ = streams
        handles = [own if one == -1 else one for own, one in enumerate((theirs_in, theirs_out, theirs_err))]
        if pass_fds:
            raise ValueError("a program from the nursery gets no further files")
        try:
            self.pid = _begin(
                {
                    "arguments": args[1:],
                    "cwd": str(cwd or os.getcwd()),
                    "environment": dict(env or os.environ),
                    "leader": is_leader,
                },
                handles,
            )
            self._child_created = True
        finally:
            self._close_pipe_fds(theirs_in, ours_in, ours_out, theirs_out, ours_err, theirs_err)  # type: ignore[attr-defined]


def run(command: list[str], *, check: bool = False, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a command as `subprocess.run` does, with the libraries loaded."""
    if options.pop("capture_output", False):
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Program(command, **options) as program:
        try:
            told = program.communicate(timeout=timeout)
        except BaseException:
            program.kill()
            raise
    done = subprocess.CompletedProcess(command, program.returncode, *told)
    if check:
        done.check_returncode()
    return done


@cache
def _nursery() -> socket.socket:
    # So that a program becomes this process's own child, to be waited for.
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
    with theirs:
        command = [sys.executable, "-m", "tests.programs", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, cwd=ROOT)
    atexit.register(lambda: (ours.close(), process.wait()))  # it ends when nobody can ask it for a program any more
    return ours


def _begin(request: dict[str, Any], handles: list[int]) -> int:
    with _asking:  # else one thread may take the answer to another's request, and kill the other's program later
        nursery = _nursery()
        socket.send_fds(nursery, [json.dumps(request).encode()], handles)
        return int(nursery.recv(64))


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. Return the request in the process that is to run it, and None in the nursery at its end."""
    while True:
        data, handles, _, _ = socket.recv_fds(requests, _LONGEST_REQUEST, 3)
        if not data:
            return None
        told, tell = os.pipe()
        between = os.fork()
        if between == 0:
            # The one in the middle ends at once, which makes the program a child of the process that asked for it.
            if pid := os.fork():
                os.write(tell, b"%d" % pid)
                os._exit(0)
            os.close(told)
            os.close(tell)
            requests.close()
            for own, handle in enumerate(handles):
                os.dup2(handle, own)
            for handle in handles:
                if handle > 2:
                    os.close(handle)
            return json.loads(data)  # type: ignore[no-any-return]
        os.waitpid(between, 0)
        requests.send(os.read(told, 64))
        for handle in (told, tell, *handles):
            os.close(handle)


def _run(request: dict[str, Any]) -> None:
    if request["leader"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    how, *rest = request["arguments"]
    sys.path[0] = request["cwd"]
    sys.modules.pop("tests.programs", None)
    sys.modules.pop("tests", None)
    if how == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif how == "-c":
        sys.argv = ["-c", *rest[1:]]
        main = type(sys)("__main__")
        sys.modules["__main__"] = main
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(how))
        sys.argv = [how, *rest]
        runpy.run_path(how, run_name="__main__")


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        gc.disable()
        for library in LIBRARIES:
            importlib.import_module(library)
        gc.freeze()  # a program would look through all of it again and again, and copy each page that it looks at
        gc.enable()
        asked = _serve(given)
    if asked is not None:
        _run(asked)
