"""Iterations: every entry once, in batches, of all or some segments, with what filters leave."""

from __future__ import annotations

import pytest

from hotrod_codec import IteratedEntry, Op, Response, Status, Version, segments_of
from integration.clusters import told
from integration.peers import SECONDS, Peer

START, NEXT, END = Op.ITERATION_START, Op.ITERATION_NEXT, Op.ITERATION_END
KEYS_ONLY = "org.infinispan.server.hotrod.HotRodServer$ToEmptyBytesKeyValueFilterConverter"

pytestmark = pytest.mark.operation(START, NEXT, END)


def fill(peer: Peer, key: bytes, count: int, **more: object) -> dict[bytes, bytes]:
    """Put `count` entries, and nothing else, into the cache."""
    peer.call(Op.CLEAR)
    entries = {b"%b/%d" % (key, i): b"value %d" % i for i in range(count)}
    assert peer.call(Op.PUT_ALL, entries=list(entries.items()), **more).status == Status.SUCCESS
    return entries


def start(peer: Peer, **arguments: object) -> str:
    answer = peer.call(START, **arguments)
    assert answer.status == Status.SUCCESS, answer
    iteration_id = answer.iteration_id
    assert isinstance(iteration_id, str)
    return iteration_id


def batches(peer: Peer, **arguments: object) -> list[Response]:
    """All answers to NEXT of an iteration, the last one, which has no entries, included."""
    iteration_id = start(peer, **arguments)
    answers = [peer.call(NEXT, iteration_id=iteration_id)]
    while answers[-1].entries:
        answers.append(peer.call(NEXT, iteration_id=iteration_id))
    assert {answer.status for answer in answers} == {Status.SUCCESS}
    assert peer.call(END, iteration_id=iteration_id).status == Status.SUCCESS
    return answers


def entries_of(answers: list[Response]) -> list[IteratedEntry]:
    return [entry for answer in answers for entry in answer.entries]


@pytest.mark.parametrize(
    ("count", "batch_size"), [(0, 10), (5, 1), (100, 7), (100, 100), (60, 999)]
)
def test_every_entry_comes_once(peer: Peer, key: bytes, count: int, batch_size: int) -> None:
    stored = fill(peer, key, count)
    answers = batches(peer, batch_size=batch_size)
    assert max(len(answer.entries) for answer in answers) <= batch_size
    found = entries_of(answers)
    assert len(found) == count
    assert {entry.key: entry.value for entry in found} == stored


@pytest.mark.versions(since=Version.V2_4)
def test_plain_values_count_as_one_projection(peer: Peer, key: bytes) -> None:
    fill(peer, key, 3)
    answers = batches(peer, batch_size=10)
    assert [answer.projections for answer in answers] == [1] * (len(answers) - 1) + [None]


@pytest.mark.versions(since=Version.V2_5)
def test_metadata_come_when_asked_for(peer: Peer, key: bytes) -> None:
    stored = fill(peer, key, 20, lifespan=3600)
    found = entries_of(batches(peer, batch_size=8, include_metadata=True))
    assert len(found) == len(stored)
    for entry in found:
        expected = peer.call(Op.GET_WITH_METADATA, key=entry.key).metadata
        assert entry.metadata is not None
        assert (entry.metadata.lifespan, entry.metadata.max_idle) == (3600, None)
        assert (entry.metadata.version, entry.metadata.created) == (
            expected.version,
            expected.created,
        )


def test_metadata_do_not_come_otherwise(peer: Peer, key: bytes) -> None:
    fill(peer, key, 5, lifespan=3600)
    assert [entry.metadata for entry in entries_of(batches(peer, batch_size=9))] == [None] * 5


@pytest.mark.versions(since=Version.V2_4, until=Version.V2_4)
def test_answers_of_2_4_have_no_place_for_metadata(peer: Peer, key: bytes) -> None:
    stored = fill(peer, key, 5, lifespan=3600)
    found = entries_of(batches(peer, batch_size=9, include_metadata=True))
    assert {entry.key: entry.value for entry in found} == stored
    assert {entry.metadata for entry in found} == {None}


@pytest.mark.versions(since=Version.V2_4)
@pytest.mark.parametrize("include_metadata", [False, True])
def test_a_filter_may_leave_the_keys_only(peer: Peer, key: bytes, include_metadata: bool) -> None:
    stored = fill(peer, key, 30)
    found = entries_of(
        batches(
            peer,
            batch_size=11,
            filter_factory=KEYS_ONLY,
            filter_params=[],
            include_metadata=include_metadata,
        )
    )
    assert {entry.key for entry in found} == set(stored)
    assert {entry.value for entry in found} == {b""}


