"""Transactions: prepared and committed, prepared and rolled back, and all that goes wrong."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import pytest

from hotrod_codec import Modification, Op, Response, Status, Xid
from integration.peers import Peer

pytestmark = pytest.mark.versions(embedded=False)

PREPARE, PREPARE_2 = Op.PREPARE_TX, Op.PREPARE_TX_2
COMMIT, ROLLBACK, FORGET, FETCH = Op.COMMIT_TX, Op.ROLLBACK_TX, Op.FORGET_TX, Op.FETCH_TX_RECOVERY
NOT_READ, NON_EXISTING, REMOVE_OP = 1, 2, 4


class Xa(IntEnum):
    """Codes of the X/Open transactions."""

    OK = 0
    READ_ONLY = 3
    HEURISTIC_ROLLBACK = 6
    ROLLED_BACK = 100
    NO_SUCH_TRANSACTION = -4


@pytest.fixture(params=["tx", "xa"])
def peer(request: pytest.FixtureRequest, peer: Peer) -> Peer:
    """Speaks to one or the other transactional cache; "xa" is the one with recovery."""
    peer.cache = str(request.param)
    return peer


@pytest.fixture
def xid(key: bytes) -> Xid:
    digest = hashlib.sha512(key).digest()
    return Xid(-0x48525458, digest[:32], digest[32:])


def prepare(
    peer: Peer, xid: Xid, modifications: Sequence[Modification], *, one_phase: bool = False
) -> Response:
    return peer.call(PREPARE, xid=xid, one_phase=one_phase, modifications=list(modifications))


def code(answer: Response) -> int:
    assert answer.status == Status.SUCCESS, answer
    found: int = answer.xa_code
    return found


def stored(peer: Peer, key: bytes) -> bytes | None:
    value: bytes | None = peer.call(Op.GET, key=key).value
    return value


def entry_version(peer: Peer, key: bytes) -> int:
    version: int = peer.call(Op.GET_WITH_METADATA, key=key).metadata.version
    return version


def three_writes(peer: Peer, key: bytes) -> list[Modification]:
    """One of each kind, all fit to be committed: changed, new, removed."""
    for name in (b"changed ", b"removed "):
        peer.call(Op.PUT, key=name + key, value=b"old")
    return [
        Modification(b"changed " + key, 0, entry_version(peer, b"changed " + key), b"new"),
        Modification(b"added " + key, NON_EXISTING, value=b"new", lifespan=3600, max_idle=60),
        Modification(b"removed " + key, NOT_READ | REMOVE_OP),
    ]


def three_values(peer: Peer, key: bytes) -> list[bytes | None]:
    return [stored(peer, name + key) for name in (b"changed ", b"added ", b"removed ")]


@pytest.mark.operation(PREPARE, COMMIT)
def test_what_is_committed_is_stored(peer: Peer, key: bytes, xid: Xid) -> None:
    writes = three_writes(peer, key)
    assert code(prepare(peer, xid, writes)) == Xa.OK
    assert stored(peer, b"added " + key) is None
    assert code(peer.call(COMMIT, xid=xid)) == Xa.OK
    assert three_values(peer, key) == [b"new", b"new", None]
    metadata = peer.call(Op.GET_WITH_METADATA, key=b"added " + key).metadata
    assert (metadata.lifespan, metadata.max_idle) == (3600, 60)


@pytest.mark.operation(PREPARE, ROLLBACK)
def test_what_is_rolled_back_is_not(peer: Peer, key: bytes, xid: Xid) -> None:
    writes = three_writes(peer, key)
    assert code(prepare(peer, xid, writes)) == Xa.OK
    assert code(peer.call(ROLLBACK, xid=xid)) == Xa.OK
    assert three_values(peer, key) == [b"old", None, b"old"]
    assert code(peer.call(ROLLBACK, xid=xid)) in (Xa.OK, Xa.NO_SUCH_TRANSACTION)


@pytest.mark.operation(PREPARE)
def test_one_phase_commits_at_once(peer: Peer, key: bytes, xid: Xid) -> None:
    writes = three_writes(peer, key)
    assert code(prepare(peer, xid, writes, one_phase=True)) == Xa.OK
    assert three_values(peer, key) == [b"new", b"new", None]


@pytest.mark.operation(PREPARE)
def test_nothing_to_do_is_read_only(peer: Peer, xid: Xid) -> None:
    assert code(prepare(peer, xid, [])) == Xa.READ_ONLY


@pytest.mark.operation(PREPARE)
@pytest.mark.parametrize("control", [0, NON_EXISTING], ids=["modified", "created"])
def test_what_others_changed_rolls_back(peer: Peer, key: bytes, xid: Xid, control: int) -> None:
    peer.call(Op.PUT, key=key, value=b"old")
    version = None if control else entry_version(peer, key) ^ 1
    answer = prepare(peer, xid, [Modification(key, control, version, b"new")])
    assert code(answer) == Xa.ROLLED_BACK
    assert stored(peer, key) == b"old"


@pytest.mark.operation(COMMIT, ROLLBACK)
def test_an_unknown_transaction(peer: Peer, xid: Xid) -> None:
    assert code(peer.call(COMMIT, xid=xid)) == Xa.NO_SUCH_TRANSACTION
    assert code(peer.call(ROLLBACK, xid=xid)) == Xa.NO_SUCH_TRANSACTION


@pytest.mark.operation(PREPARE)
@pytest.mark.versions(embedded=None)
def test_a_cache_without_transactions_is_an_error(peer: Peer, key: bytes, xid: Xid) -> None:
    write = Modification(key, NOT_READ, value=b"new")
    answer = peer.call(PREPARE, cache="octets", xid=xid, one_phase=False, modifications=[write])
    assert (answer.status, answer.op) == (Status.SERVER_ERROR, PREPARE)
    assert "ISPN" in answer.error


# ------------------------------------------------------------------ from 2.9 on


def prepare_2(peer: Peer, xid: Xid, write: Modification, **arguments: Any) -> int:
    given: dict[str, Any] = {"one_phase": False, "recoverable": False, "timeout_ms": 60_000}
    return code(peer.call(PREPARE_2, xid=xid, modifications=[write], **(given | arguments)))


@pytest.mark.operation(PREPARE_2, COMMIT, FORGET)
def test_a_transaction_is_known_until_it_is_forgotten(peer: Peer, key: bytes, xid: Xid) -> None:
    write = Modification(key, NOT_READ, value=b"new")
    assert prepare_2(peer, xid, write, recoverable=True) == Xa.OK
    assert code(peer.call(COMMIT, xid=xid)) == Xa.OK
    assert stored(peer, key) == b"new"
    assert code(peer.call(COMMIT, xid=xid)) == Xa.OK
    answer = peer.call(FORGET, xid=xid)
    assert (answer.status, answer.fields) == (Status.SUCCESS, {})
    assert code(peer.call(COMMIT, xid=xid)) == Xa.NO_SUCH_TRANSACTION


@pytest.mark.operation(PREPARE_2, ROLLBACK, COMMIT)
def test_what_was_rolled_back_cannot_be_committed(peer: Peer, key: bytes, xid: Xid) -> None:
    write = Modification(key, NOT_READ, value=b"new")
    assert prepare_2(peer, xid, write, recoverable=True) == Xa.OK
    assert code(peer.call(ROLLBACK, xid=xid)) == Xa.OK
    assert code(peer.call(COMMIT, xid=xid)) == Xa.HEURISTIC_ROLLBACK
    assert stored(peer, key) is None
    peer.call(FORGET, xid=xid)


@pytest.mark.operation(PREPARE_2)
def test_one_phase_of_the_second_form(peer: Peer, key: bytes, xid: Xid) -> None:
    write = Modification(key, NOT_READ, value=b"new")
    assert prepare_2(peer, xid, write, one_phase=True) == Xa.OK
    assert stored(peer, key) == b"new"


@pytest.mark.operation(PREPARE_2)
def test_a_transaction_is_prepared_once(peer: Peer, key: bytes, xid: Xid) -> None:
    arguments = {
        "xid": xid,
        "one_phase": False,
        "recoverable": True,
        "timeout_ms": 60_000,
        "modifications": [Modification(key, NOT_READ, value=b"new")],
    }
    assert code(peer.call(PREPARE_2, **arguments)) == Xa.OK
    again = peer.call(PREPARE_2, **arguments)
    assert (again.status, again.fields) == (Status.NOT_EXECUTED, {})
    assert code(peer.call(ROLLBACK, xid=xid)) == Xa.OK


@pytest.mark.operation(FETCH, PREPARE_2, FORGET)
def test_transactions_in_doubt_are_told(peer: Peer, key: bytes, xid: Xid) -> None:
    # In doubt is one that may be recovered and has been prepared for longer than its time.
    write = Modification(key, NOT_READ, value=b"new")
    assert xid not in peer.call(FETCH).xids
    assert prepare_2(peer, xid, write, recoverable=True, timeout_ms=1) == Xa.OK
    time.sleep(0.01)
    answer = peer.call(FETCH)
    assert answer.status == Status.SUCCESS
    assert xid in answer.xids
    assert code(peer.call(ROLLBACK, xid=xid)) == Xa.OK
    peer.call(FORGET, xid=xid)
    assert xid not in peer.call(FETCH).xids
