"""What is MinIO's own: its URL, its bucket, credentials and TLS, uploads in parts, outages, and URLs that are signed."""

from __future__ import annotations

import datetime as dt
import io
import ipaddress
import json
import logging
import os
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote
from urllib.request import urlopen
from uuid import uuid4

import psutil
import pyarrow as pa
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError
from minio import Minio, MinioAdmin
from minio.commonconfig import ENABLED
from minio.credentials import AssumeRoleProvider, StaticProvider
from minio.versioningconfig import SUSPENDED, VersioningConfig

from backends.minio import MinioObjects
from backends.minio_connections import _Retries
from backends.minio_room import free_in
from backends.ports import Conflict, NoSuchObject, ObjectDamaged, ObjectInUse, StoreFull, StoreUnavailable, StoreUnfit
from tests.conftest import ROOT
from tests.programs import Program
from tests.servers import ACCESS_KEY, SECRET_KEY, MinioServer

LOGIN = f"{ACCESS_KEY}:{quote(SECRET_KEY, safe='')}@"
MORE_THAN_A_PART = [b"%d" % (number % 10) * 1_000_000 for number in range(40)]
TIMEOUT_SECONDS = 0.5
ENVIRONMENT = (
    "MINIO_ACCESS_KEY",
    "MINIO_SECRET_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_ACCESS_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
WRITES_A_TABLE = """
import json, sys, numpy, pyarrow
from deltalake import write_deltalake
rows, options = pyarrow.table({"x": numpy.arange(3_000_000) / 7}), json.load(sys.stdin)
while True:
    write_deltalake(sys.argv[1], rows, mode="append", storage_options=options)
"""


@pytest.fixture
def bucket():
    return f"test-{uuid4().hex}"


@pytest.fixture
def client(minio_server):
    """The test's own, past what is under test."""
    return Minio(minio_server.endpoint, ACCESS_KEY, SECRET_KEY, secure=False)


@pytest.fixture
def open_store(minio_server, bucket):
    """Opens stores in one bucket, with an endpoint, a login, or options of their own."""
    opened = []

    def make(endpoint=minio_server.endpoint, login=LOGIN, prefix="", **options):
        query = "&".join(f"{name}={value}" for name, value in {"secure": 0, **options}.items())
        opened.append(MinioObjects(f"minio://{login}{endpoint}/{bucket}{prefix}?{query}"))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def objects(open_store):
    return open_store()


@pytest.fixture(scope="module")
def own_server(tmp_path_factory):
    """A server that a test may stop, as long as it starts it again."""
    server = MinioServer(tmp_path_factory.mktemp("own"))
    server.start()
    yield server
    server.kill()


@contextmanager
def within(seconds):
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


# The URL.


@pytest.mark.parametrize(
    "url",
    [
        "minio://",
        "minio://localhost:9000",
        "minio://localhost:9000/",
        "minio://localhost:port/bucket",
        "minio://:9000/bucket",
        "minio://localhost:9000/Bucket",
        "minio://bucket.localhost.amazonaws.com/bucket",
        "minio://localhost:9000/bucket//prefix",
        "minio://localhost:9000/bucket/pre fix",
        f"minio://localhost:9000/bucket/{'x' * 101}",
        "minio://localhost:9000/bucket?secure",
        "minio://localhost:9000/bucket?secure=yes",
        "minio://localhost:9000/bucket?region=",
        "minio://localhost:9000/bucket?timeout_seconds=0",
        "minio://localhost:9000/bucket?timeout_seconds=nan",
        "minio://localhost:9000/bucket?abandoned_after_seconds=-1",
        "minio://localhost:9000/bucket?bin_seconds=soon",
        "minio://localhost:9000/bucket?public_endpoint=localhost",
        "minio://localhost:9000/bucket?public_endpoint=https://localhost/path",
        "minio://localhost:9000/bucket?public_endpoint=https://a:topsecret@localhost",
        "minio://key@localhost:9000/bucket",
        "minio://key:@localhost:9000/bucket",
        "minio://:topsecret@localhost:9000/bucket",
        "minio://key:top/secret@localhost:9000/bucket",
        "minio://key:top?secret@localhost:9000/bucket",
        "minio://key:top?secret=@localhost:9000/bucket",
        "minio://key:top#secret@localhost:9000/bucket",
        "minio://key:[topsecret@localhost:9000/bucket",
        "minio://key:topsecret@localhost:9000/bucket?topsecret=1",
    ],
)
def test_a_url_that_names_no_bucket_is_refused_and_none_of_it_repeated(url):
    with pytest.raises(ValueError) as refused:
        MinioObjects(url)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert "localhost" not in str(refused.value)


def test_an_unknown_option_is_answered_with_the_known_ones():
    known = "abandoned_after_seconds, bin_seconds, public_endpoint, region, secure, timeout_seconds"
    with pytest.raises(ValueError, match=f"there are {known}$"):
        MinioObjects("minio://localhost:9000/bucket?timeout=5")


def test_nothing_is_asked_of_a_server_before_the_first_use():
    MinioObjects("minio://key:secret@127.0.0.1:1/bucket").close()


def test_objects_and_tables_are_where_the_documentation_says(open_store, client, bucket):
    objects = open_store(prefix="/smart/house")
    objects.put("raw/home/1", [b"value"])
    location = objects.table_location("lake/states")
    write_deltalake(location.uri, pa.table({"x": [1]}), storage_options=location.storage_options)
    names = {found.object_name for found in client.list_objects(bucket, recursive=True)}
    assert location.uri == f"s3://{bucket}/smart/house/tables/lake/states"
    assert {"smart/house/objects/raw/home/1", "smart/house/tables/lake/states/_delta_log/00000000000000000000.json"} < names
    assert [info.key for info in objects.list()] == ["raw/home/1"]


# The bucket.


def test_a_bucket_that_is_missing_is_made_once_by_many(open_store, client, bucket):
    stores = [open_store() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda store: store.put("key", [b"value"]), stores))
    assert client.bucket_exists(bucket)


