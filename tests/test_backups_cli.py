"""`smarthouse backup`, `restore --from` and `copy`: what they print, and how they refuse wrong settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from config.settings import Settings
from smarthouse_api.cli import main
from smarthouse_api.house import House
from tests.conftest import HOME, Environment, begin, payload, state


def run(environment: Environment, *words: str, **options: str) -> Result:
    return CliRunner().invoke(main, words, env=environment, **options)


@pytest.fixture
def installation(embedded_pair: Environment) -> Environment:
    """An installation with one upload, which nobody serves."""
    from smarthouse_api.states.uploads import Upload

    house = House(Settings.from_env(embedded_pair))
    house.begin()
    house.states.uploads.receive(Upload(HOME, payload(state())))
    house.states.chores.flush()
    house.close()
    return embedded_pair


@pytest.fixture
def elsewhere(tmp_path: Path) -> Environment:
    return {"SMARTHOUSE_DATA_DIR": str(tmp_path / "elsewhere")}


def test_a_backup_tells_what_it_holds_and_a_restore_what_it_deleted_again(installation, elsewhere, tmp_path):
    made = run(installation, "backup", str(tmp_path / "backup"))
    assert made.exit_code == 0, made.output
    assert made.output.startswith("A whole backup: ")
    assert run(installation, "backup", f"file://{tmp_path}/backup").output.endswith("Copied now: 0 files\n")
    listed = run(installation, "forgotten")
    done = run(elsewhere, "restore", "--from", str(tmp_path / "backup"), "-", input=listed.output)
    assert done.exit_code == 0, done.output
    assert "Homes forgotten again: 0" in done.output
    assert "no list was given" not in done.output
    unlisted = run({"SMARTHOUSE_DATA_DIR": str(tmp_path / "unlisted")}, "restore", "--from", str(tmp_path / "backup"))
    assert (unlisted.exit_code, "no list was given" in unlisted.output) == (0, True)
    assert run(elsewhere, "keys", "list").output == run(installation, "keys", "list").output


def test_a_copy_is_told_and_the_old_stores_say_that_they_are_not_served(installation, tmp_path):
    urls = ["--to-state", f"sqlite://{tmp_path}/copy.db", "--to-objects", f"file://{tmp_path}/copy"]
    done = run(installation, "copy", *urls)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Copied and compared: ")
    told = run(installation, "homes", "list")
    assert (told.exit_code, "it was moved to other stores" in told.output) == (1, True)
    assert run(installation, "copy", "--undo").exit_code == 0
    assert run(installation, "homes", "list").exit_code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["backup", "minio://KEY:s3cret@"], "minio"),
        (["backup", "ftp://user:s3cret@host/x"], "there are file://"),
        (["restore", "--from", "nowhere"], "There is no backup in file://"),
        (["restore", "--replace"], "--replace goes with --from"),
        (["restore", "--from", "x", "--keep-wal"], "does not go with --from"),
        (["restore", "--from", "x", "--accept-losses"], "does not go with --from"),
        (["backup", "/etc/hostname"], "file:///etc/hostname"),
        (["copy"], "--to-state and --to-objects"),
        (["copy", "--to-state", "redis://:s3cret@", "--to-objects", "file://x"], "redis"),
        (["copy", "--to-state", "memory://", "--to-objects", "memory://"], "belongs to one process"),
        (["copy", "--undo"], "No copy holds this installation back"),
    ],
)
def test_a_command_that_cannot_be_done_says_so_and_repeats_no_secret(installation, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    done = run(installation, *words)
    assert done.exit_code != 0
    assert told in done.output
    assert "s3cret" not in done.output
    assert "Traceback" not in done.output
    assert run(installation, "homes", "list").exit_code == 0


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda lines: lines[:-1], "its last line is missing"),
        (lambda lines: lines[:-1] + lines[:1] + lines[1:], "its last line is missing"),
        (lambda lines: [*lines[:1], *lines[2:]], "has 0 lines where its end says 1"),
        (lambda lines: lines[1:], "lacks its first line"),
        (lambda lines: [lines[0], "0" + lines[1][1:] if lines[1][0] != "0" else "1" + lines[1][1:], lines[2]], "is damaged"),
        (lambda lines: [], "The list is empty"),
        (lambda lines: [lines[0].replace(lines[0].split()[-1], "0" * 32), *lines[1:]], "is of the installation 0000"),
    ],
)
def test_a_list_that_is_cut_or_of_another_installation_is_refused(installation, elsewhere, tmp_path, harm, told):
    house = House(Settings.from_env(installation))
    house.access.revoke(house.access.create("revoked", admin=True)[0].id)
    house.close()
    lines = run(installation, "forgotten").output.splitlines()
    whole = tmp_path / "whole"
    whole.write_text("\n".join([*lines, "", *lines, ""]))
    assert run(installation, "restore", str(whole)).exit_code == 0
    run(installation, "backup", str(tmp_path / "backup"))
    (tmp_path / "list").write_text("\n".join(harm(lines)))
    for environment, words in ((installation, []), (elsewhere, ["--from", str(tmp_path / "backup")])):
        done = run(environment, "restore", *words, str(tmp_path / "list"))
        assert (done.exit_code, told in done.output) == (1, True), done.output
        assert "Traceback" not in done.output
    assert run(installation, "homes", "list").exit_code == 0


def test_a_backup_that_would_go_with_the_installation_is_refused(installation):
    inside = f"{installation['SMARTHOUSE_DATA_DIR']}/backup"
    for place in (inside, f"file://{inside}"):
        done = run(installation, "backup", place)
        assert (done.exit_code, "in the installation's own folder" in done.output) == (1, True)
    assert not Path(inside).exists()


def test_nothing_is_backed_up_or_restored_where_there_is_no_installation(elsewhere, tmp_path):
    for words in (["backup", str(tmp_path / "backup")], ["restore"]):
        done = run(elsewhere, *words)
        assert done.exit_code == 1
        assert "empty" in done.output
        assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize(
    ("name", "url", "told"),
    [
        ("STATE", "sqlite://{folder}", ["is a folder, and must be a file", "{folder}/state.db"]),
        ("STATE", "sqlite://{folder}/text", ["or never was one", "sqlite://{folder}/text", "SMARTHOUSE_DATA_DIR"]),
        (
            "STATE",
            "redis://:s3cret@nobody.invalid/0",
            ["redis://nobody.invalid/0", "connecting to nobody.invalid"],
        ),
        ("OBJECTS", "file://{folder}/text", ["{folder}/text is a file, and must be a folder"]),
        ("OBJECTS", "minio://K:s3cret@nobody.invalid/bucket", ["minio://nobody.invalid/bucket", "knows the name of this host"]),
        ("OBJECTS", "minio://K:s3cret@127.0.0.1:9/bucket", ["minio://127.0.0.1:9/bucket", "nothing answers at this address"]),
        ("OBJECTS", "minio://K:s3cret@nobody.invalid", ["names no bucket", "host[:port]/bucket"]),
    ],
)
def test_wrong_settings_are_named_with_what_would_be_right(tmp_path, name, url, told):
    (tmp_path / "text").write_text("no database\n")
    env = {"SMARTHOUSE_DATA_DIR": str(tmp_path / "var"), f"SMARTHOUSE_{name}_URL": url.format(folder=tmp_path)}
    for command in (["status"], ["restore"]):
        done = CliRunner().invoke(main, command, env=env)
        assert done.exit_code == 1
        for part in told:
            assert part.format(folder=tmp_path) in done.output
        assert "s3cret" not in done.output
        assert "Traceback" not in done.output


READING = [
    ["keys", "list"],
    ["homes", "list"],
    ["collections", "list"],
    ["forgotten"],
    ["verify"],
    ["migrate"],
    ["backup", "x"],
]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_command_in_a_mistyped_folder_makes_nothing_there(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, command, env={"SMARTHOUSE_DATA_DIR": str(tmp_path / "mistyped")})
    assert done.exit_code == (2 if command == ["verify"] else 1)  # 1 is for problems that it found
    assert "stores are empty" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["STATE_URL", "OBJECTS_URL"])
def test_a_command_makes_no_store_beside_one_of_an_installation(embedded_pair, tmp_path, name):
    begin(embedded_pair)
    scheme = "sqlite" if name == "STATE_URL" else "file"
    env = embedded_pair | {f"SMARTHOUSE_{name}": f"{scheme}://{tmp_path}/mistyped"}
    other = ("--to-state", f"sqlite://{tmp_path}/other.db", "--to-objects", f"file://{tmp_path}/other")
    for command in (["keys", "create", "--name", "a"], ["backup", str(tmp_path / "place")], ["copy", *other], ["verify"]):
        done = CliRunner().invoke(main, command, env=env)
        assert done.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_mistyped_place_is_named_and_not_made(tmp_path):
    env = {"SMARTHOUSE_DATA_DIR": str(tmp_path / "var")}
    done = CliRunner().invoke(main, ["restore", "--from", str(tmp_path / "mistyped")], env=env)
    assert (done.exit_code, done.stderr) == (
        1,
        f"Error: There is no backup in file://{tmp_path}/mistyped; say where `smarthouse backup` put it\n",
    )
    assert not (tmp_path / "mistyped").exists()


def test_a_refusal_is_a_sentence(embedded_pair):
    done = CliRunner().invoke(main, ["--new", "collections", "create", "a b"], env=embedded_pair)
    assert done.stderr.splitlines()[-1].startswith("Error: id: must be 1 to 100 letters")


@pytest.mark.parametrize("command", [["backup", "x"], ["copy", "--undo"], ["keys", "list"]], ids=" ".join)
def test_ctrl_c_ends_a_command_with_one_line(embedded_pair, monkeypatch, command):
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("smarthouse_api.house.House.__init__", stopped)
    done = CliRunner().invoke(main, command, env=embedded_pair)
    assert (done.exit_code, done.stderr) == (130, "Stopped\n")
