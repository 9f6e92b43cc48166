"""Requests by the thousand, made from an OpenAPI document, and what is wrong with their answers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from tests.fuzz import oddities

if TYPE_CHECKING:
    from schemathesis import Case, Response
    from schemathesis.schemas import APIOperation
    from schemathesis.specs.openapi.schemas import OpenApiSchema

_FALSE = ("false", "0", "f", "n", "no", "off")
_AT_ONCE = 10
"""Cases of one operation before the next operation has its turn."""
_REPEATS = 4
"""How often a case is sent: with other keys, names and oddities each time, which takes less time than to make another case."""


@dataclass
class Supplies:
    """What exists in the house that is asked: without these, nearly all requests would end at a 401 or 404.

    authorizations: values of the header; None: no header. named: values of the parameters and members with a name. signed: the
    whole query to download and to follow. restore: makes again what a request has deleted, and tells the names anew.
    """

    authorizations: Sequence[str | None]
    named: Mapping[str, Sequence[Any]]
    signed: Mapping[str, Mapping[str, str]]
    restore: Callable[[], None]


@dataclass
class Findings:
    """What was wrong with answers, by its kind: how often, and the first request that shows it."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    succeeded: set[str] = field(default_factory=set)

    def note(self, kind: str, shown: str) -> None:
        self.counts[kind] += 1
        self.first.setdefault(kind, shown)

    @property
    def never_succeeded(self) -> set[str]:
        """The operations that only refused: what they answer otherwise was not looked at."""
        return {label for label, _ in self.answers} - self.succeeded

    @property
    def requests(self) -> int:
        return self.answers.total()

    def told(self) -> str:
        return "\n\n".join(f"{count} times: {kind}\n{self.first[kind]}" for kind, count in self.counts.most_common())