def test_reading_makes_no_bucket(open_store, client, bucket):
    objects = open_store()
    assert [*objects.list(), *objects.list_table("states")] == []
    with pytest.raises(NoSuchObject):
        objects.get("key")
    assert not client.bucket_exists(bucket)


@pytest.mark.parametrize("status", [ENABLED, SUSPENDED])
def test_a_bucket_that_keeps_versions_is_refused(open_store, client, bucket, status):
    client.make_bucket(bucket)
    client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    client.set_bucket_versioning(bucket, VersioningConfig(status))
    for ask in (lambda store: store.put("key", [b""]), lambda store: store.check(), lambda store: store.table_location("x")):
        with pytest.raises(StoreUnfit, match=f"versioning is {status.lower()}"):
            ask(open_store())


def test_a_bucket_that_locks_objects_is_refused(objects, client, bucket):
    client.make_bucket(bucket, object_lock=True)
    with pytest.raises(StoreUnfit, match="keeps what is deleted"):
        objects.check()


def test_a_check_notices_what_became_of_the_bucket(objects, client, bucket):
    assert bucket in objects.check()
    client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    with pytest.raises(StoreUnfit):
        objects.check()


def test_a_bucket_that_vanished_is_an_outage_and_is_not_made_anew(objects, client, bucket):
    objects.put("key", [b""])
    objects.delete(["key"])
    client.remove_bucket(bucket)
    calls = (
        lambda: objects.put("key", [b""]),
        lambda: objects.get("key"),
        lambda: [*objects.list()],
        lambda: objects.delete(["key"]),
        lambda: objects.sweep(),
        lambda: objects.check(),
    )
    for call in calls:
        with pytest.raises(StoreUnavailable, match="the bucket is gone"):
            call()
    assert not client.bucket_exists(bucket)


def test_a_missing_bucket_is_told_with_the_command_that_makes_it_and_is_not_made(open_store, client, bucket):
    told = open_store().missing()
    assert f"bucket '{bucket}' at" in told
    assert f"does not exist: correct the bucket's name in the URL, or make it with `mc mb ALIAS/{bucket}`" in told
    assert not client.bucket_exists(bucket)
    open_store().check()
    assert open_store().missing() is None


def test_what_a_check_that_died_left_is_swept_away(open_store, client, bucket):
    objects = open_store(abandoned_after_seconds=0)
    objects.check()
    client.put_object(bucket, "checks/of-one-that-died", io.BytesIO(b"check"), 5)
    assert open_store().sweep() == 0
    assert objects.sweep() == 1
    assert not list(client.list_objects(bucket, recursive=True))


# Credentials.


@pytest.mark.parametrize(
    ("login", "words"),
    [(f"{ACCESS_KEY}:wrong-secret@", "the secret key is wrong"), ("nobody:wrong-secret@", "the access key is not known")],
)
def test_wrong_credentials_are_an_outage_in_words(open_store, login, words):
    with pytest.raises(StoreUnavailable, match=words) as refused:
        open_store(login=login).check()
    assert "wrong-secret" not in str(refused.value)


@pytest.mark.alone
@pytest.mark.parametrize("names", [("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")])
def test_credentials_come_from_the_environment_if_not_from_the_url(open_store, monkeypatch, names):
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    objects = open_store(login="")
    with within(1), pytest.raises(StoreUnavailable):
        objects.check()
    for name, value in zip(names, (ACCESS_KEY, SECRET_KEY), strict=True):
        monkeypatch.setenv(name, value)
    assert objects.check()
    location = objects.table_location("table")
    write_deltalake(location.uri, pa.table({"x": [1]}), storage_options=location.storage_options)


