"""Who may ask a Redis server, what happens when it is slow, lies or dies, and what a scrub of its files leaves."""

from __future__ import annotations

import random
import socketserver
import subprocess
import threading
import time
import traceback
from contextlib import closing

import pytest

from backends.ports import ABSENT, Change, Conflict, Document, Put, StateStore, StoreFull, StoreUnavailable
from backends.redis import RedisState
from tests.redis_cluster import back
from tests.servers import RedisServer, free_port
from tests.waiting import soon

PASSWORD, WRITTEN = "s/e:c@r?e#t+%", "s%2Fe%3Ac%40r%3Fe%23t+%25"


@pytest.fixture
def own_server(tmp_path):
    """A server that the test may kill, and a store on it."""
    server = RedisServer(tmp_path / "own", requirepass=PASSWORD)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_store(own_server):
    url = f"redis://:{WRITTEN}@127.0.0.1:{own_server.port}/0?timeout_seconds=0.5&scrub_seconds=10"
    with closing(RedisState(url)) as store:
        yield store


# --- who asks, and what for


def test_a_wrong_password_is_unavailable_and_in_no_message(own_server):
    for login in (f":{WRITTEN}x", f"nobody:{WRITTEN}", ""):
        store = RedisState(f"redis://{login}@127.0.0.1:{own_server.port}/0")
        for ask in (store.check, store.scrub, lambda store=store: store.put("home", "key", b"")):
            with pytest.raises(StoreUnavailable) as caught:
                ask()
            assert PASSWORD not in "".join(traceback.format_exception(caught.value)) + repr(store.__dict__)


def test_a_user_of_its_own_needs_few_rights(own_server):
    with own_server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "house", "on", f">{PASSWORD}", "~smarthouse:*", "-@all", "+@read", "+@write", "+@scripting",
            "+@connection", "+info", "+bgrewriteaof", "+bgsave", "+time",
        )  # fmt: skip
    with closing(RedisState(f"redis://house:{WRITTEN}@127.0.0.1:{own_server.port}/0")) as store:
        store.commit("home", Change(puts=(Put("key", b"", 60),), appends=(("log", b""), ("log", b"")), drops=(("log", 1),)))
        assert store.get("home", "key") is not None
        assert len(store.scan("home")) == len(store.read("home", "log")) == 1
        assert "warning" not in store.check()
        store.load([*store.dump()])
        assert len(store.read("home", "log")) == 1
        store.scrub()


@pytest.fixture
def certificates(tmp_path):
    """A CA, and a certificate of its for 127.0.0.1."""

    def openssl(line):
        subprocess.run(["openssl", *line.split()], cwd=tmp_path, check=True, capture_output=True)

    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    (tmp_path / "san").write_text("subjectAltName=IP:127.0.0.1")
    openssl(f"req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem")
    openssl(f"req {key} -subj /CN=redis -keyout redis.key -out redis.csr")
    openssl("x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -days 2 -extfile san -out redis.pem")
    return tmp_path


def test_tls_is_spoken_with_a_server_that_the_ca_vouches_for(certificates, tmp_path):
    port = free_port()
    told = {"tls_cert_file": "redis.pem", "tls_key_file": "redis.key", "tls_ca_cert_file": "ca.pem"}
    server = RedisServer(
        tmp_path / "tls", tls_port=str(port), **{name: str(certificates / path) for name, path in told.items()}
    )
    server.start()
    try:
        pair = f"cert={certificates}/redis.pem&key={certificates}/redis.key"
        with closing(RedisState(f"rediss://127.0.0.1:{port}/0?ca={certificates}/ca.pem&{pair}")) as store:
            store.put("home", "key", b"value")
            store.scrub()
        for tail in (f"?{pair}", f"?ca={certificates}/ca.pem", f"?ca={certificates}/none.pem"):
            with pytest.raises(StoreUnavailable):
                RedisState(f"rediss://127.0.0.1:{port}/0{tail}").get("home", "key")
    finally:
        server.kill()


def test_a_check_warns_when_a_restart_loses_everything(tmp_path):
    server = RedisServer(tmp_path / "own", appendonly="no")
    server.start()
    with closing(RedisState(server.url)) as store:
        assert "warning: appendonly is off" in store.check()
    server.kill()


# --- the server is slow, or gone


