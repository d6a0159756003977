"""Which server owns a key: the compiled hashing module.

Truth: hashes made by the Java classes that servers run, and topologies that one recorded cluster
sent in several protocol versions. The plain restatements below only reach the inputs in between.
"""

from __future__ import annotations

import math
import random
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vector_data
from hotrod_codec import ServerAddress, Topology
from hotrod_codec._ext.hashing import (
    HashWheel,
    murmur2,
    murmur3,
    owners_of,
    segment_of,
    segments_of,
    split_by_owner,
)

HASHES = vector_data.murmur3()
VECTORS: list[dict[str, Any]] = HASHES["vectors"]
SEGMENT_SIZES = {int(n): size for n, size in HASHES["segment_size"].items()}
INT32_MAX = 2**31 - 1
NUM_SEGMENTS = st.integers(1, 2000) | st.integers(1, INT32_MAX)
KEY_TYPES: list[Callable[[bytes], Any]] = [bytes, bytearray, memoryview]


def key_of(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["key_hex"])


def int_key(number: int) -> bytes:
    return number.to_bytes(4, "little", signed=True)


def signed(word: int, bits: int) -> int:
    return word - (1 << bits) if word >> (bits - 1) else word


def plain_murmur3(key: bytes, seed: int) -> int:
    """The same hash in plain integers, byte by byte."""
    ones = 2**64 - 1

    def rotate(word: int, bits: int) -> int:
        return (word << bits | word >> (64 - bits)) & ones

    h1, h2 = 0x9368E53C2F6AF274 ^ seed & ones, 0x586DCD208F7CD3FD ^ seed & ones
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    for start in range(0, len(key), 16):
        block = key[start : start + 16]
        words = [0, 0]
        for i, byte in enumerate(block):
            # Only in the last, incomplete block do bytes count as signed.
            value = byte if len(block) == 16 else signed(byte, 8)
            words[i // 8] ^= value << 8 * (i % 8) & ones
        h1 = (h1 ^ rotate(words[0] * c1 & ones, 23) * c2) + h2 & ones
        h2 = rotate(h2, 41)
        h2 = (h2 ^ rotate(words[1] * c2 & ones, 23) * c1) + h1 & ones
        h1, h2 = h1 * 3 + 0x52DCE729 & ones, h2 * 3 + 0x38495AB5 & ones
        c1, c2 = c1 * 5 + 0x7B7D159C & ones, c2 * 5 + 0x6BCE6396 & ones
    h2 ^= len(key)
    h1 = h1 + h2 & ones
    h2 = h2 + h1 & ones
    mixed = 0
    for word in (h1, h2):
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            word = (word ^ word >> 33) * factor & ones
        mixed = mixed + (word ^ word >> 33) & ones
    return signed(mixed >> 32, 32)


def plain_segment(hash_code: int, num_segments: int) -> int:
    size = min(math.ceil(2**31 / num_segments), INT32_MAX)
    return min((hash_code & INT32_MAX) // size, num_segments - 1)


# ---- hashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: str(v["name"]))
def test_hashes_of_java(vector: dict[str, Any]) -> None:
    key = key_of(vector)
    assert murmur3(key) == vector["hash"]
    assert murmur2(key) == vector["murmur2"]
    assert murmur2(key, compat=True) == vector["murmur2compat"]


@pytest.mark.parametrize("vector", HASHES["int_vectors"], ids=lambda v: str(v["int"]))
def test_hashes_of_integers(vector: dict[str, Any]) -> None:
    key = int_key(vector["int"])
    assert murmur3(key) == vector["hash"]
    assert murmur2(key) == vector["murmur2"]
    assert murmur2(key, compat=True) == vector["murmur2compat"]


@pytest.mark.parametrize("vector", HASHES["bloom"]["keys"], ids=lambda v: str(v["key_hex"]))
def test_hashes_with_other_seeds(vector: dict[str, Any]) -> None:
    assert [murmur3(key_of(vector), s) for s in HASHES["bloom"]["seeds"]] == vector["hashes"]


@given(st.binary(max_size=80), st.integers(-(2**31), INT32_MAX))
def test_murmur3_of_any_key_and_seed(key: bytes, seed: int) -> None:
    assert murmur3(key, seed) == plain_murmur3(key, seed)
    assert murmur3(key, seed=seed) == plain_murmur3(key, seed)


@pytest.mark.parametrize("size", range(1, 16))
def test_every_tail_byte_is_signed(size: int) -> None:
    for negative in range(1 << size):
        tail = bytes(0x85 + i if negative >> i & 1 else 0x25 + i for i in range(size))
        assert murmur3(tail) == plain_murmur3(tail, 9001), tail.hex(" ")
        if negative > 300:
            break


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_any_bytes_like_key(key_type: Callable[[bytes], Any]) -> None:
    for vector in VECTORS:
        key = key_type(key_of(vector))
        assert murmur3(key) == vector["hash"]
        assert murmur2(key) == vector["murmur2"]
        assert segment_of(key, 60) == vector["segment"]["60"]
        assert segments_of([key], 60).tolist() == [vector["segment"]["60"]]


def test_a_bytearray_can_grow_again_after_hashing() -> None:
    key = bytearray(b"key")
    for call in (murmur3, murmur2, lambda k: segment_of(k, 3), lambda k: segments_of([k], 3)):
        call(key)
    key += b"s"
    assert murmur3(key) == murmur3(b"keys")


# ---- segments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: str(v["name"]))
def test_segments_of_java(vector: dict[str, Any]) -> None:
    for num_segments, segment in vector["segment"].items():
        assert segment_of(key_of(vector), int(num_segments)) == min(segment, int(num_segments) - 1)


def test_the_largest_hash_belongs_to_the_only_segment() -> None:
    largest = [v for v in VECTORS if v["normalized"] == INT32_MAX]
    assert largest
    for vector in largest:
        assert vector["segment"]["1"] == 1, "what Java's arithmetic gives"
        assert segment_of(key_of(vector), 1) == 0


@pytest.mark.parametrize("num_segments", SEGMENT_SIZES)
def test_segments_with_sizes_of_java(num_segments: int) -> None:
    keys = [key_of(v) for v in VECTORS]
    size = SEGMENT_SIZES[num_segments]
    expected = [min(v["normalized"] // size, num_segments - 1) for v in VECTORS]
    assert segments_of(keys, num_segments).tolist() == expected


@given(st.lists(st.binary(max_size=40), max_size=300), NUM_SEGMENTS)
def test_segments_of_any_keys(keys: list[bytes], num_segments: int) -> None:
    segments = segments_of(keys, num_segments)
    assert segments.tolist() == [plain_segment(plain_murmur3(k, 9001), num_segments) for k in keys]
    assert segments.tolist() == [segment_of(key, num_segments) for key in keys]


def test_segments_are_an_int32_array() -> None:
    segments = segments_of([b"a", b"b", b"c"], 256)
    assert isinstance(segments, np.ndarray)
    assert (segments.dtype, segments.shape) == (np.dtype(np.int32), (3,))
    assert segments_of([], 256).shape == (0,)


def test_any_iterable_of_keys() -> None:
    keys = [b"a", b"bc", b"def"]
    expected = segments_of(keys, 1000).tolist()
    assert segments_of(tuple(keys), 1000).tolist() == expected
    assert segments_of((key for key in keys), 1000).tolist() == expected
    assert segments_of(dict.fromkeys(keys), 1000).tolist() == expected
    mixed: list[Any] = [keys[0], bytearray(keys[1]), memoryview(b"-d-e-f")[1::2]]
    assert segments_of(mixed, 1000).tolist() == expected


@pytest.mark.parametrize("count", [127, 128, 129, 1000])
def test_no_key_is_lost_at_the_edge_of_a_chunk(count: int) -> None:
    keys = [str(i).encode() for i in range(count)]
    assert segments_of(keys, 7919).tolist() == [segment_of(key, 7919) for key in keys]


def test_large_work_gives_the_same_while_other_threads_run() -> None:
    """Enough for the GIL to be released, in several threads at once."""
    random_ = random.Random(1)
    keys = [random_.randbytes(i % 40) for i in range(200_000)]
    columns = columns_of(keys)
    long_key = random_.randbytes(9_000_001)
    expected = segments_of(keys[:1000], 271)
    results: list[tuple[np.ndarray[Any, Any], int, int]] = []

    def work() -> None:
        results.append((segments_of(keys, 271), murmur3(long_key), murmur3(bytearray(long_key))))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    for segments, hash_of_bytes, hash_of_bytearray in results:
        assert np.array_equal(segments, results[0][0])
        assert np.array_equal(segments[:1000], expected)
        assert hash_of_bytes == hash_of_bytearray == results[0][1]
    assert results[0][0][-1] == segment_of(keys[-1], 271)
    assert np.array_equal(segments_of(columns, 271), results[0][0])
    split = split_by_owner(columns, [segment % 5 for segment in range(271)])
    assert sum(map(len, split.values())) == len(keys)
    for owner, indices in split.items():
        assert (results[0][0][indices] % 5 == owner).all()
        assert (np.diff(indices) > 0).all()


# ---- columns ------------------------------------------------------------------------------------


def columns_of(keys: list[bytes], dtype: Any = np.int64, before: bytes = b"") -> Any:
    """The keys as Arrow has them, behind some other bytes."""
    sizes = np.array([len(before), *map(len, keys)])
    return before + b"".join(keys) + b"rest", np.cumsum(sizes).astype(dtype)


@given(st.lists(st.binary(max_size=40), max_size=300), NUM_SEGMENTS, st.binary(max_size=5))
def test_columns_are_the_same_as_a_list(keys: list[bytes], num: int, before: bytes) -> None:
    expected = segments_of(keys, num).tolist()
    for dtype in (np.int32, np.int64):
        buffer, offsets = columns_of(keys, dtype, before)
        for kind in KEY_TYPES:
            found = segments_of((kind(buffer), offsets), num)
            assert (found.dtype, found.tolist()) == (np.dtype(np.int32), expected)
    assert segments_of((buffer, array("q", offsets)), num).tolist() == expected
    assert segments_of((buffer, memoryview(offsets)), num).tolist() == expected


def test_a_pair_of_keys_is_no_pair_of_columns() -> None:
    pair: list[Any] = [b"buffer", b"\0" * 8]
    for second in (bytes, bytearray, memoryview):
        keys = (pair[0], second(pair[1]))
        assert segments_of(keys, 1000).tolist() == [segment_of(key, 1000) for key in pair]


@pytest.mark.parametrize(
    ("offsets", "wrong"),
    [
        ([-1, 3], "offset 0 is -1"),
        ([0, 7], "offset 1 is 7"),
        ([0, 4, 3], "offset 2 is 3"),
        ([7, 7], "offset 1 is 7"),
        ([0, 3, -5, 6], "offset 2 is -5"),
        ([0] * 500 + [9], "offset 500 is 9"),
        ([0] * 129 + [7], "offset 129 is 7"),
    ],
)
def test_offsets_outside_of_the_buffer(offsets: list[int], wrong: str) -> None:
    for dtype in (np.int32, np.int64):
        with pytest.raises(ValueError, match=f"^keys: {wrong}; .* within the 6 bytes"):
            segments_of((b"sixsix", np.array(offsets, dtype)), 20)
    with pytest.raises(ValueError, match=r"^keys: offset 1 is 4611686018427387904; "):
        segments_of((b"sixsix", np.array([0, 2**62])), 20)


def test_offsets_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"^keys: no offsets; wants one more than there are keys$"):
        segments_of((b"", np.array([], np.int64)), 20)
    assert segments_of((b"", np.array([0])), 20).tolist() == []
    wrong: Any
    for wrong in (np.array([0.0, 1.0]), np.array([0, 1], np.uint64), np.array([0], np.int16)):
        with pytest.raises(TypeError, match=r"^keys: wants offsets as an int32 or int64 array of"):
            segments_of((b"ab", wrong), 20)
    with pytest.raises(TypeError, match=r"of one dimension, got 2 dimension\(s\) of format 'l'"):
        segments_of((b"ab", np.zeros((2, 2), np.int64)), 20)
    wrong = "text"
    with pytest.raises(TypeError, match=r"^keys: the buffer: wants a bytes-like object, got str$"):
        segments_of((wrong, np.array([0])), 20)


def test_a_list_that_changes_while_it_is_read() -> None:
    """Items that run code of their own when they are looked at."""
    keys: list[Any] = []

    class Changing(bytearray):
        def __buffer__(self, flags: int) -> memoryview:  # from Python 3.12 on
            keys.clear()
            return super().__buffer__(flags)

    keys += [b"a", Changing(b"b"), b"c"]
    assert segments_of(keys, 1000).tolist() == [segment_of(key, 1000) for key in (b"a", b"b", b"c")]


def test_what_has_segments_of_its_own_is_asked() -> None:
    class Batch:
        def segments(self, num_segments: int, /) -> Any:
            return np.arange(5, dtype=np.int32) % num_segments

    assert segments_of(Batch(), 3).tolist() == [0, 1, 2, 0, 1]
    split = split_by_owner(Batch(), [7, 9, 7])
    assert {owner: indices.tolist() for owner, indices in split.items()} == {
        7: [0, 2, 3],
        9: [1, 4],
    }

    class Liar:
        def segments(self, num_segments: int, /) -> Any:
            return np.array([num_segments], np.int32)

    with pytest.raises(IndexError):
        split_by_owner(Liar(), [0])


# ---- owners of many keys ------------------------------------------------------------------------


@given(
    st.lists(st.binary(max_size=20), max_size=200),
    st.lists(st.lists(st.integers(0, INT32_MAX), max_size=3), min_size=1, max_size=50),
)
def test_owners_of_any_keys(keys: list[bytes], owners: list[list[int]]) -> None:
    primary = [of_segment[0] if of_segment else -1 for of_segment in owners]
    expected = [primary[segment_of(key, len(owners))] for key in keys]
    forms: list[Any] = [owners, tuple(map(tuple, owners)), primary, np.array(primary, np.int32)]
    for form in forms:
        found = owners_of(keys, form)
        assert (found.dtype, found.tolist()) == (np.dtype(np.int32), expected)
        split = split_by_owner(keys, form)
        assert list(split) == sorted(set(expected))
        assert {owner: indices.tolist() for owner, indices in split.items()} == {
            owner: [i for i, found in enumerate(expected) if found == owner] for owner in split
        }
        assert all(indices.dtype == np.intp for indices in split.values())


def test_owners_of_a_recorded_topology() -> None:
    recorded = recorded_topology("2.0", "seg20")
    topology = Topology(
        recorded["id"],
        tuple(ServerAddress(host, port) for host, port, *_ in recorded["servers"]),
        hash_version=3,
        segment_owners=tuple(map(tuple, recorded["owners"])),
    )
    wheel, ports = recorded_wheel("1.1", "seg20")
    keys = [b"key-%d" % i for i in range(2000)]
    found = owners_of(keys, topology)
    assert [topology.servers[i].port for i in found] == [ports[wheel.owner_of(k)] for k in keys]
    split = split_by_owner(columns_of(keys), topology)
    assert sorted(split) == [0, 1, 2]
    for owner, indices in split.items():
        assert (found[indices] == owner).all()


def test_owners_that_cannot_be() -> None:
    wrong: Any
    with pytest.raises(ValueError, match=r"^owners: the topology does not say who owns which"):
        owners_of([b"k"], Topology(1, (ServerAddress("h", 1),)))
    for wrong in ([], (), np.array([], np.int32)):
        with pytest.raises(ValueError, match=r"^owners: wants those of at least one segment$"):
            split_by_owner([b"k"], wrong)
    for wrong in (5, "0123", b"0123", {0: 1}):
        with pytest.raises(TypeError, match=r"^owners: wants a Topology, the owners of each "):
            split_by_owner([b"k"], wrong)
    for wrong in (["0"], [None], [[1.5]]):
        with pytest.raises(TypeError, match=r"^owners: wants an int, got "):
            owners_of([b"k"], wrong)
    for wrong in ([-2], [2**31], [[2**70]]):
        with pytest.raises(ValueError, match=r"^owners: wants -1 to 2147483647, got "):
            owners_of([b"k"], wrong)
    for wrong in (np.array([0]), np.zeros((1, 1), np.int32), np.array([0.0])):
        with pytest.raises(
            TypeError, match=r"^owners: wants an int32 array of one dimension, got "
        ):
            owners_of([b"k"], wrong)


# ---- the wheel of 1.x ---------------------------------------------------------------------------


def recorded_topology(version: str, cache: str) -> dict[str, Any]:
    """What the cluster of three told a hash-aware client of this version."""
    for vector in vector_data.load("topology"):
        topology = ((vector.fields or {}).get("response") or {}).get("topology")
        if (vector.version, vector.cache) == (version, cache) and topology is not None:
            hosts = {port for _, port, *_ in topology["servers"]}
            if topology.get("hash_function") and len(hosts) == 3 and topology["id"] == 9:
                return dict(topology)
    raise AssertionError(f"no recorded topology of {cache} in {version}")


def recorded_wheel(version: str, cache: str) -> tuple[HashWheel, list[int]]:
    """The wheel of a recorded topology, and the port of each entry."""
    topology = recorded_topology(version, cache)
    wheel = HashWheel(
        [hash_id for _, _, hash_id in topology["servers"]],
        hash_space=topology["hash_space"],
        virtual_nodes=topology.get("num_virtual_nodes"),
    )
    return wheel, [port for _, port, _ in topology["servers"]]


@pytest.mark.parametrize("version", ["1.1", "1.2", "1.3"])
def test_the_wheel_of_a_cluster_is_its_segments(version: str) -> None:
    """One cluster, one cache: base hash codes in 1.x, owners of segments in 2.0."""
    wheel, ports = recorded_wheel(version, "seg20")
    segments = recorded_topology("2.0", "seg20")
    assert len(wheel) == 20 * 2, "two owners of each segment, side by side"
    owners = [segments["servers"][owners[0]][1] for owners in segments["owners"]]
    for i in range(2000):
        key = b"key-%d" % i
        assert ports[wheel.owner_of(key)] == owners[segment_of(key, 20)]


def test_positions_of_1_0_are_what_base_hash_codes_of_1_1_come_to() -> None:
    wheel_10, ports_10 = recorded_wheel("1.0", "default")
    wheel_11, ports_11 = recorded_wheel("1.1", "default")
    assert len(wheel_10) == len(wheel_11) == 256 * 2
    for i in range(2000):
        key = b"key-%d" % i
        assert ports_10[wheel_10.owner_of(key)] == ports_11[wheel_11.owner_of(key)]


def test_positions_as_sent() -> None:
    wheel = HashWheel([500, 100, 300], hash_space=1000)
    assert [wheel.owner_at(p) for p in (0, 100, 101, 300, 301, 500)] == [1, 1, 2, 2, 0, 0]
    assert [wheel.owner_at(p) for p in (501, 999, INT32_MAX)] == [1, 1, 1], "round to the first"


def test_of_two_entries_on_one_position_the_later_wins() -> None:
    wheel = HashWheel([100, 200, 100], hash_space=1000)
    assert len(wheel) == 2
    assert (wheel.owner_at(50), wheel.owner_at(150), wheel.owner_at(250)) == (2, 1, 2)


@given(st.lists(st.integers(-(2**31), INT32_MAX), min_size=1, max_size=20), st.integers(0, 5))
def test_virtual_nodes_stand_where_their_hash_puts_them(hash_ids: list[int], nodes: int) -> None:
    expected: dict[int, int] = {}
    for index, base in enumerate(hash_ids):
        for node in range(max(1, nodes)):
            code = signed((31 * node + base) & 0xFFFFFFFF, 32)
            expected[plain_murmur3(int_key(code), 9001) & INT32_MAX] = index
    wheel = HashWheel(hash_ids, hash_space=INT32_MAX, virtual_nodes=nodes)
    assert len(wheel) == len(expected)
    for position, index in expected.items():
        assert wheel.owner_at(position) == index


@given(st.binary(max_size=20), st.integers(1, INT32_MAX))
def test_a_key_finds_its_place_in_any_hash_space(key: bytes, hash_space: int) -> None:
    position = (murmur3(key) & INT32_MAX) % hash_space
    wheel = HashWheel([position, (position + 1) % 2**31], hash_space=hash_space)
    assert wheel.owner_of(key) == 0


def test_the_largest_hash_is_at_position_0() -> None:
    for vector in VECTORS:
        if vector["normalized"] == INT32_MAX:
            wheel = HashWheel([INT32_MAX, 0], hash_space=INT32_MAX)
            assert wheel.owner_of(key_of(vector)) == 1


def test_a_wheel_shows_its_size() -> None:
    assert (
        repr(HashWheel([1, 2, 3], hash_space=10240)) == "HashWheel(3 positions, hash_space=10240)"
    )


# ---- wrong arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["text", 1, None, [1, 2]])
def test_a_key_that_is_not_bytes(key: Any) -> None:
    message = f"wants a bytes-like object, got {type(key).__name__}"
    wheel = HashWheel([1], hash_space=10)
    for call in (murmur3, murmur2, wheel.owner_of, lambda k: segment_of(k, 20)):
        with pytest.raises(TypeError, match=f"^key: {message}$"):
            call(key)
    with pytest.raises(TypeError, match=f"^keys: item 1: {message}$"):
        segments_of([b"good", key], 20)


@pytest.mark.parametrize("keys", [1, None, 2.5])
def test_keys_that_are_not_iterable(keys: Any) -> None:
    with pytest.raises(TypeError, match=r"^keys: wants an iterable of bytes-like objects, got "):
        segments_of(keys, 20)


def test_an_error_of_the_callers_iterator_is_passed_on() -> None:
    def keys() -> Any:
        yield b"good"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        segments_of(keys(), 20)


@pytest.mark.parametrize("num_segments", [0, -1, 2**31, 2**70, -(2**70)])
def test_a_number_of_segments_that_cannot_be(num_segments: int) -> None:
    message = f"^num_segments: wants 1 to 2147483647, got {num_segments}$"
    with pytest.raises(ValueError, match=message):
        segment_of(b"key", num_segments)
    with pytest.raises(ValueError, match=message):
        segments_of([b"key"], num_segments)


@pytest.mark.parametrize("number", ["20", 20.0, None, b"20"])
def test_a_number_that_is_not_an_int(number: Any) -> None:
    with pytest.raises(TypeError, match=r"^num_segments: wants an int, got "):
        segment_of(b"key", number)
    with pytest.raises(TypeError, match=r"^num_segments: wants an int, got "):
        segments_of([b"key"], number)
    with pytest.raises(TypeError, match=r"^seed: wants an int, got "):
        murmur3(b"key", number)
    with pytest.raises(TypeError, match=r"^hash_space: wants an int, got "):
        HashWheel([1], hash_space=number)
    with pytest.raises(TypeError, match=r"^hash_ids: wants an int, got "):
        HashWheel([1, number], hash_space=10)


def test_a_numpy_integer_is_an_int() -> None:
    assert segment_of(b"key", np.int64(20)) == segment_of(b"key", 20)


@pytest.mark.parametrize("seed", [2**31, -(2**31) - 1])
def test_a_seed_of_more_than_32_bits(seed: int) -> None:
    with pytest.raises(ValueError, match=r"^seed: wants -2147483648 to 2147483647, got "):
        murmur3(b"key", seed)


def test_a_wheel_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"^hash_ids: wants at least one$"):
        HashWheel([], hash_space=10)
    with pytest.raises(ValueError, match=r"^hash_space: wants 1 to 2147483647, got 0$"):
        HashWheel([0], hash_space=0)
    with pytest.raises(ValueError, match=r"^hash_ids: wants -2147483648 to 2147483647, got "):
        HashWheel([2**31], hash_space=10)
    with pytest.raises(ValueError, match=r"^virtual_nodes: wants 0 to 2147483647, got -1$"):
        HashWheel([0], hash_space=10, virtual_nodes=-1)
    with pytest.raises(ValueError, match=r"^position: wants 0 to 2147483647, got -1$"):
        HashWheel([0], hash_space=10).owner_at(-1)
    with pytest.raises(ValueError, match=r"more than 1048576 positions$"):
        HashWheel([0, 1], hash_space=10, virtual_nodes=INT32_MAX)


def test_a_wheel_without_its_arguments() -> None:
    with pytest.raises(TypeError):
        HashWheel([1])  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        HashWheel.__new__(HashWheel)  # type: ignore[call-arg]


# ---- import -------------------------------------------------------------------------------------


def test_numpy_is_imported_with_the_first_array() -> None:
    program = (
        "import sys; from hotrod_codec._ext.hashing import segment_of, segments_of;"
        "segment_of(b'k', 20); assert 'numpy' not in sys.modules;"
        "segments_of([b'k'], 20); assert 'numpy' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
