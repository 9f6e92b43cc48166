"""Homes that upload, researchers who export, one home after another that wants to be forgotten, programs that push records and
read them back, a gateway and an app with a stream between them, and somebody who watches.

Every answer is held against what the service promises, and what each was told goes into the ledger.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import socket
import threading
import time
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.chaos.cast import FLUSH_SECONDS, OBJECTS_SECONDS, PREFIX, PURGE_WAIT_SECONDS, STATE_SECONDS, Cast
from tests.chaos.ledger import STATES, Home, Ledger, Outcome, Upload
from tests.chaos.pushes import COLLECTION, STREAM, Push, Pushes
from tests.conftest import payload, state, unzipped

UPLOADERS = 4
PUSHERS = 2
BASE_HOMES = 24
_BASE_STATE_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
_SLACK_SECONDS = 2.0

_HIGHEST_INDEX = 2**53 - 1
_SLOW_SECONDS = 0.04
_LONG_AGO, _NOW = "2020-01-01", "2026-01-01"  # so that the short exports need not look into the long one's files
_START_SECONDS = 5.0

_REFUSALS = {
    "/restapi/": ("application/json", {"error", "message"}),
    "/v2/": ("application/json", {"id", "ver", "ts", "params", "responseCode", "result", "error"}),
    "/homes/": ("application/json", {"reason", "message"}),
    "/": ("application/problem+json", {"type", "title", "status", "detail"}),
}
"""The content type and the members of a refusal, by where the path begins."""

_ENDS = {True: "", False: " broken off", None: " left"}

Pause = Callable[[], bool]
"""Takes its time; whether the reader has had enough."""

LIMITS = {
    # Each store is waited for at most once, and then the answer is 503.
    "upload": STATE_SECONDS + OBJECTS_SECONDS + _SLACK_SECONDS,
    # The wait for the lake; then each store fails once under the work, once more when its leases are given back.
    "export": FLUSH_SECONDS + 2 * (STATE_SECONDS + OBJECTS_SECONDS) + _SLACK_SECONDS,
    # The waits for the lake's writer and for readers; then the same.
    "slow export": FLUSH_SECONDS + 2 * (STATE_SECONDS + OBJECTS_SECONDS) + _SLACK_SECONDS,
    "push": STATE_SECONDS + _SLACK_SECONDS,
    "append": STATE_SECONDS + OBJECTS_SECONDS + _SLACK_SECONDS,
    "packets": STATE_SECONDS + OBJECTS_SECONDS + _SLACK_SECONDS,
    "consume": STATE_SECONDS + _SLACK_SECONDS,
    "read back": FLUSH_SECONDS + 2 * (STATE_SECONDS + OBJECTS_SECONDS) + _SLACK_SECONDS,
    # All are answered as late as the slowest one, which is rounded up by at most a half.
    "forget": 1.5 * (2 * PURGE_WAIT_SECONDS + 2 * (STATE_SECONDS + OBJECTS_SECONDS) + _SLACK_SECONDS),
    # What is written to the objects for a trial is also removed, or tried to be.
    "ready": STATE_SECONDS + 2 * OBJECTS_SECONDS + _SLACK_SECONDS,
    "live": _SLACK_SECONDS,
}
"""Seconds in which a request must be answered, and a download must go on."""


@dataclass(frozen=True)
class Answer:
    """whole: the body came to its end; None: its reader did not wait for that."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool | None
    seconds: float


class NoAnswer(Exception):
    """The connection was refused, or cut before the answer began."""


