"""nginx before some APIs, as docs/production.md has it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.servers import free_port, program
from tests.waiting import soon

_GUIDE = Path(__file__).parent.parent / "docs" / "production.md"


@contextmanager
def nginx_before(ports: Sequence[int], folder: Path) -> Iterator[int]:
    """nginx with the documented configuration, except for addresses and TLS; its port. ports: of two APIs."""
    binary = program("nginx", "apt-get install nginx-light")
    port = free_port()
    [told] = re.findall(r"^```nginx\n(.*?)^```", _GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    for address, api in zip(("10.0.0.11:8000", "10.0.0.12:8000"), ports, strict=True):
        told = told.replace(address, f"127.0.0.1:{api}")
    told = re.sub(r"\n *ssl_.*", "", told).replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    folders = "".join(f"{name}_temp_path {folder}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    told = told.replace("http {", f"http {{ access_log off; {folders}", 1)
    user = "user root; " if os.geteuid() == 0 else ""  # who may write to the folder
    (folder / "nginx.conf").write_text(
        f"{user}pid {folder}/nginx.pid; daemon off; error_log {folder}/error.log; events {{ worker_connections 4096; }}\n{told}"
    )
    process = subprocess.Popen([binary, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        soon(lambda: live(port, "/lake"))
        yield port
    finally:
        process.terminate()
        process.wait(30)


def live(port: int, prefix: str) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}{prefix}/health/live", timeout=5).ok
    except requests.ConnectionError:
        return False