def test_credentials_for_a_while_go_with_their_token(open_store, minio_server, monkeypatch):
    url = f"http://{minio_server.endpoint}"
    temporary = AssumeRoleProvider(sts_endpoint=url, access_key=ACCESS_KEY, secret_key=SECRET_KEY).retrieve()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", temporary.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", temporary.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", temporary.session_token)
    objects = open_store(login="", public_endpoint=url)
    objects.put("key", [b"value"])
    assert requests.get(objects.signed_url("key", 60), timeout=5).content == b"value"
    location = objects.table_location("table")
    write_deltalake(location.uri, pa.table({"x": [1]}), storage_options=location.storage_options)


def test_a_table_is_not_misled_by_the_environment_of_another_store(objects, monkeypatch):
    for name, value in {"AWS_SESSION_TOKEN": "another's", "AWS_SKIP_SIGNATURE": "true", "AWS_REGION": "x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    location = objects.table_location("table")
    write_deltalake(location.uri, pa.table({"x": [1]}), storage_options=location.storage_options)
    assert DeltaTable(location.uri, storage_options=location.storage_options).version() == 0


def test_no_secret_is_told_to_a_log_or_in_a_fault(open_store, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "urllib3.connectionpool")  # an application that was made before may have set it higher
    objects, nowhere = open_store(), open_store(endpoint="127.0.0.1:1")
    objects.put("key", MORE_THAN_A_PART, if_absent=True)
    told = [repr(objects), repr(vars(objects)), repr(objects.table_location("table")), objects.check()]
    for ask in (nowhere.check, lambda: objects.get("none"), lambda: objects.put("key", [b""], if_absent=True)):
        with pytest.raises(Exception) as fault:
            ask()
        told += [str(fault.value), repr(fault.value), repr(fault.value.__cause__)]
    text = "\n".join([*told, *(record.getMessage() for record in caplog.records)])
    assert "PUT" in text
    assert not [word for word in (SECRET_KEY, quote(SECRET_KEY, safe=""), "Signature=") if word in text]


# TLS and regions.


def certificate(folder):
    """An authority of its own, and a certificate of it for the loopback, where MinIO looks for them."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test's own")])
    now, key = dt.datetime.now(dt.UTC), ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True)
    (folder / "public.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "private.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "public.crt"


class TlsServer(MinioServer):
    """MinIO under TLS, in a region."""

    def __init__(self, folder):
        self.authority = certificate(folder / ".minio/certs")
        super().__init__(folder, MINIO_SITE_REGION="eu-test-1")
        self._ready = self._answers

    def _answers(self):
        try:
            trusting = ssl.create_default_context(cafile=self.authority)
            with urlopen(f"https://{self.endpoint}/minio/health/ready", context=trusting, timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory):
    server = TlsServer(tmp_path_factory.mktemp("tls"))
    server.start()
    yield server
    server.kill()


def test_tls_trusts_the_authorities_of_ssl_cert_file(open_store, tls_server, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_server.authority))
    objects = open_store(tls_server.endpoint, secure=1, region="eu-test-1")
    objects.put("key", MORE_THAN_A_PART)
    assert objects.get("key") == b"".join(MORE_THAN_A_PART)
    assert objects.check()
    location = objects.table_location("table")
    write_deltalake(location.uri, pa.table({"x": [1]}), storage_options=location.storage_options)
    assert DeltaTable(location.uri, storage_options=location.storage_options).version() == 0


def test_tls_trusts_no_stranger(open_store, tls_server, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")  # the system's
    monkeypatch.delenv("SSL_CERT_DIR")
    with pytest.raises(StoreUnavailable):
        open_store(tls_server.endpoint, secure=1, region="eu-test-1").check()


def test_a_wrong_region_is_told_in_words(open_store, tls_server, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_server.authority))
    with pytest.raises(StoreUnavailable, match="see the option region"):
        open_store(tls_server.endpoint, secure=1).check()


# Uploads in parts.


def test_an_object_in_parts_is_whole_and_replaced_or_not_as_asked(objects):
    assert objects.put("key", iter(MORE_THAN_A_PART), if_absent=True) == 40_000_000
    assert objects.get("key") == b"".join(MORE_THAN_A_PART)
    with pytest.raises(Conflict):
        objects.put("key", iter(MORE_THAN_A_PART), if_absent=True)
    assert objects.put("key", [b"x" * (16 << 20), b"y"]) == (16 << 20) + 1
    assert b"".join(objects.stream("key", (16 << 20) - 1)) == b"xy"
    assert objects.put("key", [b"x" * (16 << 20)]) == 16 << 20


@pytest.mark.parametrize("fault", [KeyError("chunks"), KeyboardInterrupt(), OSError("not the store's")], ids=repr)
def test_an_upload_in_parts_is_aborted_when_its_chunks_fail(open_store, fault):
    def chunks():
        yield from MORE_THAN_A_PART
        raise fault

    objects = open_store(abandoned_after_seconds=0)
    with pytest.raises(type(fault)) as raised:
        objects.put("key", chunks())
    assert raised.value is fault
    assert list(objects.list()) == []
    assert objects.sweep() == 0


@pytest.mark.parametrize("place", ["key", "tables-2"])
def test_a_sweep_is_of_its_own_folder(open_store, place):
    elsewhere, objects = (open_store(prefix=prefix, abandoned_after_seconds=0) for prefix in ("/elsewhere", ""))

    def chunks():
        yield from MORE_THAN_A_PART
        assert objects.sweep() == objects.sweep_table("table") == 0

    elsewhere.put(place, chunks())
    assert elsewhere.get(place) == b"".join(MORE_THAN_A_PART)


def test_what_a_dying_deltalake_leaves_is_swept_away(objects, client, bucket):
    def uploads():
        return client._list_multipart_uploads(bucket).uploads

    location = objects.table_location("lake/states")
    with Program([sys.executable, "-c", WRITES_A_TABLE, location.uri], stdin=subprocess.PIPE, text=True) as writer:
        json.dump(location.storage_options, writer.stdin)
        writer.stdin.close()
        deadline = time.monotonic() + 30
        while not uploads() and time.monotonic() < deadline:
            time.sleep(0.001)
        writer.kill()
    left = len(uploads())
    assert left > 0
    assert objects.sweep() == objects.sweep_table("lake/state") == 0
    assert objects.sweep_table("lake/states") == left
    assert uploads() == []


# Tables.


@pytest.fixture(params=["minio_objects", "moto_objects"])
def s3_objects(request):
    return request.getfixturevalue(request.param).open()


def test_of_two_who_commit_the_same_version_one_fails(s3_objects):
    location = s3_objects.table_location("table")
    options = {"storage_options": location.storage_options}
    write_deltalake(location.uri, pa.table({"x": [1, 2]}), **options)
    one, other = DeltaTable(location.uri, **options), DeltaTable(location.uri, **options)
    one.delete("x = 1")
    with pytest.raises(CommitFailedError):
        other.delete("x = 1")


def test_no_commit_of_many_writers_is_lost(s3_objects):
    location = s3_objects.table_location("table")
    options = {"storage_options": location.storage_options}
    write_deltalake(location.uri, pa.table({"x": [-1]}), **options)
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda number: write_deltalake(location.uri, pa.table({"x": [number]}), mode="append", **options), range(8)
            )
        )
    table = DeltaTable(location.uri, **options)
    assert (table.version(), sorted(table.to_pyarrow_table()["x"].to_pylist())) == (8, list(range(-1, 8)))


def test_dead_files_are_found_by_the_names_that_vacuum_tells(s3_objects):
    location = s3_objects.table_location("table")
    options = {"storage_options": location.storage_options}
    rows = pa.table({"where": ["a b", "ü/%", "c+d=e", "%20"], "x": [1, 2, 3, 4]})
    for _ in range(2):
        write_deltalake(location.uri, rows, mode="overwrite", partition_by=["where"], **options)
    table = DeltaTable(location.uri, **options)
    how = {"retention_hours": 0, "enforce_retention_duration": False, "full": True}
    dead = table.vacuum(dry_run=True, **how)
    assert len(dead) == 4
    assert set(dead) < files_of(location)
    s3_objects.sweep_table("table", dead)
    assert not files_of(location) & set(dead)
    assert sorted(table.to_pyarrow_table()["where"].to_pylist()) == sorted(rows["where"].to_pylist())


def files_of(location):
    """Their paths, relative to the table."""
    bucket, _, folder = location.uri.removeprefix("s3://").partition("/")
    endpoint = location.storage_options["aws_endpoint"].removeprefix("http://")
    client = Minio(endpoint, ACCESS_KEY, SECRET_KEY, secure=False)
    found = client.list_objects(bucket, f"{folder}/", recursive=True)
    return {one.object_name.removeprefix(f"{folder}/") for one in found}


# Outages.


@pytest.fixture
def own_store(open_store, own_server):
    store = open_store(own_server.endpoint, timeout_seconds=TIMEOUT_SECONDS)
    store.put("key", [b"value"])
    return store


def calls_of(store):
    """What a request may wait for, and a table opened and written to."""
    location = store.table_location("table")
    options = {"storage_options": location.storage_options}
    write_deltalake(location.uri, pa.table({"x": [1]}), mode="append", **options)
    table = DeltaTable(location.uri, **options)
    own = [
        lambda: store.put("key", [b"value"]),
        lambda: store.get("key"),
        lambda: [*store.list()],
        lambda: store.delete(["none"]),
        lambda: store.check(),
    ]
    tables = [
        lambda: DeltaTable(location.uri, **options),
        lambda: write_deltalake(table, pa.table({"x": [1]}), mode="append"),
    ]
    return own, tables


@pytest.mark.alone
def test_a_server_that_is_gone_is_an_answer_at_once_and_its_return_is_noticed_at_once(own_store, own_server):
    own, tables = calls_of(own_store)
    own_server.kill()
    try:
        for call in own:
            with within(1), pytest.raises(StoreUnavailable):
                call()
        for call in tables:
            with within(2), pytest.raises(Exception):  # noqa: B017
                call()
    finally:
        own_server.start()
    for call in own:
        with within(2):
            call()


def test_a_server_that_was_restarted_meanwhile_fails_no_call(own_store, own_server):
    own, _ = calls_of(own_store)
    own_server.kill()
    own_server.start()
    for call in own:
        call()


@pytest.mark.alone
def test_a_server_that_hangs_is_an_outage_after_the_timeout(own_store, own_server):
    own, tables = calls_of(own_store)
    own_server.pause()
    try:
        for call in own:
            with within(3 * TIMEOUT_SECONDS), pytest.raises(StoreUnavailable):
                call()
        for call in tables:
            with within(5 * TIMEOUT_SECONDS), pytest.raises(Exception):  # noqa: B017
                call()
    finally:
        own_server.resume()
    for call in own:
        with within(2):
            call()


# A server that answers as it is told.


class Told(BaseHTTPRequestHandler):
    """Answers each request with what the first of `server.answers` that fits it says: (method, in its path, status, body)."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(f"{self.command} {self.path}")
        fits = (line for line in self.server.answers if line[0] == self.command and line[1] in self.path)
        found = next(fits, ("", "", 200, b"<VersioningConfiguration/>"))
        if len(self.server.answers) > 1 and found[-1] is ONCE:
            self.server.answers.remove(found)
        status, body = found[2], found[3]
        if found[-1] is LATE:
            time.sleep(2 * TIMEOUT_SECONDS)
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body) + (100 if found[-1] is CUT else 0)))
        self.end_headers()
        self.wfile.write(body)
        if found[-1] is CUT:
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

    def log_message(self, *_):
        """Nothing."""


