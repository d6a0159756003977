"""Any bytes at the entry points in Python: what comes of them is a result or a typed error.

    python tests/fuzz/fuzz_python.py [RUNS [TARGET...]]     make fuzz-python

With atheris where it is installed (libFuzzer, led by the lines of Python that an input reaches), in
build/fuzz-python/TARGET, where the next run goes on; else with random mutations of the seeds, the
same each time unless FUZZ_SEED=number is in the environment. The seeds are the recorded vectors
and a message of every row. A finding is printed and kept as a file, crash-*.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import io
import logging
import os
import random
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

TESTS = Path(__file__).parent.parent
sys.path.insert(0, str(TESTS))

import captures
import samples
import vector_data
from hotrod_codec import (
    ConfigurationError,
    DecodeError,
    EncodeError,
    Limits,
    Message,
    Op,
    Reader,
    RequestContext,
    Version,
    decode_request,
    decode_response,
    marshallers,
    protostream,
    sasl,
    trace_request,
    trace_response,
)
from hotrod_codec.client.properties import keywords_of, parse_properties
from hotrod_codec.client.uri import parse_uri
from hotrod_codec.errors import AuthenticationError
from hotrod_codec.explain import Explainer
from hotrod_codec.pcap import CaptureError, read_packets
from hotrod_codec.protostream.query import (
    ContinuousQueryResult,
    FilterResult,
    JsonQueryResponse,
    QueryRequest,
    QueryResponse,
)
from hotrod_codec.recording import RecordingError, iter_recording

ROOM = 1 << 14  # bytes of an input
LIMITS = [Limits(), Limits(bytes=1 << 16, text=1 << 12, items=1 << 10, servers=99, segments=999)]


@dataclass(frozen=True, slots=True)
class Target:
    """`check` raises on a finding; the errors `expected` are none."""

    check: Callable[[bytes], object]
    seeds: Callable[[], Iterator[bytes]]
    expected: tuple[type[Exception], ...]


# ---- frames: control bytes, then the frame ------------------------------------------------------

OPS, VERSIONS = list(Op), list(Version)
INTO: list[Any] = ["pairs", "dict", "lists", "batch", "batches"]


def same(message: Message, other: object, data: bytes) -> None:
    """What was read twice, in two ways, is the same, and goes back to its bytes."""
    assert message == other
    repr(message)
    assert message.encode() == data[: message.size]
    _ = message.fields, message.op, message.version, message.message_id


def pieces_of(reader: Reader, data: bytes, control: int) -> list[Any]:
    found = []
    step = control % 64 + 1 if control else len(data) + 1
    for at in range(0, len(data), step):
        if control % 2:
            reader.feed(data[at : at + step])
        else:
            part = data[at : at + step]
            room = reader.buffer(len(part))
            room[: len(part)] = part
            reader.commit(len(part))
        found += list(reader)
    return found


def check_request(data: bytes) -> None:
    if len(data) < 2:
        return
    control, limits, frame = data[0], LIMITS[data[1] % 2], data[2:]
    spans, traced, error, _ = trace_request(frame, limits=limits)
    assert all(start < end for _, start, end, _, _ in spans)
    try:
        message = decode_request(frame, limits=limits)
    except DecodeError as e:
        assert str(e) == str(error)
        raise
    if message is None:
        assert traced is None
        return
    same(message, traced, frame)
    same(message, decode_request(bytearray(frame), limits=limits), frame)
    found = pieces_of(Reader("server", limits=limits), frame[: message.size], control)
    assert found == [message]


def check_response(data: bytes) -> None:
    if len(data) < 6:
        return
    op, version = OPS[data[0] % len(OPS)], VERSIONS[data[1] % len(VERSIONS)]
    context = RequestContext(op, version, data[2], data[3] % 4)
    into, legacy, limits = INTO[data[4] % 4], bool(data[4] & 16), LIMITS[data[4] >> 5 & 1]
    control, frame = data[5], data[6:]
    options: dict[str, Any] = {"limits": limits, "legacy_server": legacy}
    _, traced, error, _ = trace_response(frame, context, **options)
    try:
        message = decode_response(frame, context, **options)
    except DecodeError as e:
        assert str(e) == str(error)
        raise
    if message is None:
        assert traced is None
        return
    same(message, traced, frame)
    same(message, decode_response(memoryview(bytearray(frame)), context, **options), frame)
    reader = Reader(**options)
    if op < 0x60 or op > 0x66:  # not an event's
        try:
            reader.expect(context, message.message_id, into=INTO[data[4] % 5])
        except ValueError:  # no list that could become that
            reader.expect(context, message.message_id)
        else:
            try:
                decode_response(frame, context, into=into, **options)
            except ValueError:
                assert into != "pairs"
    found = pieces_of(reader, frame[: message.size], control)
    assert found[-1].message_id == message.message_id


def check_stream(data: bytes) -> None:
    """Frames one behind the other, in pieces; some requests wait."""
    if len(data) < 4:
        return
    server = data[0] % 2 == 1
    reader = Reader("server" if server else "client", limits=LIMITS[1])
    if not server:
        for number in range(data[1] % 8):
            context = RequestContext(OPS[(data[2] + number) % len(OPS)], VERSIONS[data[2] % 18])
            reader.expect(context, number)
    for message in pieces_of(reader, data[4:], data[3]):
        repr(message)


def request_seeds() -> Iterator[bytes]:
    for sample in samples.SAMPLES:
        if sample.context is None:
            yield b"\0\0" + sample.frame
    for vector in vector_data.load_all()[::7]:
        if vector.request is not None and len(vector.request) < 500:
            yield b"\x05\0" + vector.request


def response_seeds() -> Iterator[bytes]:
    for number, sample in enumerate(samples.SAMPLES):
        if sample.context is not None:
            head = (OPS.index(sample.op), VERSIONS.index(sample.version), 1, 3, number % 32, 0)
            yield bytes(head) + sample.frame
    for vector in vector_data.load_all()[::7]:
        request = None if vector.request is None else trace_request(vector.request)[1]
        if request is not None and vector.response and len(vector.response) < 500:
            control = [OPS.index(request.op), VERSIONS.index(request.version)]
            control += [int(request.flags) & 255, int(request.intelligence) & 3, 0, 3]
            yield bytes(control) + vector.response


def stream_seeds() -> Iterator[bytes]:
    for control, seeds in ((1, request_seeds), (0, response_seeds)):
        frames = [seed[2 if control else 6 :] for seed in seeds()]
        for i in range(0, len(frames) - 3, 3):
            yield bytes((control, 5, i % 256, i % 200)) + b"".join(frames[i : i + 3])


# ---- payloads -----------------------------------------------------------------------------------


def check_protostream(data: bytes) -> None:
    value = protostream.decode(data)
    encoded = protostream.encode(value)
    again = protostream.decode(encoded)
    assert repr(again) == repr(value)
    assert protostream.encode(again) == encoded


QUERIES: list[Any] = [QueryRequest, QueryResponse, JsonQueryResponse, ContinuousQueryResult]
QUERIES.append(FilterResult)


def check_query(data: bytes) -> None:
    if not data:
        return
    kind = QUERIES[data[0] % len(QUERIES)]
    if data[0] & 0x80 and kind is QueryRequest:
        QueryRequest.decode_json(data[1:])
        return
    message = kind.decode(data[1:])
    repr(message)
    assert repr(kind.decode(message.encode())) == repr(message)


MARSHALLERS: list[Any] = [
    marshallers.TextMarshaller(),
    marshallers.JsonMarshaller(),
    marshallers.ProtoStreamMarshaller(),
    marshallers.BytesMarshaller(),
]


def check_marshallers(data: bytes) -> None:
    if data:
        MARSHALLERS[data[0] % len(MARSHALLERS)].decode(data[1:])


def protostream_seeds() -> Iterator[bytes]:
    for kind in ("encode_vectors", "decode_vectors"):
        for vector in vector_data.protostream()[kind]:
            yield bytes.fromhex(vector["hex"])


def query_seeds() -> Iterator[bytes]:
    yield b"\0" + QueryRequest("from a.B where c = :d", start_offset=5, max_results=9).encode()
    yield b"\x80" + QueryRequest("from a.B").encode_json()
    for vector in vector_data.load("query"):
        request = None if vector.request is None else trace_request(vector.request)[1]
        if request is not None and request.op is Op.QUERY and len(request.query) < 500:
            yield b"\0" + request.query
            answer = decode_response(vector.response or b"", request)
            if answer is not None and not answer.is_error and len(answer.result) < 500:
                yield b"\x01" + answer.result


def marshaller_seeds() -> Iterator[bytes]:
    yield b'\x01{"a": [1, 2.5, null, "\\u00e4"]}'
    yield b"\0text \xc3\xa4"
    for seed in protostream_seeds():
        yield b"\x02" + seed


# ---- authentication -----------------------------------------------------------------------------

NONCE = "fyko+d2lbbFgONRv9qkxdawL"


def check_sasl(data: bytes) -> None:
    """Both sides: a first message, then what follows it, cut at zeros of two bytes."""
    if len(data) < 2:
        return
    mechanism = sasl.MECHANISMS[data[0] % len(sasl.MECHANISMS)]
    parts = data[2:].split(b"\0\0")
    if data[1] % 2:
        client = sasl.client_exchange(
            mechanism, username="user", password="pencil", token="abc", nonce=NONCE
        )
        client.start()
        for i, part in enumerate(parts[:4]):
            if client.finished:
                break
            client.step(part, bool(data[1] >> (i + 1) & 1))
        return
    server = sasl.server_exchange(
        mechanism,
        credentials={"user": "pencil"},
        verify_token={"abc": "user"}.get,
        certificate_name="user",
        nonce=NONCE,
        salt=b"0123456789abcdef",
        iterations=4096,
    )
    for part in parts[:4]:
        if server.finished:
            break
        server.step(part)


def sasl_seeds() -> Iterator[bytes]:
    names = list(sasl.MECHANISMS)
    for exchange in vector_data.sasl()["exchanges"]:
        number = names.index(exchange["mechanism"])
        steps = exchange["steps"]
        said = [step["client_response"].encode("latin-1", "replace") for step in steps]
        heard = [step["server_challenge"].encode("latin-1", "replace") for step in steps]
        yield bytes((number, 0)) + b"\0\0".join(said)
        yield bytes((number, 1)) + b"\0\0".join(heard)
    for number in range(len(names)):
        yield bytes((number, 1)) + f"r={NONCE}x,s=QSXCR+Q6sek8bf92,i=4096".encode()
        yield bytes((number, 0)) + f"n,,n=user,r={NONCE}".encode()
        yield bytes((number, 0)) + b"\0user\0pencil"
        yield bytes((number, 1)) + b'realm="r",nonce="OA6MG9tEQGm2hh",qop="auth",charset=utf-8'


# ---- configuration ------------------------------------------------------------------------------


def check_uri(data: bytes) -> None:
    parse_uri(data.decode("utf-8", "surrogateescape"))


def check_properties(data: bytes) -> None:
    keywords_of(dict(parse_properties(data.decode("latin-1"))), {"HOME": "/home/user"})


def uri_seeds() -> Iterator[bytes]:
    for text in (
        "hotrod://localhost:11222",
        "hotrods://user:secret@[::1]:11222,b.example?sasl_mechanism=PLAIN&socket_timeout=5",
        "hotrod://%61:%62@host?client_intelligence=BASIC&cache.orders.near_cache_max_entries=5",
    ):
        yield text.encode()


def property_seeds() -> Iterator[bytes]:
    yield b"infinispan.client.hotrod.server_list = a:11222;b:1\n# comment\n"
    yield b"infinispan.client.hotrod.auth_username=us\\u0065r\\\n  more\n! x\n"
    yield b"infinispan.client.hotrod.uri=hotrod://${env.HOME}:11222\n"
    yield b"infinispan.client.hotrod.cache.a.near_cache.mode: INVALIDATED\r\n"


# ---- files --------------------------------------------------------------------------------------


def check_explain(data: bytes) -> None:
    for frame in Explainer(everything=True, show_data=True).frames(data):
        assert frame.end >= frame.start


def check_pcap(data: bytes) -> None:
    packets = read_packets(io.BytesIO(data))
    list(Explainer().capture(packets))
    list(read_packets(io.BytesIO(data)))


def check_recording(data: bytes) -> None:
    list(Explainer().recording(iter_recording(data)))
    list(iter_recording(data))


def explain_seeds() -> Iterator[bytes]:
    for vector in vector_data.load_all()[::11]:
        data = (vector.request or b"") + (vector.response or b"")
        if len(data) < 600:
            yield data


def pcap_seeds() -> Iterator[bytes]:
    talk = captures.Talk()
    parts = [(0, samples.SAMPLES[0].frame), (1, samples.SAMPLES[1].frame)]
    segments = talk.whole(parts, size=40)
    for link in captures.LINKS:
        yield captures.pcap(segments, link=link)
        yield captures.pcapng(segments, link=link)
    yield captures.pcapng(segments, order=">")


def recording_seeds() -> Iterator[bytes]:
    for vector in vector_data.load_all()[::50]:
        out = b"HRS1"
        for direction, data in ((0, vector.request), (1, vector.response)):
            if data and len(data) < 500:
                out += bytes([direction]) + bytes(8) + len(data).to_bytes(4) + data
        yield out


TARGETS = {
    "request": Target(check_request, request_seeds, (DecodeError,)),
    "response": Target(check_response, response_seeds, (DecodeError,)),
    "stream": Target(check_stream, stream_seeds, (DecodeError,)),
    "protostream": Target(check_protostream, protostream_seeds, (DecodeError, EncodeError)),
    "query": Target(check_query, query_seeds, (DecodeError, EncodeError)),
    "marshallers": Target(check_marshallers, marshaller_seeds, (DecodeError,)),
    "sasl": Target(check_sasl, sasl_seeds, (AuthenticationError,)),
    "uri": Target(check_uri, uri_seeds, (ConfigurationError,)),
    "properties": Target(check_properties, property_seeds, (ConfigurationError,)),
    "explain": Target(check_explain, explain_seeds, ()),
    "pcap": Target(check_pcap, pcap_seeds, (CaptureError,)),
    "recording": Target(check_recording, recording_seeds, (RecordingError,)),
}

# ---- drivers ------------------------------------------------------------------------------------


def run_one(name: str, data: bytes) -> str:
    """What came of an input: "fine" or the name of the error. A finding is raised."""
    target = TARGETS[name]
    try:
        target.check(data)
    except target.expected as e:
        return f"{type(e).__name__}" if str(e) else "an error without words"
    return "fine"


ODD = (0x00, 0x01, 0x02, 0x7F, 0x80, 0x81, 0xA0, 0xA1, 0xFE, 0xFF)


def mutated(draw: random.Random, seeds: list[bytes]) -> bytes:
    """A seed, mostly changed in some places; sometimes random bytes."""
    if draw.random() < 0.05:
        return draw.randbytes(draw.randrange(200))
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.choice((0, 1, 1, 2, 3, 5))):
        at = draw.randrange(len(data) + 1)
        match draw.randrange(8):
            case 0:
                data[at : at + 1] = bytes([draw.choice(ODD)])
            case 1:
                data[at : at + 1] = draw.randbytes(1)
            case 2 if at < len(data):
                data[at] ^= 1 << draw.randrange(8)
            case 3:
                data[at:at] = bytes(draw.choices(ODD, k=draw.randrange(1, 5)))
            case 4:
                del data[at : at + draw.randrange(1, 9)]
            case 5:
                del data[at:]
            case 6:
                data[at:at] = b"\xff\xff\xff\xff" + draw.choice((b"\x0f", b"\x07"))
            case _:
                other = draw.choice(seeds)
                data[at:] = other[draw.randrange(len(other) + 1) :]
    return bytes(data[:ROOM])


def seeds_of(name: str) -> list[bytes]:
    return sorted({seed[:ROOM] for seed in TARGETS[name].seeds()})


def run_random(name: str, runs: int, seed: int = 0) -> Counter[str]:
    """Give a target its seeds, then `runs` inputs made of them. Returns how often what came."""
    draw = random.Random(f"{name} {seed}")
    seeds = seeds_of(name)
    found: Counter[str] = Counter()
    for i in range(len(seeds) + runs):
        data = seeds[i] if i < len(seeds) else mutated(draw, seeds)
        try:
            found[run_one(name, data)] += 1
        except Exception:
            keep(name, data)
            raise
    return found


def keep(name: str, data: bytes) -> None:
    """Write what was found beside the corpus."""
    folder = Path("build/fuzz-python")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"crash-{name}-{hashlib.sha1(data).hexdigest()[:12]}"
    path.write_bytes(data)
    print(f"{path}: {data.hex()}", file=sys.stderr)


def functions() -> Iterator[FunctionType]:
    """The package's, in Python. (atheris itself looks for them in files that are imported from
    where they lie, which an editable install is not.)"""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] != "hotrod_codec":
            continue
        scopes: list[Mapping[str, Any]] = [vars(module)]
        scopes += [vars(each) for each in vars(module).values() if isinstance(each, type)]
        for scope in scopes:
            for each in list(scope.values()):
                each = getattr(each, "__func__", getattr(each, "fget", each))
                if isinstance(each, FunctionType) and each.__module__ == name:
                    yield each


def run_atheris(name: str, runs: int) -> int:
    """libFuzzer in a process of its own, which it ends."""
    folder = Path("build/fuzz-python") / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds_of(name):
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    options = [f"-runs={runs}", f"-seed={os.environ.get('FUZZ_SEED', '1')}", f"-max_len={ROOM}"]
    options += ["-rss_limit_mb=2048", "-timeout=30", "-verbosity=0", "-print_final_stats=1"]
    options.append(f"-artifact_prefix=build/fuzz-python/crash-{name}-")
    command = [sys.executable, __file__, str(runs), name, *options, str(folder)]
    environment = os.environ | {"FUZZ_WITH_ATHERIS": "1"}
    return subprocess.run(command, env=environment, check=False).returncode


def main(runs: int, names: list[str]) -> int:
    has_atheris = importlib.util.find_spec("atheris") is not None
    print("with atheris" if has_atheris else "without atheris: random mutations")
    failed = []
    for name in names or TARGETS:
        print(f"{name}: ", end="", flush=True)
        if has_atheris:
            print(f"{len(seeds_of(name))} seeds", flush=True)
            if run_atheris(name, runs):
                failed.append(name)
            continue
        try:
            found = run_random(name, runs, int(os.environ.get("FUZZ_SEED", "0")))
        except Exception:
            traceback.print_exc()
            failed.append(name)
        else:
            print(f"{found.total():,} executions,", ", ".join(f"{k} {n}" for k, n in found.items()))
    print(f"findings in: {', '.join(failed)}" if failed else "no findings")
    return bool(failed)


if __name__ == "__main__":
    logging.disable()  # what has no effect in a file of properties is a warning there
    if os.environ.get("FUZZ_WITH_ATHERIS") == "1":
        atheris: Any = importlib.import_module("atheris")
        for function in functions():
            atheris.instrument_func(function)
        atheris.Setup([sys.argv[0], *sys.argv[3:]], functools.partial(run_one, sys.argv[2]))
        atheris.Fuzz()
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, sys.argv[2:]))
