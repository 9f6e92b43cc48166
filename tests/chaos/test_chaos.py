"""Whatever is struck, and when: what was acknowledged is kept once, what was forgotten is gone, and nobody is kept waiting."""

from __future__ import annotations

import logging
import random
import re
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.chaos.cast import PURGE_WAIT_SECONDS, Api
from tests.chaos.conftest import Round, Stage, Stages, rounds
from tests.chaos.ledger import Home, first_of
from tests.chaos.load import Client, Load

RETURN_SECONDS = 5.0
_LOG_LINES = 15
_HOME_KEY = re.compile(r"\braw/[0-9a-f]{32}\b")
_ACCESS = " smarthouse.access "
log = logging.getLogger(__name__)
_UUID = re.compile("-?".join(f"[0-9a-f]{{{digits}}}" for digits in (8, 4, 4, 4, 12)), re.IGNORECASE)


@pytest.mark.alone
@pytest.mark.timeout(120)
@pytest.mark.parametrize("round_", rounds(), ids=str)
def test_a_fault_loses_and_doubles_nothing_and_ends_by_itself(stages: Stages, round_: Round) -> None:
    stage, chance = stages.of(round_.fault.pair), random.Random(round_.seed)
    client, unit = stage.client, f"r{round_.number}"
    with explained(stage, round_):
        client.kills = round_.fault.kills_api
        client.ledger.begin_round()
        with Load(client, unit, round_.seed) as load:
            time.sleep(chance.uniform(0.5, 1.5))
            with round_.fault.strike(stage.cast, chance):
                time.sleep(chance.uniform(*round_.fault.seconds))
            load.calm.set()
            see_it_back(client, unit)
        client.kills = False
        see_it_bitten(client, round_)
        see_all_kept_once(client)
        see_repeats_make_whole(client)
        see_logs_tell_nothing(stage)
        if client.ledger.complaints:
            raise AssertionError(first_of(client.ledger.complaints))
    log.info("%s\n%s", round_, client.ledger.summary())


@contextmanager
def explained(stage: Stage, round_: Round) -> Iterator[None]:
    """What one wants to know of a round that failed, and a new cast for the next one."""
    try:
        yield
    except BaseException as fault:
        stage.sound = False
        fault.add_note(f"round {round_}, CHAOS_SEED={round_.seed.partition('/')[0]}")
        fault.add_note(stage.client.ledger.summary())
        for name, written in stage.cast.logs().items():
            lines = [line for line in written.read_text(errors="replace").splitlines() if _ACCESS not in line]
            fault.add_note("\n".join([f"the end of {name}'s log:", *lines[-_LOG_LINES:]]))
        raise


def see_it_back(client: Client, unit: str) -> None:
    """Every API is ready, takes an upload and gives an export: of what is asked soon after the fault's end, all of them."""
    ended_at = time.monotonic()

    def ask_for_all(api: Api) -> None:
        push, packets = client.pushes.begin(), client.packets.begin()
        upload = client.ledger.begin(Home(str(uuid.uuid4())), unit)
        steps: dict[str, Callable[[], object]] = {
            "ready": api.is_ready,
            "upload": lambda: client.upload(upload, port=api.port),
            "export": lambda: client.export(unit, port=api.port) is not None,
            "push": lambda: client.push(push, port=api.port),
            "read back": lambda: client.read_back(port=api.port) is not None,
            "append": lambda: client.append(packets, port=api.port),
            "packets": lambda: client.read_packets(port=api.port) is not None,
        }
        for step, done in steps.items():
            # Purges that the fault held up come first, and may break off or hold up one export.
            seconds = RETURN_SECONDS + (PURGE_WAIT_SECONDS if step == "export" else 0)
            while not done():
                if time.monotonic() > ended_at + seconds:
                    client.ledger.complain(
                        f"{api.folder.name}: no {step}, though asked for until {seconds:g} s after the fault"
                    )
                    return
                time.sleep(0.05)
            client.ledger.note(f"{step} again", "200", time.monotonic() - ended_at)

    with ThreadPoolExecutor(len(client.cast.apis)) as pool:
        list(pool.map(ask_for_all, client.cast.apis))


def see_it_bitten(client: Client, round_: Round) -> None:
    refused = client.ledger.refused
    if round_.fault.bites and not refused:
        client.ledger.complain("nobody noticed the fault: this round has tested nothing")
    if round_.fault.bites is False and refused:
        client.ledger.complain(
            f"{refused} uploads, pushes or appends were not acknowledged, though the fault is none of theirs"
        )
    for spared in round_.fault.spares:
        if told := client.ledger.answers[f"{spared} 503"]:
            client.ledger.complain(f"{spared}: {told} were refused, though the fault is none of theirs")


def see_all_kept_once(client: Client) -> None:
    """In an export of everything. A purge that is under way may break one off."""
    if all(client.export() is None for _ in range(3)):
        client.ledger.complain("no export of everything")
    read, consumed = client.read_back(), client.consume()
    if read is None or consumed is None or client.read_packets() is None:
        client.ledger.complain("no reading of everything")
    elif read != consumed:
        client.ledger.complain("the topic and what is read back differ")


def see_repeats_make_whole(client: Client) -> None:
    """Whoever does not know what became of a request repeats it, and then knows."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(client.upload, client.ledger.to_repeat()))
        list(pool.map(client.forget, client.ledger.to_forget()))
        list(pool.map(client.push, client.pushes.to_repeat()))
        list(pool.map(client.append, client.packets.to_repeat()))
    if client.ledger.to_repeat():
        client.ledger.complain(f"{len(client.ledger.to_repeat())} repeated uploads were not acknowledged")
    if client.packets.to_repeat():
        client.ledger.complain(f"{len(client.packets.to_repeat())} repeated appends were not acknowledged")
    if client.pushes.to_repeat():
        client.ledger.complain(f"{len(client.pushes.to_repeat())} repeated pushes were not acknowledged")
    if client.ledger.to_forget():
        client.ledger.complain("a home was not forgotten though it repeated its request")
    see_all_kept_once(client)


def see_logs_tell_nothing(stage: Stage) -> None:
    """No home's UUID, no home's key, no store's password."""
    homes = {one.replace("-", "") for one in stage.client.ledger.uuids()}
    for name, text in stage.cast.new_log_lines().items():
        if told := [found for found in _UUID.findall(text) if found.replace("-", "").lower() in homes]:
            stage.client.ledger.complain(f"{name}'s log names homes: {told[:3]}")
        if told := [line for line in text.splitlines() if _HOME_KEY.search(line)]:
            stage.client.ledger.complain(f"{name}'s log names homes by their keys, {len(told)} times: {told[0][:250]}")
        if any(secret in text for secret in stage.cast.secrets):
            stage.client.ledger.complain(f"{name}'s log tells a store's password")