class Campaign:
    """Asks every operation of one document, again and again, and checks each answer against the document."""

    def __init__(self, schema: OpenApiSchema, supplies: Supplies, seed: str, **sending: Any) -> None:
        """sending: how requests are sent, as the library's `Case.call` takes it."""
        _know_lines()
        schema.config.output.sanitization.update(enabled=False)  # a key of this house is no secret
        schema.config.analysis.constants.enabled = False  # it would read the service's own code for values to send
        self._schema, self._supplies, self._seed, self._sending = schema, supplies, seed, sending
        self._chance = random.Random(seed)
        self.found = Findings()

    def run(self, requests: int, *, borders: int | None = None) -> Findings:
        """Try the borders of every parameter and body once, then what chance gives, until there were so many requests.

        What has only refused by then is asked on, at most as often again. borders: most of one operation; None: all.
        """
        operations = [result.ok() for result in self._schema.get_all_operations()]
        for operation in operations:
            for case in islice(self._borders(operation), borders):
                self._try(case)
        cases = min(_AT_ONCE, max(1, requests // len(operations) // _REPEATS))
        for turn in count():
            for operation in operations:
                self._fuzz(operation, cases, f"{self._seed}/{turn}/{operation.label}")
            if self.found.requests >= requests:
                operations = [operation for operation in operations if operation.label in self.found.never_succeeded]
            if not operations or self.found.requests >= 3 * requests:
                break
        return self.found

    def _borders(self, operation: APIOperation) -> Iterator[Case]:
        from schemathesis import GenerationMode

        generation = self._schema.config.generation_for(operation=operation, phase="coverage")
        return self._schema.iter_coverage_cases(operation, generation_modes=list(GenerationMode), generation_config=generation)

    def _fuzz(self, operation: APIOperation, cases_at_once: int, seed: str) -> None:
        import hypothesis
        from hypothesis import HealthCheck, Phase, strategies
        from schemathesis import GenerationMode

        cases = strategies.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))

        @hypothesis.settings(
            max_examples=cases_at_once,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.seed(seed)
        @hypothesis.given(cases, strategies.integers())  # without the number, what takes no parameter is asked once
        def ask(case: Case, __: int) -> None:
            for _ in range(_REPEATS - 1):
                self._try(case.derive())
            self._try(case)

        ask()

    def _try(self, case: Case) -> None:
        import requests

        self._prepare(case)
        try:
            answer = case.call(headers=self._headers(), **self._sending)
        except ValueError:  # no client sends such a header or address
            return
        except requests.RequestException as fault:
            self.found.note(f"{case.operation.label}: {type(fault).__name__}", f"{fault}\n{case.as_curl_command()}")
            return
        self._look(case, answer)
        if case.method in ("DELETE", "PATCH") and answer.status_code < 300:
            self._supplies.restore()

    def _look(self, case: Case, answer: Response) -> None:
        """Note what is wrong with the answer. Requests with a method that the path has not are only to be refused."""
        from schemathesis.core.failures import FailureGroup

        label = case.operation.label
        self.found.answers[label, answer.status_code] += 1
        if case.method.upper() == case.operation.method.upper():
            if answer.status_code < 400:
                self.found.succeeded.add(label)
            if str(answer.status_code) not in case.operation.responses.status_codes:
                self._note(case, answer, f"{answer.status_code} is not declared", "")
        try:
            case.validate_response(answer, checks=_checks(answer))
        except FailureGroup as group:
            for one in group.exceptions:
                self._note(case, answer, one.title, one.message)

    def _note(self, case: Case, answer: Response, title: str, message: str) -> None:
        shown = f"{message}\n{case.as_curl_command(dict(answer.request.headers))}\n{answer.content[:500]!r}"
        self.found.note(f"{case.operation.label}: {title}: {' '.join(message.split())[:100]}", shown)

    def _prepare(self, case: Case) -> None:
        """Put names that exist, and oddities, in place of some that the document led to."""
        chance, named = self._chance, self._supplies.named
        for name in case.path_parameters:
            dice = chance.random()
            if dice < 0.75 and name in named:
                case.path_parameters[name] = chance.choice(named[name])
            elif dice > 0.97:
                case.path_parameters[name] = chance.choice(oddities.NAMES)
        for name in list(case.query):
            dice = chance.random()
            if dice < 0.5 and name in named:
                case.query[name] = chance.choice(named[name])
            elif dice > 0.8:
                del case.query[name]
        for part in (case.body, case.body.get("request")) if isinstance(case.body, dict) else ():
            if isinstance(part, dict):
                part.update({name: chance.choice(named[name]) for name in part if name in named and chance.random() < 0.5})
        if "signature" in case.query and chance.random() < 0.5:
            case.query |= self._supplies.signed["follow" if case.operation.path.endswith("/follow") else "download"]
        if str(case.query.get("follow", "false")).lower() not in _FALSE:
            # Otherwise one would wait for packets that never come.
            case.query |= {"start": 0, "stop": 0}
            case.path_parameters |= {name: named[name][0] for name in case.path_parameters if name in named}
        if chance.random() < 0.06:
            case.query |= [chance.choice(oddities.QUERIES)]

    def _headers(self) -> dict[str, str]:
        chance, headers = self._chance, {}
        if (authorization := chance.choice(self._supplies.authorizations)) is not None:
            headers["Authorization"] = authorization
        if "Home-UUID" in self._supplies.named and chance.random() < 0.7:
            headers["Home-UUID"] = chance.choice(self._supplies.named["Home-UUID"])
        if chance.random() < 0.15:
            headers |= [chance.choice(oddities.HEADERS)]
        return headers


def _know_lines() -> None:
    """Tell the library how a text becomes the lines of a batch: it knows no such media type."""
    import schemathesis

    @schemathesis.serializer("application/x-ndjson")
    def lines(_: object, value: object) -> bytes:
        return value.encode(errors="surrogatepass") if isinstance(value, str) else str(value).encode()


def _checks(answer: Response) -> list[Any]:
    from schemathesis import checks
    from schemathesis.core.transport import is_event_stream
    from schemathesis.specs.openapi import checks as openapi

    # The library holds the schema of a stream of events to each event. OpenAPI 3.0 describes the whole text.
    is_stream = is_event_stream((answer.headers.get("content-type") or [None])[0])
    return [
        checks.not_a_server_error,
        openapi.content_type_conformance,
        openapi.response_headers_conformance,
        # A key, and the origin of a page, are looked at before the method is.
        *([] if answer.status_code in (401, 403) else [openapi.unsupported_method]),
        *([] if is_stream else [openapi.response_schema_conformance]),
    ]