ONCE, CUT, LATE = object(), object(), object()


def fault(code):
    return f"<Error><Code>{code}</Code></Error>".encode()


@pytest.fixture
def told_server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Told) as server:
        server.daemon_threads = True
        server.answers, server.asked = [], []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def told_store(open_store, told_server):
    return open_store(f"127.0.0.1:{told_server.server_port}", timeout_seconds=2)


# The room.


def policy_of(bucket, *, may_ask):
    told = json.loads((ROOT / "deploy/minio-policy.json").read_text().replace(":::smarthouse", f":::{bucket}"))
    told["Statement"] = [one for one in told["Statement"] if may_ask or one["Action"] != ["admin:ServerInfo"]]
    return told


def test_a_server_tells_its_room_to_the_user_of_the_service_and_says_nothing_to_others(open_store, minio_server, bucket):
    open_store().put("key", [b"value"])
    root = StaticProvider(ACCESS_KEY, SECRET_KEY)
    admin = MinioAdmin(endpoint=minio_server.endpoint, credentials=root, secure=False)
    found = []
    for name, may_ask in ((f"asks-{bucket}", True), (f"not-{bucket}", False)):
        admin.policy_add(name, policy=policy_of(bucket, may_ask=may_ask))
        admin.user_add(name, "a secret of its own")
        admin.policy_set(name, user=name)
        store = open_store(login=f"{name}:a%20secret%20of%20its%20own@")
        assert store.get("key") == b"value"
        found.append(store.free_bytes())
    of_disk = os.statvfs(minio_server.data)
    assert abs(found[0] - of_disk.f_bavail * of_disk.f_frsize) < 0.1 * found[0]
    assert found[1] is None


