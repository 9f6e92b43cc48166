"""The operator's pages of collections, by HTTP: defined, looked at, checked, fixed, replayed, discarded, deleted."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from smarthouse_api.collections.model import Collection, Definition
from smarthouse_api.collections.service import Collections
from smarthouse_api.errors import NotFound
from tests.conftest import house_of, on_pairs
from tests.console.test_operator_pages import key_of, see, sign_in, submit

environment = on_pairs("embedded_pair")

Clients = Callable[..., FlaskClient]
STRICT = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
FRAGMENT = {"HX-Request": "true"}


@pytest.fixture
def client(make_client: Clients) -> FlaskClient:
    """A client whose operator is signed in."""
    client = make_client()
    house_of(client).begin()
    sign_in(client, key_of(client)[1])
    return client


@pytest.fixture
def collections(client: FlaskClient) -> Collections:
    return house_of(client).collections


def define(collections: Collections, id_: str = "numbers", **members: Any) -> Collection:
    made = {"name": "Numbers", "schema": STRICT, "mode": "strict", "entry_topic": "t", **members}
    return collections.catalogue.create(Definition(id=id_, **made)).collection


def told(answer: TestResponse) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.text)))


def fields_of(page: str) -> dict[str, str]:
    """What the form of a definition would send."""
    found = dict(re.findall(r'<input type="(?:text|hidden)"[^>]* name="([^"]+)" value="([^"]*)"', page))
    found |= dict.fromkeys(re.findall(r'type="checkbox" id="(\w+)"[^>]* checked', page), "true")
    found |= dict(re.findall(r'<textarea[^>]* name="(\w+)"[^>]*>\n(.*?)</textarea>', page, re.DOTALL))
    found["mode"] = re.findall(r'<option value="(\w+)" selected', page)[0]
    return {name: html.unescape(text) for name, text in found.items() if name not in ("form_token", "word")}


def test_a_collection_is_defined_changed_and_deleted(client: FlaskClient, collections: Collections) -> None:
    new = fields_of(see(client, "/new-collection"))
    assert (new["mode"], new["timestamp_field"], new["dedup_window"], new["requires_token"]) == (
        "off",
        "timestamp",
        "7d",
        "true",
    )
    typed = {
        **new,
        "id": "meters",
        "name": "Meters <b>of</b> the street",
        "alias": "m",
        "entry_topic": "in",
        "mode": "strict",
        "schema": json.dumps(STRICT),
        "dedup_key": "params.msgid",
        "dedup_window": "2h",
        "extraction": "events",
        "extraction_dedup_key": "id",
        "extraction_window": "90s",
        "public": "true",
        "keep": "12h",
        "keep_bytes": "64MB",
    }
    answer = submit(client, "/new-collection", **typed)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/operator/collections/meters")
    made = collections.catalogue.find("m")
    assert (made.name, made.mode, made.schema, made.public, made.requires_token) == (
        typed["name"],
        "strict",
        STRICT,
        True,
        True,
    )
    assert (made.dedup_key, made.dedup_seconds, made.retention.seconds, made.retention.bytes) == (
        *("params.msgid", 7200.0),
        *(43200.0, 64_000_000),
    )
    assert made.extraction is not None
    assert (made.extraction.key, made.extraction.dedup_key, made.extraction.dedup_seconds) == ("events", "id", 90.0)
    house_of(client).access.create("gateway", datasources=["meters"])
    page = see(client, "/collections/meters")
    assert "Meters &lt;b&gt;of&lt;/b&gt; the street" in page
    for fact in (
        "become dead letters",
        "params.msgid, 2h",
        "events; id, 90s",
        "12h, 64MB",
        "(gateway)",
        "GET /v2/data/out/meters",
    ):
        assert fact in page
    # What the form shows makes the same collection again.
    form = fields_of(see(client, "/collections/meters/definition"))
    assert submit(client, "/collections/meters/definition", **form).status_code == 303
    same = collections.catalogue.find("meters")
    assert [getattr(same, name) for name in Definition.__struct_fields__] == [
        getattr(made, name) for name in Definition.__struct_fields__
    ]
    # It was changed since the form was shown.
    late = submit(client, "/collections/meters/definition", **form | {"name": "Late"})
    assert (late.status_code, "changed meanwhile" in late.text, 'value="Late"' in late.text) == (400, True, True)
    form = fields_of(see(client, "/collections/meters/definition"))
    del form["requires_token"], form["public"]
    assert (
        submit(client, "/collections/meters/definition", **form | {"extraction": "", "extraction_dedup_key": ""}).status_code
        == 303
    )
    after = collections.catalogue.find("meters")
    assert (after.requires_token, after.public, after.extraction) == (False, False, None)
    wrong = submit(client, "/collections/meters/delete", word="m")
    assert (wrong.status_code, "Nothing was done" in wrong.text) == (400, True)
    other = submit(client, "/collections/meters/delete", word="meters", made="2026-01-01T00:00:00Z")
    assert (other.status_code, "another was made under its name" in other.text) == (409, True)
    seen = dict(re.findall(r'name="(made)" value="([^"]+)"', see(client, "/collections/meters")))
    assert submit(client, "/collections/meters/delete", word="meters", **seen).status_code == 303
    with pytest.raises(NotFound):
        collections.catalogue.find("meters")
    see(client, "/collections/meters", 404)


@pytest.mark.parametrize(
    ("typed", "field", "fault"),
    [
        ({"id": "no spaces"}, "id", "must be 1 to 100 letters"),
        ({"id": "example"}, "id", "already has one of the names"),
        ({"alias": "x y"}, "alias", "must be 1 to 100 letters"),
        ({"dedup_window": "soon"}, "dedup_window", "not a duration"),
        ({"dedup_window": "999999999w"}, "dedup_window", "at most 100 years"),
        ({"keep_bytes": "much"}, "keep_bytes", "not a size"),
        ({"dedup_key": "a..b"}, "dedup_key", "joined by dots"),
        ({"extraction_dedup_key": "id"}, "extraction", "needs the member"),
        ({"schema": '{\n  "type": nothing\n}'}, "schema", "Line 2, column"),
        ({"schema": '{"type": "nothing"}'}, "schema", "/type"),
        ({"schema": "[]"}, "schema", "no object"),
    ],
)
def test_a_fault_stands_at_its_field_and_what_was_typed_stays(
    client: FlaskClient, collections: Collections, typed: dict[str, str], field: str, fault: str
) -> None:
    form = fields_of(see(client, "/new-collection")) | {"id": "meters", "name": "Kept", **typed}
    answer = submit(client, "/new-collection", **form)
    assert answer.status_code == 400
    assert re.search(rf'id="{field}"[^>]*aria-invalid="true" aria-describedby="{field}-told"', answer.text)
    found = re.search(rf'id="{field}-told".*?</p>', answer.text, re.DOTALL)
    assert found is not None
    assert fault in html.unescape(found[0])
    assert fields_of(answer.text) | {"seen": "", "sample": ""} == form | {"seen": "", "sample": ""}
    assert collections.catalogue.get("meters") is None


def test_a_schema_is_tried_on_the_newest_records_and_on_a_sample(client: FlaskClient, collections: Collections) -> None:
    one = define(collections, mode="off", schema=None)
    collections.accepting.accept(one, [{"n": 1}, {"n": "<i>two</i>"}, {"n": 3.5}])
    path = "/collections/numbers/definition"
    form = fields_of(see(client, path)) | {"schema": json.dumps(STRICT), "mode": "strict"}

    def check(**typed: str) -> str:
        sent = client.post(f"/console/operator{path}/check", data={"form_token": sent_token, **form, **typed}, headers=FRAGMENT)
        assert (sent.status_code, "<html" in sent.text) == (200, False)
        return told(sent)

    sent_token = re.findall(r'name="form_token" value="([^"]+)"', see(client, path))[0]
    found = check(sample='{"n": 4}')
    assert "1 of the 3 newest records pass it. The sample passes it." in found
    assert '"<i>two</i>" is not of type "integer" at /n' in found
    assert 'The sample fails: "n" is a required property' in check(sample="{}")
    assert "The sample fails: Line 1, column" in check(sample="{")
    assert "Line 1, column" in check(schema="{'a': 1}")
    assert "There is no text" in check(schema=" ")
    assert "a regular expression without lookaround" in check(schema='{"properties": {"n": {"pattern": "(?=a)"}}}')
    whole = submit(client, f"{path}/check", **form)  # without a script
    assert "1 of the 3 newest records pass it." in told(whole)
    assert fields_of(whole.text)["schema"] == form["schema"]
    # Saving it says so, and asks.
    asked = submit(client, path, **form)
    assert (asked.status_code, "2 of the newest records fail this schema" in told(asked)) == (200, True)
    assert collections.catalogue.find("numbers").schema is None
    assert submit(client, path, **form, sure="true").status_code == 303
    assert collections.catalogue.find("numbers").schema == STRICT
    drafted = submit(client, f"{path}/draft", **fields_of(see(client, path)))
    draft = json.loads(fields_of(drafted.text)["schema"])
    assert draft["properties"] == {"n": {"type": ["number", "string"]}}
    assert "This is a schema" in told(submit(client, "/new-collection/check", schema="{}"))
    assert "There is no record" in told(submit(client, "/collections/example/definition/draft"))


def test_the_newest_records_are_shown_and_followed(client: FlaskClient, collections: Collections) -> None:
    one = define(collections, mode="warn", dedup_key="n")
    assert "None yet." in see(client, "/collections/numbers/records")
    for number in range(30):
        collections.accepting.accept(one, [{"n": number}], message_id=f"m{number}")
    collections.accepting.accept(one, [{"n": "<i>x</i>", "long": "y" * 3000}])
    page = see(client, "/collections/numbers/records")
    assert page.count("<article") == 20
    assert "<i>" not in page
    assert re.search("y{1900,2000}…", page)
    assert "y" * 2001 not in page
    text = html.unescape(page)
    assert '"<i>x</i>" is not of type "integer" at /n' in text
    assert all(part in text for part in ("<code>31-0</code>", "<code>m29</code>", "n <code>29</code>", '  "n": 29'))
    follow = re.findall(r'hx-get="([^"]+)"', text)
    made = re.findall(r"&made=[^\"&]+", follow[0])[0]
    assert follow == [f"/console/operator/collections/numbers/records?after=31&follow=true&shown=20{made}"]
    assert '<p id="came" class="muted" role="status">20 records are shown.</p>' in text

    def look(path: str) -> str:
        return html.unescape(client.get(path, headers=FRAGMENT).text)

    still = look(follow[0])
    assert ("<article" in still, "data-look-every" in still, "#came" in still) == (False, True, False)
    assert 'hx-headers=\'{"Console-Looks": "true"}\'' in still
    collections.accepting.accept(one, [{"n": number} for number in range(100, 125)])
    newer = look(re.findall(r'hx-get="([^"]+)"', still)[0])
    assert (newer.count("<article"), "Left out" in newer) == (25, False)
    assert '<div hx-swap-oob="innerHTML:#came">45 records are shown. 25 came last.</div>' in newer
    collections.accepting.accept(one, [{"n": number} for number in range(200, 303)])
    much = look(re.findall(r'hx-get="([^"]+)"', newer)[0])
    assert much.count("<article") == 100
    assert "Left out: those after 32 and before 33-3." in much
    left = see(client, "/collections/numbers/records?after=32&before=33-3")
    assert re.findall(r"<code>(33-\d)</code>", left) == ["33-2", "33-1", "33-0"]
    stop = next(address for address in re.findall(r'hx-get="([^"]+)"', newer) if "follow=false" in address)
    assert "data-look-every" not in look(stop)
    assert "data-look-every" not in look("/console/operator/collections/numbers/records?follow=true&shown=490")
    since = html.unescape(see(client, "/collections/numbers/records?after=31"))  # the link without a script
    assert since.count("<article") == 20
    assert "records?after=31&before=33-83" in since
    assert "None came since." in see(client, "/collections/numbers/records?after=33")
    collections.catalogue.delete(one.id)
    for is_made_anew in (False, True):
        if is_made_anew:
            define(collections)
        gone = look(follow[0])
        assert "The collection was deleted." in gone
        assert ("data-look-every" in gone, 'href="/console/operator/collections"' in gone) == (False, True)
    for query in ("after=x", "after=-1", "shown=", "other=1", "after=1&after=2", "before=x"):
        see(client, f"/collections/numbers/records?{query}", 400)


def test_a_list_of_collections_has_pages(
    client: FlaskClient, collections: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.collections.catalogue._AT_ONCE", 2)
    one = define(collections)
    collections.accepting.accept(one, [{"n": 1}, {"n": "x"}])
    first = see(client, "/collections")
    assert ("numbers" in first, "after=example" in first) == (False, True)
    second = see(client, "/collections?after=example")
    assert 'aria-label="Dead letters of numbers">1<' in second
    assert "after=" not in second
    see(client, "/collections?after=%00", 400)


def test_a_dead_letter_is_fixed_and_stored(
    client: FlaskClient, collections: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = define(collections)
    collections.accepting.accept(one, [{"n": "<i>one</i>"}], message_id="m")
    letter = collections.dead_letters.list(one)[0]
    path = f"/collections/numbers/dead-letters/{letter.id}"
    page = see(client, path)
    assert "<i>" not in page
    sent_token = re.findall(r'name="form_token" value="([^"]+)"', page)[0]

    def check(record: str) -> str:
        data = {"form_token": sent_token, "record": record}
        return told(client.post(f"/console/operator{path}/check", data=data, headers=FRAGMENT))

    assert "It passes." in check('{"n": 1}')
    assert 'It fails: "x" is not of type "integer" at /n' in check('{"n": "x"}')
    assert "It fails: Line 2, column" in check('{"n":\n}')
    failed = submit(client, path, record='{"n": "still"}')
    assert failed.status_code == 400
    assert '{"n": "still"}' in html.unescape(failed.text)
    assert collections.dead_letters.list(one) == [letter]
    assert "It passes." in told(submit(client, f"{path}/check", record='{"n": 1}'))
    anew = client.get(f"/console/operator{path}/check")  # as after a change of the language
    assert (anew.status_code, anew.headers["Location"]) == (303, f"/console/operator{path}")
    assert f'hx-post="/console/operator{path}/check"' in page
    assert submit(client, path, record='{"n": 7}').status_code == 303
    # Who was slower keeps what was typed, and is told; the page that checks while one types is, too.
    for slower in (submit(client, path, record='{"n": "<8>"}'), submit(client, f"{path}/check", record='{"n": "<8>"}')):
        assert (slower.status_code, '{"n": "<8>"}' in html.unescape(slower.text)) == (404, True)
        assert "no longer there" in told(slower)
        for way in ("/records", "/dead-letters"):
            assert f'href="/console/operator/collections/numbers{way}"' in slower.text
    assert "no longer there" in check('{"n": 1}')
    monkeypatch.setattr("blueprints.console.dead_letters._letter", lambda *_: letter)  # the other came a moment later
    assert '{"n": 9}' in html.unescape(submit(client, path, record='{"n": 9}').text)
    assert "no longer there" in told(submit(client, path, discard="true"))
    monkeypatch.undo()
    assert [record.value() for record in collections.newest.of(one, 20).records] == [{"n": 7}]
    assert "What you typed" not in see(client, path, 404).partition("</strong>")[2]


def test_dead_letters_are_replayed_and_discarded(
    client: FlaskClient, collections: Collections, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = define(collections)
    collections.accepting.accept(one, [{"n": f"<i>{number}</i>"} for number in range(60)])
    path = "/collections/numbers/dead-letters"
    page = see(client, path)
    assert ("<i>" in page, page.count("<td>fails</td>")) == (False, 50)
    assert '{"n":"<i>0</i>"}' in html.unescape(page)  # as it was sent
    assert page.index("is not of type") < page.index('aria-label="Discard ')
    assert "Discard all 60" in page
    ids = re.findall(r'name="letter" value="([^"]+)"', page)
    assert see(client, f"{path}?after={ids[-1]}").count('name="letter"') == 10
    see(client, f"{path}?after=x", 400)
    assert "0 stored, 60 left" in told(submit(client, path, act="replay-all"))
    collections.dead_letters.fix(one, ids[0], {"n": 1})
    collections.dead_letters.fix(one, ids[1], {"n": 2})
    assert see(client, path).count("<td>passes</td>") == 2
    assert "1 stored, 0 left" in told(submit(client, path, act="replay", letter=ids[0]))
    assert "None is chosen." in told(submit(client, path, act="replay"))
    assert "1 dead letter was discarded." in told(submit(client, path, discard=ids[2]))
    assert "1 dead letter was discarded." in told(submit(client, path, act="discard", letter=ids[3]))
    several = {"act": "discard", "letter": ids[4:7]}
    assert submit(client, path, **several).status_code == 400  # type: ignore[arg-type]
    assert collections.dead_letters.count(one) == 57
    assert "3 dead letters were discarded." in told(submit(client, path, **several, word="numbers"))  # type: ignore[arg-type]
    assert "1 stored, 53 left" in told(submit(client, path, act="replay-all"))
    assert submit(client, path, act="discard-all").status_code == 400
    assert submit(client, path, act="nothing").status_code == 400
    assert submit(client, path, act="look", letter=ids[9], word="numbers").status_code == 200  # Enter in the field
    assert collections.dead_letters.count(one) == 53
    assert "Nothing was discarded" in told(submit(client, path, discard=ids[4]))
    assert "Nothing was replayed" in told(submit(client, path, act="replay", letter=ids[4:6]))  # type: ignore[arg-type]
    until = re.findall(r'name="until" value="([^"]+)"', see(client, path))[0]
    collections.accepting.accept(one, [{"n": "came after the page was shown"}])
    assert submit(client, path, act="discard-all", word="numbers").status_code == 400
    after = told(submit(client, path, act="discard-all", word="numbers", until=until))
    assert "53 dead letters were discarded." in after
    assert "came after the page was shown" in after
    monkeypatch.setattr("blueprints.console.dead_letters.MOST_COUNTED", 1)
    collections.accepting.accept(one, [{"n": "the newest"}])
    page = see(client, path)
    assert "Discard the oldest 1<" in page
    until = re.findall(r'name="until" value="([^"]+)"', page)[0]
    submit(client, path, act="discard-all", word="numbers", until=until)
    assert [letter.record for letter in collections.dead_letters.list(one)] == [{"n": "the newest"}]
    see(client, "/collections/nothing/dead-letters", 404)
