"""The house as a whole: who may import whom, whose the names are, and that importing does nothing."""

from __future__ import annotations

import configparser
import importlib.util
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import grimp
import pytest

from tests.conftest import ROOT

FOLDERS = ("backends", "blueprints", "config", "smarthouse_api")
NAMES = (*FOLDERS, "wsgi")


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def listed(option: str) -> list[str]:
    return setup_cfg()["options"][option].split()


def modules() -> list[str]:
    """Every module of ours but wsgi, which is the application, gunicorn's settings, which are an entry like it, and the engine
    that is imported when it is asked for, because pyspark cannot be by a program that has no file.
    """
    files = [path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files}
    of_spark = {f"smarthouse_api.lake.{name}" for name in ("spark", "spark_plans", "spark_writing")}
    return sorted(names - {"config.gunicorn"} - of_spark)


def run(command: list[str], folder: Path = ROOT, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False, **options)


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a Python of its own makes of `code`, from the repository's root."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    clean = {name: text for name, text in os.environ.items() if not name.startswith("SMARTHOUSE_")}
    return run(command, env={**clean, **environment})


def test_imports_run_one_way() -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))",
    ]
    told = run(command)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "0 broken" in told.stdout


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph(*FOLDERS, cache_dir=None)
    order = TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules})
    assert set(order.static_order()) == graph.modules


@pytest.mark.parametrize("name", NAMES)
def test_a_top_level_name_is_ours(name: str) -> None:
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    assert Path(found.origin).is_relative_to(ROOT)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_else_owns_a_top_level_name(name: str) -> None:
    owners = set(packages_distributions().get(name, ()))
    assert owners <= {"smarthouse-api"}
    installed = [folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]
    assert installed
    found = PathFinder.find_spec(name, installed)
    assert found is None or Path(found.origin or "").is_relative_to(ROOT)


def test_every_package_is_listed() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts) for folder in FOLDERS for path in (ROOT / folder).rglob("__init__.py")
    }
    assert sorted(found) == sorted(listed("packages"))


def test_every_file_beside_the_modules_is_in_the_wheel() -> None:
    patterns = {name: text.replace(",", " ").split() for name, text in setup_cfg()["options.package_data"].items()}
    data = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()}
    data -= {path for path in data if path.suffix == ".py" or "__pycache__" in path.parts}
    for package in listed("packages"):
        folder = ROOT / package.replace(".", "/")
        data -= {path for pattern in patterns["*"] + patterns.get(package, []) for path in folder.glob(pattern)}
    assert data == set()


def test_no_module_is_outside_a_package() -> None:
    folders = {path.parent for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_every_module_at_the_root_is_listed() -> None:
    assert sorted(path.stem for path in ROOT.glob("*.py")) == listed("py_modules")


def test_the_application_is_never_uploaded_by_accident() -> None:
    assert "Private :: Do Not Upload" in setup_cfg()["metadata"]["classifiers"]


IMPORTING = """
import importlib, os, sys, threading

told = []
WATCHED = ("socket.connect", "socket.bind", "sqlite3.connect", "subprocess.Popen", "os.fork", "os.mkdir", "os.remove")

def ours(frame):
    # Whether one of our modules is being imported, and no other module on its behalf.
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(os.getcwd()) and "site-packages" not in name:
            return True
        if frame.f_code.co_name == "<module>":
            return False
        frame = frame.f_back
    return False

def watch(event, arguments):
    # Asked of few events only: to look at a frame is an event itself. What a library does when imported is its own affair.
    if event != "open" and event not in WATCHED or not ours(sys._getframe(1)):
        return
    if event in WATCHED:
        told.append(f"{event} {arguments}")
    elif isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        told.append(f"writes {arguments[0]}")
    elif not str(arguments[0]).endswith((".py", ".pyc")):
        told.append(f"reads {arguments[0]}")

sys.dont_write_bytecode = True
sys.addaudithook(watch)
for name in sys.argv[1:]:
    before = set(threading.enumerate())
    importlib.import_module(name)
    told += [f"{name} starts {thread}" for thread in set(threading.enumerate()) - before]
print("\\n".join(told))
"""


def test_importing_starts_no_thread_and_touches_no_file_and_no_network(tmp_path: Path) -> None:
    names = modules()
    assert {"backends.sqlite", "smarthouse_api.app", "blueprints.docs", "config.settings"} <= set(names)
    told = python(IMPORTING, *names, SMARTHOUSE_DATA_DIR=str(tmp_path / "data"))
    assert (told.returncode, told.stdout.strip(), told.stderr) == (0, "", "")
    assert not (tmp_path / "data").exists()


def test_the_watch_over_imports_sees_what_it_should(tmp_path: Path) -> None:
    (tmp_path / "guilty.py").write_text(
        "import sqlite3, threading\n"
        "sqlite3.connect(':memory:')\n"
        "open('written', 'w').close()\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    command = [sys.executable, "-c", IMPORTING, "guilty"]
    told = run(command, tmp_path).stdout
    assert [word for word in ("sqlite3.connect", "writes written", "guilty starts") if word not in told] == []


def test_making_the_application_opens_no_store_and_starts_no_thread(tmp_path: Path) -> None:
    code = "import threading, wsgi; assert len(threading.enumerate()) == 1, threading.enumerate(); print(wsgi.app.name)"
    told = python(code, SMARTHOUSE_DATA_DIR=str(tmp_path / "data"), PYTHONDONTWRITEBYTECODE="1")
    assert (told.returncode, told.stdout.strip()) == (0, "smarthouse_api"), told.stderr
    assert not (tmp_path / "data").exists()