def ask(
    port: int, seconds: float, method: str, path: str, body: bytes | None = None, pause: Pause | None = None, **headers: str
) -> Answer:
    """seconds: to wait for an answer, and for each piece of it. pause: made after each. Raises `NoAnswer`, `TimeoutError`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    began_at = time.monotonic()
    try:
        connection.connect()
        if pause is not None:  # so that the rest waits at the service, not in between
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE_BYTES)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        waited = time.monotonic() - began_at
        told = {name.lower(): value for name, value in answer.getheaders()}
        read, whole = _body(answer, pause)
        return Answer(answer.status, told, read, whole, waited)
    except TimeoutError:
        raise
    except (OSError, http.client.HTTPException) as fault:
        raise NoAnswer(type(fault).__name__) from None
    finally:
        connection.close()


def _body(answer: http.client.HTTPResponse, pause: Pause | None) -> tuple[bytes, bool | None]:
    pieces = []
    try:
        while piece := answer.read(_PIECE_BYTES):
            pieces.append(piece)
            if pause is not None and pause():
                return b"".join(pieces), None
    except TimeoutError:
        raise
    except (OSError, http.client.HTTPException):
        return b"".join(pieces), False
    return b"".join(pieces), not answer.length  # what is cut before its end raises nothing where pieces are read


@dataclass
class Client:
    """Asks the cast's APIs in turn. kills: processes of the API are being killed, so that connections may be cut, or wait for
    a process that is starting.
    """

    cast: Cast
    ledger: Ledger
    pushes: Pushes = field(default_factory=Pushes)
    packets: Pushes = field(default_factory=Pushes)
    kills: bool = False

    def ask(self, what: str, method: str, path: str, *, port: int | None = None, **more: object) -> Answer | None:
        """The answer, if it is one of the service's good ones or a proper 503; None, perhaps with a complaint, else."""
        began_at = time.monotonic()
        limit = LIMITS[what] + (_START_SECONDS if self.kills else 0)
        try:
            way, prefix = (port, "") if port else self.cast.way()
            answer = ask(way, limit, method, prefix + path, **more)  # type: ignore[arg-type]
        except TimeoutError:
            self.ledger.note(what, "hung", time.monotonic() - began_at)
            self.ledger.complain(f"{what}: no answer, or none that went on, within {limit:g} s")
            return None
        except NoAnswer as fault:
            self.ledger.note(what, f"cut ({fault})", time.monotonic() - began_at)
            if not self.kills:
                self.ledger.complain(f"{what}: the connection was refused or cut ({fault}) though nobody killed the API")
            return None
        self.ledger.note(what, f"{answer.status}{_ENDS[answer.whole]}", answer.seconds)
        if answer.seconds > limit:
            self.ledger.complain(f"{what}: answered after {answer.seconds:.2f} s, later than {limit:g} s")
        fault = self._fault(what, path, answer)
        if fault is not None:
            self.ledger.complain(f"{what}: {fault}\n    {answer.headers}\n    {answer.body[:500]!r}")
        return answer if fault is None else None

    def upload(self, one: Upload, **where: object) -> bool:
        """Send it; whether it was acknowledged."""
        headers = {"Home-UUID": one.home.uuid}
        if int(one.id[1:]) % 2:
            headers["Idempotency-Key"] = one.id
        answer = self.ask("upload", "POST", "/api/ingest/data", body=one.body, **headers, **where)
        if answer is None or not answer.whole:
            self.ledger.end(one, Outcome.CUT, "nothing")
        elif answer.status == 503:
            self.ledger.end(one, Outcome.REFUSED, "503")
        else:
            told = json.loads(answer.body)
            self.ledger.end(one, Outcome.DONE, f"200 duplicate={told['duplicate']}")
            if told["records"] != STATES:
                self.ledger.complain(f"upload: {told['records']} records instead of {STATES}")
        return one.outcome is Outcome.DONE

    def forget(self, home: Home) -> None:
        if home.forgetting is None:
            self.ledger.forgetting(home, Outcome.UNDER_WAY)
        answer = self.ask("forget", "DELETE", "/api/ingest/data", **{"Home-UUID": home.uuid})
        if answer is None:
            self.ledger.forgetting(home, Outcome.CUT)
        else:
            self.ledger.forgetting(home, Outcome.DONE if answer.status == 200 else Outcome.REFUSED)

    def export(self, unit: str | None = None, **where: object) -> Counter[str] | None:
        """How often each state is exported, held against the ledger; None when it was refused or broken off."""
        promised = self.ledger.promised(unit)
        query = f"types=sensor&metadata=false&date_from={_NOW}" + (f"&units={unit}" if unit else "")
        answer = self.ask("export", "GET", f"/api/export/json?{query}", Authorization=f"Bearer {self.cast.key}", **where)
        if answer is None or not answer.whole or answer.status == 503:
            return None
        rows = json.loads(self._unzipped(answer).get("json", b"[]")) if answer.status == 200 else []
        found = Counter(row["state"] for row in rows)
        for difference in self.ledger.differences(promised, found):
            self.ledger.complain(f"export of {unit or 'all'}: {difference}")
        return found

    def read_slowly(self, pause: Pause) -> None:
        """An export that is still being sent when something happens."""
        path = f"/api/export/jsonl?types=input_text&date_to={_LONG_AGO}"
        answer = self.ask("slow export", "GET", path, Authorization=f"Bearer {self.cast.key}", pause=pause)
        if answer is not None and answer.whole and answer.status == 200:
            rows = self._unzipped(answer).get("jsonl", b"").count(b"\n")
            if rows != BASE_HOMES:
                self.ledger.complain(f"export: a whole zip with {rows} of {BASE_HOMES} rows")

    def push(self, one: Push, **where: object) -> bool:
        """Send it; whether it was acknowledged."""
        path, body, headers = one.request(self.cast.key)
        return self._ended(self.pushes, one, self.ask("push", "POST", path, body=body, **headers, **where))

    def append(self, one: Push, **where: object) -> bool:
        """Send it as packets; whether they were acknowledged."""
        path, body, headers = one.packets(self.cast.key)
        return self._ended(self.packets, one, self.ask("append", "POST", path, body=body, **headers, **where))

    def _ended(self, pushes: Pushes, one: Push, answer: Answer | None) -> bool:
        if answer is None or not answer.whole:
            pushes.end(one, Outcome.CUT, "nothing")
        elif answer.status == 503:
            pushes.end(one, Outcome.REFUSED, "503")
        else:
            pushes.end(one, Outcome.DONE, str(answer.status))
        if one.outcome is not Outcome.DONE:
            self.ledger.refuse()
        return one.outcome is Outcome.DONE

    def read_back(self, **where: object) -> list[str] | None:
        """What is read of all pushes, held against what was promised; None when it was refused or broken off."""
        promised = self.pushes.promised()
        path = f"/restapi/datasource/{COLLECTION}/records?format=jsonl"
        answer = self.ask("read back", "GET", path, Authorization=f"Bearer {self.cast.key}", **where)
        if answer is None or not answer.whole or answer.status == 503:
            return None
        return self._held("read back", self.pushes, promised, [json.loads(line)["name"] for line in answer.body.splitlines()])

    def read_packets(self, **where: object) -> list[str] | None:
        """What is read of all packets, likewise."""
        promised = self.packets.promised()
        path = f"{STREAM}/data?start=0&stop={_HIGHEST_INDEX}&format=ndjson"
        answer = self.ask("packets", "GET", path, Authorization=f"Bearer {self.cast.key}", **where)
        if answer is None or answer.status == 503:
            return None
        url = urlsplit(answer.headers["location"])
        answer = self.ask("packets", "GET", f"{url.path.removeprefix(PREFIX)}?{url.query}", **where)
        if answer is None or not answer.whole or answer.status == 503:
            return None
        lines = [json.loads(line) for line in answer.body.splitlines()]
        if [line["index"] for line in lines] != list(range(len(lines))):
            self.ledger.complain("packets: their indexes have gaps, or go back")
        return self._held("packets", self.packets, promised, [base64.b64decode(line["data"]).decode() for line in lines])

    def consume(self) -> list[str] | None:
        """What the topic holds of all pushes, likewise."""
        promised, found, after, more = self.pushes.promised(), list[str](), "", True
        while more:
            query = f"?after={after}" if after else ""
            answer = self.ask("consume", "GET", f"/v2/data/out/{COLLECTION}{query}", Authorization=f"Bearer {self.cast.key}")
            if answer is None or not answer.whole or answer.status == 503:
                return None
            told = json.loads(answer.body)["result"]
            found += [event["event"]["name"] for event in told["events"]]
            after, more = told["next"], bool(told["events"])
        return self._held("consume", self.pushes, promised, found)

    def _held(self, what: str, pushes: Pushes, promised: frozenset[str], found: list[str]) -> list[str]:
        for difference in pushes.differences(promised, found):
            self.ledger.complain(f"{what}: {difference}")
        return found

    def watch(self) -> None:
        self.ask("live", "GET", "/health/live")
        if not self.cast.is_behind_nginx:  # which keeps it from the world
            self.ask("ready", "GET", "/health/ready")

    def begin_base(self) -> None:
        """What `read_slowly` reads: larger than the buffers between the service and a reader."""
        chance = random.Random(0)
        for number in range(BASE_HOMES):
            text = chance.randbytes(_BASE_STATE_BYTES // 2).hex()
            body = payload(state("input_text.base", text, at=f"{_LONG_AGO}T12:00:00+00:00"))
            home = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            answer = self.ask("upload", "POST", "/api/ingest/data", body=body, **{"Home-UUID": home})
            assert getattr(answer, "status", None) == 200, f"base upload {number}: {answer}"
        answer = self.ask("append", "PUT", STREAM, Authorization=f"Bearer {self.cast.key}")
        assert getattr(answer, "status", None) == 201, f"base stream: {answer}"
        assert self.append(self.packets.begin())

    def _unzipped(self, answer: Answer) -> dict[str, bytes]:
        try:
            return unzipped(answer.body)
        except (zipfile.BadZipFile, AssertionError):
            self.ledger.complain(f"export: an answer that came to its end is no zip ({len(answer.body)} bytes)")
            return {}

    def _fault(self, what: str, path: str, answer: Answer) -> str | None:
        """What is wrong with an answer, if anything is."""
        is_well = answer.status in (200, 201, 204, 302)
        text = str(answer.headers) if is_well else answer.body.decode(errors="replace")
        if any(secret in text for secret in (*self.cast.secrets, "Traceback", str(self.cast.folder))):
            return f"{answer.status} tells a secret"
        if is_well or (what == "ready" and answer.status == 503):
            return None
        if answer.status != 503:
            return f"{answer.status} instead of a 503"
        if answer.whole is None:
            return None
        if not answer.whole:
            return "a 503 that is broken off"
        kind, members = answer.headers.get("content-type"), set(json.loads(answer.body))
        if (kind, members) != next(refusal for begun, refusal in _REFUSALS.items() if path.startswith(begun)):
            return f"a 503 that is {kind} with the members {members}"
        if not answer.headers.get("retry-after", "").isdigit():
            return "a 503 without Retry-After"
        return None


@dataclass
class Load:
    """All of them at work, from `__enter__` to `__exit__`. seed: of their dice. calm: once it is set, homes only upload."""

    client: Client
    unit: str
    seed: str
    calm: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)
    _working: list[Future[None]] = field(default_factory=list)

    def __enter__(self) -> Load:
        for_a_time = [(actor, self.calm) for actor in (self._research, self._read_slowly, self._change_a_mind, self._read_back)]
        lasting = [self._watch, self._append, *[self._live] * UPLOADERS, *[self._push] * PUSHERS]
        actors = [*for_a_time, *((actor, self._stop) for actor in lasting)]
        self._pool = ThreadPoolExecutor(len(actors))
        for number, (actor, until) in enumerate(actors):
            self._working.append(self._pool.submit(_repeat, actor, until, random.Random(f"{self.seed}/{number}")))
        return self

    def __exit__(self, *_: object) -> None:
        self.calm.set()
        self._stop.set()
        self._pool.shutdown()
        for actor in self._working:
            actor.result()

    def _live(self, chance: random.Random) -> None:
        """A home that uploads for a while, and repeats some of what was not acknowledged."""
        home = Home(str(uuid.UUID(int=chance.getrandbits(128), version=4)))
        for _ in range(chance.randint(1, 20)):
            upload = self.client.ledger.begin(home, self.unit)
            while not self.client.upload(upload) and chance.random() < 0.5:
                if self._stop.wait(chance.uniform(0.0, 0.2)):
                    return
            if self._stop.wait(chance.uniform(0.02, 0.08)):
                return

    def _push(self, chance: random.Random) -> None:
        """A program that pushes records, and repeats at once some of what was not acknowledged."""
        one = self.client.pushes.begin()
        while not self.client.push(one) and chance.random() < 0.5:
            if self._stop.wait(chance.uniform(0.0, 0.2)):
                return
        self._stop.wait(chance.uniform(0.02, 0.08))

    def _append(self, chance: random.Random) -> None:
        """A gateway that appends packets, and repeats at once some of what was not acknowledged."""
        one = self.client.packets.begin()
        while not self.client.append(one) and chance.random() < 0.5:
            if self._stop.wait(chance.uniform(0.0, 0.2)):
                return
        self._stop.wait(chance.uniform(0.02, 0.08))

    def _read_back(self, chance: random.Random) -> None:
        self.client.read_back()
        self.client.consume()
        self.client.read_packets()
        self.calm.wait(chance.uniform(0.2, 0.6))

    def _change_a_mind(self, chance: random.Random) -> None:
        home = Home(str(uuid.UUID(int=chance.getrandbits(128), version=4)))
        for _ in range(chance.randint(1, 3)):
            self.client.upload(self.client.ledger.begin(home, self.unit))
        self.calm.wait(chance.uniform(0.0, 0.6))
        self.client.forget(home)
        if home.forgetting is Outcome.REFUSED and chance.random() < 0.5:
            self.client.forget(home)
        self.calm.wait(chance.uniform(0.5, 2.5))

    def _research(self, chance: random.Random) -> None:
        self.client.export(self.unit)
        self.calm.wait(chance.uniform(0.2, 0.6))

    def _read_slowly(self, chance: random.Random) -> None:
        enough_at = time.monotonic() + chance.uniform(1.0, 5.0)
        self.client.read_slowly(lambda: self.calm.wait(_SLOW_SECONDS) or time.monotonic() > enough_at)
        self.calm.wait(chance.uniform(0.0, 0.5))

    def _watch(self, chance: random.Random) -> None:
        self.client.watch()
        self._stop.wait(chance.uniform(0.1, 0.3))


def _repeat(actor: Callable[[random.Random], None], until: threading.Event, chance: random.Random) -> None:
    while not until.is_set():
        actor(chance)