def test_the_room_of_a_server_that_does_not_tell_is_unknown_and_hides_no_outage(told_store, told_server):
    told_server.answers = [("GET", "/minio/admin", 404, fault("NoSuchKey")), ("PUT", "", 500, fault("InternalError"))]
    with pytest.raises(StoreUnavailable):
        told_store.put("key", [b""])
    asked = len(told_server.asked)
    assert [told_store.free_bytes() for _ in range(3)] == [None] * 3
    assert told_server.asked[asked:] == ["GET /minio/admin/v3/info"]


@pytest.mark.parametrize(
    ("told", "free"),
    [
        ({"servers": [{"drives": [{"availspace": 7}]}], "backend": {"totalDrivesPerSet": [1], "standardSCParity": 0}}, 7),
        (
            {
                "servers": [{"drives": [{"availspace": 100}, {"availspace": 100}]}, {"drives": [{"availspace": 200}, {}]}],
                "backend": {"totalDrivesPerSet": [4], "standardSCParity": 2},
            },
            200,
        ),
        ({"servers": [{"drives": [{"availspace": 0}]}]}, 0),
        ({"servers": [{"state": "offline"}]}, None),
        ({}, None),
        ([], None),
    ],
)
def test_what_drives_have_free_is_also_for_parity(told, free):
    assert free_in(json.dumps(told).encode()) == free


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (507, "XMinioStorageFull"),
        (507, "InsufficientStorage"),
        (400, "XMinioAdminBucketQuotaExceeded"),
        (403, "QuotaExceeded"),
        (507, "Other"),
    ],
)
def test_a_server_without_room_is_full(told_store, told_server, status, code):
    told_server.answers = [("PUT", "/key", status, fault(code))]
    with pytest.raises(StoreFull, match="no room"):
        told_store.put("key", [b"value"])


