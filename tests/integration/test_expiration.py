"""Lifespan and max idle: what is written is what get_with_metadata shows and the server does."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from hotrod_codec import Duration, Metadata, Op, Status, TimeUnit, Version
from integration.peers import Peer

# Where both are given, max idle is the shorter one: 16.0.7 drops a max idle that is not.

DAY = 86_400
# The same duration in every unit that a request may use; before 2.2 the codec makes seconds of it.
TWO_DAYS = [
    Duration(2, TimeUnit.DAYS),
    Duration(48, TimeUnit.HOURS),
    Duration(2 * 1440, TimeUnit.MINUTES),
    Duration(2 * DAY, TimeUnit.SECONDS),
    Duration(2 * DAY * 10**3, TimeUnit.MILLISECONDS),
    Duration(2 * DAY * 10**6, TimeUnit.MICROSECONDS),
    Duration(2 * DAY * 10**9, TimeUnit.NANOSECONDS),
]
EACH_UNIT = pytest.mark.parametrize("duration", TWO_DAYS, ids=lambda d: d.unit.name.lower())


def metadata(observer: Peer, key: bytes, cache: str = "octets") -> Metadata:
    found = observer.call(Op.GET_WITH_METADATA, key=key, cache=cache).metadata
    assert isinstance(found, Metadata)
    return found


def durations(observer: Peer, key: bytes, cache: str = "octets") -> tuple[int | None, int | None]:
    found = metadata(observer, key, cache)
    return found.lifespan, found.max_idle


@pytest.mark.operation(Op.PUT, Op.GET_WITH_METADATA)
@EACH_UNIT
def test_a_lifespan_in_each_unit(peer: Peer, key: bytes, duration: Duration) -> None:
    peer.call(Op.PUT, key=key, value=b"one", lifespan=duration)
    assert durations(peer, key) == (2 * DAY, None)


@pytest.mark.operation(Op.PUT, Op.GET_WITH_METADATA)
@EACH_UNIT
def test_a_max_idle_in_each_unit(peer: Peer, key: bytes, duration: Duration) -> None:
    peer.call(Op.PUT, key=key, value=b"one", max_idle=duration)
    assert durations(peer, key) == (None, 2 * DAY)


@pytest.mark.operation(Op.PUT)
@pytest.mark.versions(until=Version.V1_1)
def test_durations_of_versions_without_get_with_metadata(
    peer: Peer, observer: Peer, key: bytes
) -> None:
    peer.call(Op.PUT, key=key, value=b"one", lifespan=7200, max_idle=60)
    assert durations(observer, key) == (7200, 60)


def writes(key: bytes, peer: Peer) -> dict[Op, dict[str, Any]]:
    version = peer.call(Op.GET_WITH_VERSION, key=key).entry_version
    return {
        Op.PUT: {},
        Op.REPLACE: {},
        Op.REPLACE_IF_UNMODIFIED: {"entry_version": version},
    }


@pytest.mark.parametrize(
    "op",
    [
        pytest.param(op, id=op.name.lower(), marks=pytest.mark.operation(op))
        for op in (Op.PUT, Op.REPLACE, Op.REPLACE_IF_UNMODIFIED)
    ],
)
def test_each_write_brings_its_own_durations(
    peer: Peer, observer: Peer, key: bytes, op: Op
) -> None:
    peer.call(Op.PUT, key=key, value=b"one", lifespan=60)
    more = writes(key, peer)[op]
    peer.call(op, key=key, value=b"two", lifespan=7200, max_idle=1800, **more)
    assert durations(observer, key) == (7200, 1800)
    more = writes(key, peer)[op]
    peer.call(op, key=key, value=b"three", **more)
    assert durations(observer, key) == (None, None)


@pytest.mark.operation(Op.PUT_IF_ABSENT)
def test_put_if_absent_brings_its_durations(peer: Peer, observer: Peer, key: bytes) -> None:
    peer.call(Op.PUT_IF_ABSENT, key=key, value=b"one", lifespan=7200, max_idle=1800)
    assert durations(observer, key) == (7200, 1800)


@pytest.mark.operation(Op.PUT_ALL)
def test_put_all_gives_every_entry_its_durations(peer: Peer, observer: Peer, key: bytes) -> None:
    keys = [key + bytes([i]) for i in range(3)]
    entries = [(k, b"one") for k in keys]
    peer.call(Op.PUT_ALL, entries=entries, lifespan=7200, max_idle=1800)
    assert [durations(observer, k) for k in keys] == [(7200, 1800)] * 3


@pytest.mark.operation(Op.PUT)
@pytest.mark.parametrize(
    ("given", "until_2_1", "from_2_2"),
    [(7200, 7200, 7200), (90.5, 91, 90), (timedelta(minutes=3), 180, 180)],
)
def test_durations_as_people_say_them(
    peer: Peer,
    observer: Peer,
    key: bytes,
    given: float | timedelta,
    until_2_1: int,
    from_2_2: int,
) -> None:
    # Before 2.2 there are only whole seconds; no entry is to die before its time.
    peer.call(Op.PUT, key=key, value=b"one", lifespan=given)
    expected = until_2_1 if peer.version < Version.V2_2 else from_2_2
    assert durations(observer, key) == (expected, None)


@pytest.mark.operation(Op.GET_WITH_METADATA)
def test_created_and_last_used_are_the_time(peer: Peer, key: bytes) -> None:
    before = time.time_ns() // 10**6
    peer.call(Op.PUT, key=key, value=b"one", lifespan=7200, max_idle=1800)
    found = metadata(peer, key)
    after = time.time_ns() // 10**6
    assert found.created is not None
    assert found.last_used is not None
    assert before <= found.created <= found.last_used <= after


@pytest.mark.operation(Op.GET_WITH_METADATA, Op.GET)
def test_reading_an_entry_uses_it(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one", max_idle=7200)
    first = metadata(peer, key).last_used
    time.sleep(0.01)
    peer.call(Op.GET, key=key)
    second = metadata(peer, key).last_used
    assert first is not None
    assert second is not None
    assert second > first


# The cache "mortal" has a lifespan of 1800 s and a max idle of 900 s of its own.


@pytest.mark.operation(Op.PUT)
@pytest.mark.versions(since=Version.V1_2)
@pytest.mark.parametrize(
    ("lifespan", "max_idle", "expected"),
    [
        (None, None, (1800, 900)),
        (3600, None, (3600, 900)),
        (None, 30, (1800, 30)),
        (math.inf, None, (None, 900)),
        (None, math.inf, (1800, None)),
        (math.inf, math.inf, (None, None)),
    ],
)
def test_none_keeps_the_caches_default_and_inf_is_immortal(
    peer: Peer,
    key: bytes,
    lifespan: float | None,
    max_idle: float | None,
    expected: tuple[int | None, int | None],
) -> None:
    peer.call(Op.PUT, cache="mortal", key=key, value=b"one", lifespan=lifespan, max_idle=max_idle)
    assert durations(peer, key, "mortal") == expected


@pytest.mark.operation(Op.PUT)
@pytest.mark.versions(until=Version.V1_1)
def test_before_1_2_none_is_immortal(peer: Peer, observer: Peer, key: bytes) -> None:
    # There is no way yet to ask for the cache's default.
    peer.call(Op.PUT, cache="mortal", key=key, value=b"one")
    assert durations(observer, key, "mortal") == (None, None)


# More than 30 days: a date until 2.9, a duration from 3.0 on.


@pytest.mark.operation(Op.PUT)
@pytest.mark.versions(until=Version.V2_9)
def test_until_2_9_a_long_lifespan_is_a_date(peer: Peer, observer: Peer, key: bytes) -> None:
    in_an_hour = Duration(int(time.time()) + 3600)
    peer.call(Op.PUT, key=key, value=b"one", lifespan=in_an_hour)
    lifespan, _ = durations(observer, key)
    assert lifespan is not None
    assert 3590 <= lifespan <= 3600


@pytest.mark.operation(Op.PUT)
@pytest.mark.versions(until=Version.V2_9)
def test_until_2_9_31_days_are_long_ago(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one", lifespan=Duration(31, TimeUnit.DAYS))
    time.sleep(0.01)
    assert peer.call(Op.GET, key=key).status == Status.KEY_DOES_NOT_EXIST


@pytest.mark.operation(Op.PUT)
@pytest.mark.versions(since=Version.V3_0)
def test_from_3_0_on_31_days_are_31_days(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one", lifespan=400 * DAY, max_idle=timedelta(days=31))
    assert durations(peer, key) == (400 * DAY, 31 * DAY)


# Real time passes here: as little as the version can say.


def short(peer: Peer) -> Duration:
    if peer.version < Version.V2_2:
        return Duration(1, TimeUnit.SECONDS)
    return Duration(400, TimeUnit.MILLISECONDS)


@pytest.mark.operation(Op.PUT, Op.GET, Op.CONTAINS_KEY)
def test_an_entry_is_gone_after_its_lifespan(
    peer: Peer, key: bytes, wait: Callable[[float], None]
) -> None:
    written = time.monotonic()
    peer.call(Op.PUT, key=key, value=b"one", lifespan=short(peer))
    answer = peer.call(Op.GET, key=key)
    if time.monotonic() - written < short(peer).seconds:
        assert answer.value == b"one"
    wait(short(peer).seconds + 0.05)
    assert peer.call(Op.CONTAINS_KEY, key=key).status == Status.KEY_DOES_NOT_EXIST
    assert peer.call(Op.GET, key=key).status == Status.KEY_DOES_NOT_EXIST
    assert peer.call(Op.PUT_IF_ABSENT, key=key, value=b"two").status == Status.SUCCESS


@pytest.mark.operation(Op.PUT, Op.GET, Op.CONTAINS_KEY)
def test_an_entry_is_gone_when_it_is_not_used(
    peer: Peer, key: bytes, wait: Callable[[float], None]
) -> None:
    peer.call(Op.PUT, key=key, value=b"one", max_idle=short(peer))
    wait(short(peer).seconds + 0.05)
    assert peer.call(Op.CONTAINS_KEY, key=key).status == Status.KEY_DOES_NOT_EXIST
    assert peer.call(Op.GET, key=key).status == Status.KEY_DOES_NOT_EXIST


@pytest.mark.operation(Op.GET_WITH_METADATA)
@pytest.mark.versions(since=Version.V2_2)
def test_metadata_round_down_to_seconds(peer: Peer, key: bytes) -> None:
    lifespan = Duration(9_900, TimeUnit.MILLISECONDS)
    peer.call(Op.PUT, key=key, value=b"one", lifespan=lifespan)
    assert durations(peer, key) == (9, None)


@pytest.mark.operation(Op.PUT)
@pytest.mark.versions(since=Version.V2_2)
def test_a_lifespan_of_zero_is_over_at_once(peer: Peer, key: bytes) -> None:
    answer = peer.call(Op.PUT, key=key, value=b"one", lifespan=Duration(0))
    assert answer.status == Status.SUCCESS
    time.sleep(0.01)
    assert peer.call(Op.GET, key=key).status == Status.KEY_DOES_NOT_EXIST