class Answering(socketserver.ThreadingTCPServer):
    """A server that has one answer to all but what opens a connection; without it, it hangs up. asked: the commands."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answer):
        self.answer, self.asked = answer, []
        super().__init__(("127.0.0.1", 0), Session)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.server_address[1]}/0"


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]
            if words[0] == b"CLIENT":
                self.wfile.write(b"+OK\r\n")
                continue
            self.server.asked.append(words[0])
            if self.server.answer is None:
                return
            self.wfile.write(self.server.answer)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", StoreUnavailable),
        (b"-READONLY You can't write against a read only replica.\r\n", StoreUnavailable),
        (b"-NOREPLICAS Not enough good replicas to write.\r\n", StoreUnavailable),
        (b"-MISCONF Errors writing to the AOF file: Input/output error\r\n", StoreUnavailable),
        (b"-MISCONF Errors writing to the AOF file: No space left on device\r\n", StoreFull),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", StoreFull),
        (b"no Redis at all\r\n", StoreUnavailable),
    ],
)
def test_what_the_server_answers_is_told_as_the_port_promises(answer, error):
    with Answering(answer) as server, closing(RedisState(server.url)) as store:
        for ask in (lambda: store.put("home", "key", b""), store.check):
            with pytest.raises(StoreUnavailable) as caught:
                ask()
            assert type(caught.value) is error


def test_a_commit_whose_answer_is_lost_is_not_repeated_but_a_read_is_once():
    with Answering(None) as server, closing(RedisState(server.url)) as store:
        for ask, times in (
            (lambda: store.commit("home", Change(appends=(("log", b""),))), 1),
            (lambda: store.get("home", "key"), 2),
            (lambda: store.read("home", "log"), 2),
        ):
            server.asked.clear()
            with pytest.raises(StoreUnavailable):
                ask()
            assert len(server.asked) == times


def answers(store: StateStore) -> bool:
    try:
        return store.get("home", "key") is not None
    except StoreUnavailable:
        return False


@pytest.mark.alone
def test_a_server_that_hangs_is_unavailable_in_time_and_used_again_when_it_answers(own_server, own_store):
    version = own_store.put("home", "key", b"1")
    own_server.pause()
    for ask in (
        own_store.check,
        lambda: own_store.put("home", "key", b"2", expect=version),
        lambda: own_store.get("home", "key"),
    ):
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable):
            ask()
        assert time.monotonic() - begun < 1
    own_server.resume()
    soon(lambda: answers(own_store))
    # The put may have been made meanwhile, or may not; under the same expectation it is not made twice.
    try:
        own_store.put("home", "key", b"2", expect=version)
    except Conflict:
        assert own_store.get("home", "key") == Document(b"2", version + 1)


def test_a_restart_costs_no_commit(own_server, own_store):
    version = own_store.put("home", "key", b"before")
    own_server.kill()
    with pytest.raises(StoreUnavailable):
        own_store.get("home", "key")
    own_server.start()
    assert own_store.commit("home", Change(expect={"key": version}, appends=(("log", b""),))).sequences == (1,)
    own_server.kill()
    own_server.start()
    assert own_store.commit("home", Change(appends=(("log", b""),))).sequences == (2,)


def test_nothing_acknowledged_is_lost_when_the_server_is_killed_at_random(own_server, own_store):
    stop = threading.Event()

    def kill_again_and_again():
        while not stop.wait(random.uniform(0.03, 0.15)):  # long enough for a look
            own_server.kill()
            own_server.start()

    killer = threading.Thread(target=kill_again_and_again, daemon=True)  # a failure here is not to wait for it
    killer.start()
    lost, number, version, deadline, unknown = 0, 0, ABSENT, time.monotonic() + 2, False
    while time.monotonic() < deadline:
        number += 1
        change = Change(
            expect={"count": version},
            puts=(Put("count", b"%d" % number), Put(f"key-{number % 50}", b"%d" % number * 100)),
            appends=(("kept", b"%d" % number), ("dropped", b"")),
            drops=(("dropped", number),),
        )
        was_unknown, unknown, failed = unknown, False, True
        try:
            version, failed = own_store.commit("home", change).version, False
        except StoreUnavailable:
            unknown = True
        except Conflict:
            # What the last look found undone was still on its way to the server.
            assert was_unknown
        if failed:
            found = back(lambda: own_store.get("home", "count"))
            made = int(found.value) if found else 0
            assert made in (number - 1, number)
            lost, number, version = lost + 1, made, found.version if found else ABSENT
        assert back(lambda: own_store.last_sequence("home", "kept")) in (number, number + unknown)
    stop.set()
    killer.join()
    number = int(back(lambda: own_store.get("home", "count")).value)
    entries = own_store.read("home", "kept", limit=10**6)
    assert [(entry.sequence, entry.value) for entry in entries] == [(n, b"%d" % n) for n in range(1, number + 1)]
    assert own_store.read("home", "dropped") == []
    assert own_store.last_sequence("home", "dropped") == number
    assert number > lost > 0


# --- erasing


def test_a_scrub_reaches_the_files_of_every_replica(own_server, own_store, tmp_path):
    copy = RedisServer(tmp_path / "copy", replicaof=f"127.0.0.1 {own_server.port}", masterauth=PASSWORD, requirepass=PASSWORD)
    with own_server.client() as client:
        client.config_set("repl-diskless-sync-delay", 0)
        client.config_set("repl-diskless-sync", "no")
    own_store.commit("home", Change(puts=(Put("key", b"a secret value"),), appends=(("log", b"a secret entry"), ("log", b""))))
    copy.start()
    try:
        with copy.client() as client:
            soon(lambda: client.info("replication")["master_link_status"] == "up")
        snapshots = [server.folder / "dump.rdb" for server in (own_server, copy)]
        assert all(b"a secret value" in path.read_bytes() for path in snapshots)
        own_store.commit("home", Change(deletes=("key",), drops=(("log", 1),)))
        own_store.scrub()
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"a secret" in path.read_bytes()]
    finally:
        copy.kill()


def test_a_scrub_waits_for_a_rewrite_under_way_and_begins_another(own_server, own_store):
    with own_server.client() as client:
        client.config_set("rdb-key-save-delay", 300_000)
        own_store.put("home", "key", b"a secret value")
        client.bgrewriteaof()
        own_store.commit("home", Change(deletes=("key",)))
        client.config_set("rdb-key-save-delay", 0)
        own_store.scrub()
    assert not [path for path in own_server.folder.rglob("*") if path.is_file() and b"a secret" in path.read_bytes()]


def test_a_scrub_that_is_not_allowed_or_takes_too_long_is_unavailable(own_server, own_store):
    own_store.put("home", "key", b"")
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-bgrewriteaof")
        with pytest.raises(StoreUnavailable):
            own_store.scrub()
        client.execute_command("ACL", "SETUSER", "default", "+bgrewriteaof")
        client.config_set("rdb-key-save-delay", 10_000_000)
    hasty = RedisState(f"redis://:{WRITTEN}@127.0.0.1:{own_server.port}/0?scrub_seconds=0.2")
    with closing(hasty), pytest.raises(StoreUnavailable, match="in time"):
        hasty.scrub()