@pytest.mark.alone
def test_a_server_that_wants_it_slower_is_asked_again_but_not_for_ever(told_store, told_server):
    slower = ("PUT", "/key", 503, fault("SlowDown"))
    told_server.answers = [(*slower, ONCE), ("PUT", "/key", 200, b"")]
    assert told_store.put("key", [b"value"]) == 5
    told_server.answers = [slower]
    with within(2), pytest.raises(StoreUnavailable, match="SlowDown"):
        told_store.put("key", [b"value"])


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", fault("Other"), b"<a/>"])
@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_a_server_that_speaks_no_s3_is_unavailable(told_store, told_server, status, body):
    told_server.answers = [("GET", "", status, body), ("PUT", "", status, body), ("HEAD", "", status, b"")]
    with pytest.raises(StoreUnavailable):
        told_store.check()


def test_a_server_without_versions_is_fit_and_one_that_does_not_tell_is_not(open_store, told_server):
    endpoint = f"127.0.0.1:{told_server.server_port}"
    told_server.answers = [("GET", "versioning", 501, fault("NotImplemented")), ("PUT", "/key", 200, b"")]
    assert open_store(endpoint).put("key", [b"value"]) == 5
    told_server.answers = [("GET", "versioning", 403, fault("AccessDenied"))]
    with pytest.raises(StoreUnfit, match="s3:GetBucketVersioning"):
        open_store(endpoint).put("key", [b"value"])


def test_a_server_that_ignores_conditions_is_unfit(told_store, told_server):
    told_server.answers = [("PUT", "", 200, b""), ("DELETE", "", 204, b"")]
    with pytest.raises(StoreUnfit, match="If-None-Match"):
        told_store.check()
    with pytest.raises(StoreUnfit, match="If-None-Match"):
        told_store.put("key", [b"value"], if_absent=True)
    assert not [asked for asked in told_server.asked if asked.endswith("/key")]
    assert told_store.put("key", [b"value"]) == 5


def test_a_conditional_put_whose_answer_is_lost_is_not_repeated(told_store, told_server):
    told_server.answers = [("PUT", "/checks/", 200, b"", ONCE), ("PUT", "/checks/", 412, fault("PreconditionFailed"))]
    told_server.answers += [("DELETE", "", 204, b""), ("PUT", "/key", 500, fault("InternalError"))]
    with pytest.raises(StoreUnavailable, match="InternalError"):
        told_store.put("key", [b"value"], if_absent=True)
    assert len([asked for asked in told_server.asked if asked.endswith("/key")]) == 1


def test_a_completion_that_fails_after_its_200_is_a_fault(told_store, told_server):
    told_server.answers = [
        ("POST", "uploads=", 200, b"<InitiateMultipartUploadResult><UploadId>one</UploadId></InitiateMultipartUploadResult>"),
        ("POST", "uploadId=", 200, fault("InternalError")),
    ]
    with pytest.raises(StoreUnavailable, match="InternalError"):
        told_store.put("key", MORE_THAN_A_PART)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"<InitiateMultipartUploadResult/>",
        b"<InitiateMultipartUploadResult><UploadId/></InitiateMultipartUploadResult>",
    ],
)
def test_an_answer_without_an_upload_is_a_fault(told_store, told_server, answer):
    told_server.answers = [("POST", "uploads=", 200, answer)]
    with pytest.raises(StoreUnavailable, match="put an object"):
        told_store.put("key", MORE_THAN_A_PART)


def test_errors_of_single_keys_are_raised(told_store, told_server):
    body = b"<DeleteResult><Error><Key>objects/key</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    told_server.answers = [("POST", "delete=", 200, body)]
    with pytest.raises(StoreUnavailable, match="AccessDenied"):
        told_store.delete(["key"])


def test_a_connection_that_is_lost_in_the_middle_is_no_end(told_store, told_server):
    told_server.answers = [("GET", "/key", 200, b"x" * 5000, CUT)]
    with pytest.raises(StoreUnavailable):
        list(told_store.stream("key", chunk_bytes=1000))
    with pytest.raises(StoreUnavailable):
        told_store.get("key")


def test_a_server_that_sends_no_parts_is_not_believed(told_store, told_server):
    told_server.answers = [("GET", "/key", 200, b"0123456789")]
    assert b"".join(told_store.stream("key")) == b"0123456789"
    with pytest.raises(StoreUnavailable, match="parts"):
        told_store.stream("key", 5)


def test_a_server_that_lets_readers_finish_delays_a_deletion_and_nothing_else(open_store, told_server):
    store = open_store(f"127.0.0.1:{told_server.server_port}", timeout_seconds=TIMEOUT_SECONDS)
    told_server.answers = [("POST", "delete=", 200, b"<DeleteResult/>", LATE), ("GET", "/key", 200, b"value")]
    with pytest.raises(ObjectInUse, match="1 objects could not be deleted in time"):
        store.delete(["key"])  # the server says that it is still there
    assert store.get("key") == b"value"  # the circuit is closed


