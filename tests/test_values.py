"""What messages hold: values that make no sense cannot be made."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hotrod_codec import (
    CounterConfiguration,
    Duration,
    MediaType,
    Metadata,
    Modification,
    ServerAddress,
    TimeUnit,
    Topology,
)

SERVERS = (ServerAddress("a", 1), ServerAddress("b", 2))
WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: Duration(1, TimeUnit.INFINITE), "unit: INFINITE has no amount"),
    (lambda: Duration(1, TimeUnit.DEFAULT), "unit: DEFAULT has no amount"),
    (lambda: Duration(-1), "amount: -1 is not within"),
    (lambda: Duration(2**64), "amount: 18446744073709551616 is not within"),
    (lambda: MediaType("text/plain", custom=True, id=4), "a custom media type goes by name"),
    (lambda: MediaType("text/plain", id=1), "1 is not the number of 'text/plain'"),
    (lambda: MediaType.parse("text"), "'text' is no media type"),
    (lambda: MediaType.parse("text/plain; charset"), "parameter 'charset' has no value"),
    (lambda: Metadata(1, created=1), "created and lifespan go together"),
    (lambda: Metadata(1, max_idle=1), "last_used and max_idle go together"),
    (lambda: CounterConfiguration(lower=1), "both or neither"),
    (lambda: CounterConfiguration(lower=1, upper=2, concurrency=1), "a weak counter"),
    (lambda: Topology(1, SERVERS, hash_version=3), "either segment_owners or hash_ids"),
    (lambda: Topology(1, SERVERS, hash_version=1, hash_ids=(1,)), "one for each of servers"),
]


@pytest.mark.parametrize(("make", "words"), WRONG, ids=[words for _, words in WRONG])
def test_values_that_make_no_sense(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_durations_in_other_units() -> None:
    assert Duration(1500, TimeUnit.MILLISECONDS).seconds == 1.5
    assert Duration(1501, TimeUnit.MILLISECONDS).to_unit(TimeUnit.SECONDS) == Duration(2)
    assert Duration(1, TimeUnit.DAYS).to_unit(TimeUnit.HOURS) == Duration(24, TimeUnit.HOURS)


def test_a_modification_shows_lengths() -> None:
    shown = repr(Modification(b"secret", 0, 7, b"value"))
    assert "6 bytes" in shown
    assert "5 bytes" in shown
    assert "secret" not in shown
    assert "value=None" in repr(Modification(b"k", 0))