@pytest.mark.versions(since=Version.V2_4)
def test_an_unknown_filter_is_an_error(peer: Peer) -> None:
    answer = peer.call(START, batch_size=9, filter_factory="nowhere", filter_params=[b"x", b""])
    assert (answer.status, answer.op) == (Status.SERVER_ERROR, START)
    assert "nowhere" in answer.error


@pytest.mark.versions(until=Version.V2_3, embedded=False)
def test_in_2_3_servers_wait_for_parameters_behind_a_filters_name(
    lost_peer: Peer, key: bytes
) -> None:
    # 2.3 has none and the codec writes none: the batch size, 2, is taken for their number.
    stored = fill(lost_peer, key, 3)
    request = lost_peer.encode(START, batch_size=2, filter_factory=KEYS_ONLY)
    lost_peer.socket.sendall(request.encode())
    lost_peer.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        lost_peer.receive(request)
    lost_peer.socket.settimeout(SECONDS)
    lost_peer.socket.sendall(bytes.fromhex("01 70 01 70 05"))  # two parameters, batches of 5
    iteration_id = lost_peer.receive(request).iteration_id
    found = lost_peer.call(NEXT, iteration_id=iteration_id).entries
    assert {entry.key: entry.value for entry in found} == dict.fromkeys(stored, b"")


def test_an_unknown_iteration_has_a_status_of_its_own(peer: Peer) -> None:
    answer = peer.call(NEXT, iteration_id="no such iteration")
    assert (answer.status, answer.entries) == (Status.INVALID_ITERATION, [])
    assert answer.finished_segments == []
    answer = peer.call(END, iteration_id="no such iteration")
    assert (answer.status, answer.fields) == (Status.INVALID_ITERATION, {})


def test_an_iteration_may_end_early(peer: Peer, key: bytes) -> None:
    fill(peer, key, 50)
    iteration_id = start(peer, batch_size=5)
    assert len(peer.call(NEXT, iteration_id=iteration_id).entries) == 5
    assert peer.call(END, iteration_id=iteration_id).status == Status.SUCCESS
    assert peer.call(NEXT, iteration_id=iteration_id).status == Status.INVALID_ITERATION


def test_iterations_may_run_side_by_side(peer: Peer, key: bytes) -> None:
    stored = fill(peer, key, 40)
    ids = [start(peer, batch_size=size) for size in (3, 17)]
    assert ids[0] != ids[1]
    found: list[list[bytes]] = [[], []]
    running = {0, 1}
    while running:
        for i in sorted(running):
            entries = peer.call(NEXT, iteration_id=ids[i]).entries
            found[i] += [entry.key for entry in entries]
            running -= set() if entries else {i}
    assert sorted(found[0]) == sorted(found[1]) == sorted(stored)
    for iteration_id in ids:
        peer.call(END, iteration_id=iteration_id)


HUNDRED_THOUSAND = 100_000


@pytest.mark.versions(newest=True)
def test_a_hundred_thousand_entries_come_once_each(peer: Peer) -> None:
    peer.call(Op.CLEAR)
    keys = [b"%08d" % i for i in range(HUNDRED_THOUSAND)]
    for first in range(0, len(keys), 10_000):
        some = keys[first : first + 10_000]
        peer.call(Op.PUT_ALL, entries=[(key, key * 4) for key in some])
    more = {"include_metadata": True} if peer.version >= Version.V2_5 else {}
    found = entries_of(batches(peer, batch_size=5000, **more))
    peer.call(Op.CLEAR)
    assert len(found) == HUNDRED_THOUSAND
    assert sorted(entry.key for entry in found) == keys
    assert all(entry.value == entry.key * 4 for entry in found)


# ------------------------------------------------------------------ segments, in a cluster


@pytest.mark.parametrize("segments", [[0], [1, 7, 8, 19], list(range(20))], ids=len)
def test_only_the_segments_that_are_asked_for(node: Peer, key: bytes, segments: list[int]) -> None:
    node.cache = "segments20"
    stored = fill(node, key, 200)
    wanted = {
        k
        for k, segment in zip(stored, segments_of(list(stored), 20).tolist(), strict=True)
        if segment in segments
    }
    answers = batches(node, batch_size=30, segments=segments)
    found = entries_of(answers)
    assert len(found) == len(wanted)
    assert {entry.key for entry in found} == wanted
    finished = [segment for answer in answers for segment in answer.finished_segments]
    assert sorted(finished) == segments


def test_all_segments_end_when_none_are_named(node: Peer, key: bytes) -> None:
    stored = fill(node, key, 300)
    answers = batches(node, batch_size=64)
    assert {entry.key for entry in entries_of(answers)} == set(stored)
    finished = [segment for answer in answers for segment in answer.finished_segments]
    assert sorted(finished) == list(range(told(node).num_segments or 0))