# Who reads slowly.


def test_who_reads_slowly_keeps_nobody_from_deleting_or_replacing(open_store, minio_server, bucket):
    open_store().check()  # makes the bucket
    admin = MinioAdmin(endpoint=minio_server.endpoint, credentials=StaticProvider(ACCESS_KEY, SECRET_KEY), secure=False)
    admin.policy_add(f"own-{bucket}", policy=policy_of(bucket, may_ask=False))
    admin.user_add(f"own-{bucket}", "a secret of its own")
    admin.policy_set(f"own-{bucket}", user=f"own-{bucket}")
    login, public = f"own-{bucket}:a%20secret%20of%20its%20own@", f"http://{minio_server.endpoint}"
    store = open_store(login=login, public_endpoint=public, timeout_seconds=TIMEOUT_SECONDS)
    large = [bytes([number]) * 1_000_000 for number in range(24)]
    store.put("a/key", large)
    store.put("a/key2", [b"value"])
    stream = store.stream("a/key", chunk_bytes=1000)
    assert next(stream) == bytes(1000)
    with within(4 * TIMEOUT_SECONDS):
        store.put("a/key", [b"new" * 4_000_000])
    with pytest.raises(NoSuchObject, match="a/key"):
        list(stream)
    stream = store.stream("a/key", chunk_bytes=1000)
    next(stream)
    store.delete(["a/key"])
    with pytest.raises(NoSuchObject, match="a/key"):
        list(stream)
    store.put("a/key", large)
    with requests.get(store.signed_url("a/key", 60), stream=True, timeout=5) as answer:
        assert len(answer.raw.read(1000)) == 1000
        store.delete(["a/key", "a/none"])
        assert store.get("a/key2") == b"value"
        assert [info.key for info in store.list()] == ["a/key2"]
        with pytest.raises(requests.exceptions.RequestException):
            list(answer.iter_content(1 << 20))
    assert requests.get(store.signed_url("a/key", 60), timeout=5).status_code == 404


# Connections.


def open_files():
    return psutil.Process().num_fds()


def test_a_stream_that_nobody_reads_to_its_end_keeps_no_connection(objects):
    objects.put("key", [b"x" * 10_000_000])
    before = open_files()
    for number in range(20):
        stream = objects.stream("key")
        if number % 2:
            next(stream)
        stream.close()
        del stream
    assert open_files() <= before + 1


def test_as_many_connections_as_threads_and_no_complaint(objects, caplog):
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda number: objects.put(f"key-{number}", [b"value"]), range(96)))
        assert set(pool.map(lambda number: objects.get(f"key-{number}"), range(96))) == {b"value"}
    assert not caplog.records


def test_a_store_that_was_used_before_a_fork_is_used_after_it_by_both(objects):
    objects.put("before", [b"value"])
    stream = objects.stream("before", chunk_bytes=1)
    children = []
    for number in range(4):
        child = os.fork()
        if not child:
            objects.put(f"child-{number}", [b"value"])
            os._exit(0 if objects.get("before") == b"value" else 1)
        children.append(child)
        objects.put(f"parent-{number}", [b"value"])
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert b"".join(stream) == b"value"
    assert len(list(objects.list())) == 9


def test_a_list_and_a_delete_of_more_than_a_page(objects):
    keys = [f"{number:04}" for number in range(1010)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: objects.put(key, [b""]), keys))
    assert [info.key for info in objects.list()] == keys
    objects.delete(keys[:-1])
    assert [info.key for info in objects.list()] == keys[-1:]


# Signed URLs.


@pytest.fixture
def public(open_store, minio_server):
    store = open_store(public_endpoint=f"http://{minio_server.endpoint}")
    store.put("a/key", [b"value"])
    store.put("a/other", [b"other"])
    return store


def test_who_holds_a_signed_url_needs_no_credentials(public):
    url = public.signed_url("a/key", 60)
    assert requests.get(url, timeout=5).content == b"value"
    assert requests.get(url, headers={"Range": "bytes=1-2"}, timeout=5).content == b"al"
    assert requests.put(url, b"new", timeout=5).status_code == 403
    assert requests.get(url.partition("?")[0], timeout=5).status_code == 403


def test_a_signed_url_is_for_one_object_and_not_one_character_else(public):
    url = public.signed_url("a/key", 60)
    assert requests.get(url.replace("a/key", "a/other"), timeout=5).status_code == 403
    assert requests.get(url.replace("Expires=60", "Expires=61"), timeout=5).status_code == 403
    last = "0" if url[-1] != "0" else "1"
    assert requests.get(url[:-1] + last, timeout=5).status_code == 403


def test_a_signed_url_ends_with_its_time(public):
    url = public.signed_url("a/key", 2)
    assert requests.get(url, timeout=5).status_code == 200
    with within(5):
        while requests.get(url, timeout=5).status_code == 200:
            time.sleep(0.1)
    assert requests.get(url, timeout=5).status_code == 403


@pytest.mark.parametrize("name", ["states.zip", 'a "b" ü/\\.zip', "a\r\nX-Header: b"])
def test_a_signed_url_tells_the_name_of_its_file(public, name):
    answer = requests.get(public.signed_url("a/key", 60, name), timeout=5)
    assert answer.content == b"value"
    told = answer.headers["Content-Disposition"]
    assert told.startswith("attachment; filename=")
    assert told.endswith(f"; filename*=UTF-8''{quote(name, safe='')}")


def test_a_url_is_signed_without_asking_a_server(open_store):
    store = open_store("127.0.0.1:1", public_endpoint="https://objects.example.org/", region="eu-1")
    url = store.signed_url("key", 7 * 24 * 3600)
    assert url.startswith("https://objects.example.org/test-")
    assert "/eu-1/" in requests.utils.unquote(url)
    assert SECRET_KEY not in url


def test_a_url_is_signed_only_where_clients_can_reach_the_server_and_for_a_week(objects, public):
    assert objects.signed_url("a/key", 60) is None
    for seconds in (0, -1, 7 * 24 * 3600 + 1):
        with pytest.raises(ValueError, match="seven days"):
            public.signed_url("a/key", seconds)
    with pytest.raises(ValueError, match="not an object key"):
        public.signed_url("../key", 60)
    with pytest.raises(NoSuchObject):
        public.get("a/none")


# Damage to one object on the server's disks.


def flipped(at):
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at:][1:]


DAMAGE = {
    "description": flipped(10),
    "sum of the description": flipped(60),
    "bytes": flipped(-40),
    "start": lambda data: data[:80],
}
"""How the file `xl.meta` is damaged, which holds the description of an object, and the bytes of a small one."""


@pytest.fixture
def damaged(minio_server, objects, bucket, monkeypatch):
    """Objects and files of a table in one folder, by their damage; the last is a large one."""
    monkeypatch.setattr(_Retries, "get_backoff_time", lambda self: 0.0)
    for how in DAMAGE:
        objects.put(f"a/{how.replace(' ', '_')}", [b"0123456789" * 50])
        objects.put_table("states", f"day=1/{how.replace(' ', '_')}", [b"0123456789" * 500])
    objects.put("a/large", [b"z" * 3_000_000])
    for how, damage in DAMAGE.items():
        for file in (minio_server.data / bucket).rglob(f"{how.replace(' ', '_')}/xl.meta"):
            file.write_bytes(damage(file.read_bytes()))
    (large,) = (minio_server.data / bucket).rglob("large/*/part.1")
    large.write_bytes(flipped(2_000_000)(large.read_bytes()))
    return [*(f"a/{how.replace(' ', '_')}" for how in DAMAGE), "a/large"]


def test_one_damaged_object_is_told_as_such_and_keeps_nobody_from_the_others(objects, damaged, minio_server, bucket):
    objects.put("whole", [b"value"])
    for key in damaged:
        with pytest.raises(ObjectDamaged, match=key):
            objects.get(key)
        assert objects.get("whole") == b"value"  # the circuit is closed
        with pytest.raises(ObjectDamaged):  # another reader, who has not asked before
            [*MinioObjects(minio_server.url(bucket)).stream(key, 1, 2_500_000)]
        assert objects.put(key, [b"new"]) == 3
        assert objects.get(key) == b"new"
    for path in (f"day=1/{key.removeprefix('a/')}" for key in damaged[:-1]):
        with pytest.raises(ObjectDamaged):
            [*objects.stream_table("states", path)]
        objects.sweep_table("states", [path])
    assert not [file for file in (minio_server.data / bucket / "tables").rglob("*") if file.is_file()]


def test_damaged_objects_that_no_list_shows_are_erased_with_their_folder(objects, damaged, minio_server, bucket):
    objects.put("ab/other", [b"value"])
    assert len([*objects.list("a/")]) < len(damaged)
    objects.delete(damaged[:1])
    objects.delete_below("a")
    assert [info.key for info in objects.list()] == ["ab/other"]
    assert not [file for file in (minio_server.data / bucket / "objects" / "a").rglob("*") if file.is_file()]


@pytest.mark.parametrize("away", ["HEAD", "/checks/"])
def test_a_server_whose_disks_are_away_is_unavailable_and_its_objects_are_not_damaged(
    told_store, told_server, away, monkeypatch
):
    monkeypatch.setattr(_Retries, "get_backoff_time", lambda self: 0.0)
    slower = (503, fault("SlowDownRead"))
    told_server.answers = [("GET", "/key", *slower), ("HEAD", "/key" if away == "HEAD" else away, 503, b"")]
    with pytest.raises(StoreUnavailable, match="SlowDownRead"):
        told_store.get("key")
