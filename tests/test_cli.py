"""The command `hotrod`: through `main` with captured output, and a few times as users start it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import captures
import vector_data
from hotrod_codec import (
    CounterConfiguration,
    Duration,
    Flag,
    Intelligence,
    MediaType,
    Op,
    Request,
    TimeUnit,
    decode_request,
    encode_request,
    encode_response,
    layout,
)
from hotrod_codec import _demo as demo
from hotrod_codec._terminal import open_output
from hotrod_codec.cli import main
from hotrod_codec.client import Cache

Capture = pytest.CaptureFixture[str]

RECORDING = vector_data.EXAMPLES / "bulkget-2.9.hrs"
GET = encode_request("get", version="2.8", message_id=1, key=b"my secret")
ANSWER = encode_response("get", version="2.8", message_id=1, value=b"its value")


needs_terminal = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has neither pseudo-terminals nor broken pipes"
)


def run(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    try:
        status = main(arguments)
    except SystemExit as e:  # argparse: help, or a wrong command line
        status = int(e.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def start(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "hotrod_codec", *arguments],
        input=data,
        capture_output=True,
        check=False,
        timeout=60,
    )


def encoded(capsys: Capture, *arguments: str) -> Request:
    status, out, err = run(capsys, "encode", *arguments)
    assert (status, err) == (0, "")
    request = decode_request(bytes.fromhex(out))
    assert request is not None
    assert request.size == len(bytes.fromhex(out))
    return request


# ---- explain -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [[GET.hex()], [GET.hex(" ")], GET.hex(" ").split(), ["0x" + GET.hex()], ["--hex", GET.hex()]],
)
def test_hex_arguments(capsys: Capture, words: list[str]) -> None:
    status, out, _ = run(capsys, "explain", *words)
    assert status == 0
    assert out.startswith("GET request, version 2.8, message 1: 20 bytes at 0\n")


@pytest.mark.parametrize(
    "content",
    [
        GET + ANSWER,
        (GET.hex(" ") + "\n" + ANSWER.hex() + "\n").encode(),
        f"# a get\n0x{GET[:1].hex()}, {GET[1:].hex(':')}\n\n{ANSWER.hex()} # found".encode(),
    ],
    ids=["binary", "hex", "hex with comments"],
)
def test_files_of_each_form(capsys: Capture, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "frames"
    path.write_bytes(content)
    status, out, err = run(capsys, "explain", str(path))
    assert (status, err) == (0, "")
    assert "GET request, version 2.8" in out
    assert "GET response, version 2.8, message 1, SUCCESS" in out


def test_a_recording_and_a_limit_of_frames(capsys: Capture) -> None:
    status, out, _ = run(capsys, "explain", str(RECORDING))
    assert status == 0
    assert "BULK_GET response, version 2.9" in out
    assert "9,997 more items" in out
    status, out, _ = run(capsys, "explain", "--frames", "1", str(RECORDING))
    assert (status, "BULK_GET response" in out) == (0, False)


def test_secrets_are_shown_on_request_only(capsys: Capture) -> None:
    _, out, _ = run(capsys, "explain", GET.hex())
    assert "my secret" not in out
    assert b"my secret"[:3].hex(" ") not in out
    _, out, _ = run(capsys, "explain", "--show-data", GET.hex())
    assert '9 bytes: "my secret"' in out


def test_exit_status_tells_of_broken_input(capsys: Capture) -> None:
    status, out, _ = run(capsys, "explain", GET[:-1].hex())
    assert status == 1
    assert "!! incomplete: the input ends at byte 19" in out
    status, out, _ = run(capsys, "explain", "a0 01 63")
    assert status == 1
    assert "version at byte 2: unknown version 99" in out
    status, out, _ = run(capsys, "explain", ANSWER.hex())
    assert status == 1
    assert "--op get --version" in out
    assert run(capsys, "explain", "--op", "get", "--version", "2.8", ANSWER.hex())[0] == 0


def json_of(capsys: Capture, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    status, out, _ = run(capsys, "explain", "--json", *arguments)
    return status, [json.loads(line) for line in out.splitlines()]


FRAME_KEYS = {
    *("type", "kind", "connection", "direction", "time_ns", "offset", "size", "op", "version"),
    *("message_id", "status", "request_offset", "after_ns", "fields", "error", "incomplete"),
}
FIELD_KEYS = {"name", "start", "end", "kind", "item", "hex", "meaning"}


@pytest.mark.parametrize(
    "stream",
    [stream for stream in vector_data.streams() if stream.requests < 1000],
    ids=lambda stream: stream.path.stem,
)
def test_json_of_recordings(capsys: Capture, stream: vector_data.Stream) -> None:
    status, frames = json_of(capsys, str(stream.path))
    assert status == 0
    assert len(frames) == stream.requests + stream.responses
    ends = {"to_server": 0, "to_client": 0}
    for frame in frames:
        assert set(frame) == FRAME_KEYS
        assert all(set(field) == FIELD_KEYS for field in frame["fields"])
        assert (frame["connection"], frame["error"], frame["incomplete"]) == (None, None, None)
        assert frame["version"] == stream.version
        # The frames of a direction follow each other, and so do the fields of a frame.
        assert frame["offset"] == ends[frame["direction"]]
        places = [(field["start"], field["end"]) for field in frame["fields"]]
        assert [start for start, _ in places] == [frame["offset"], *(end for _, end in places[:-1])]
        ends[frame["direction"]] += frame["size"]
        assert places[-1][1] == ends[frame["direction"]]
        if frame["kind"] == "response":
            assert frame["request_offset"] is not None
            assert frame["after_ns"] >= 0
    assert list(ends.values()) == [len(stream.sent(0)), len(stream.sent(1))]


def test_json_hides_and_shows_data(capsys: Capture) -> None:
    _, (frame,) = json_of(capsys, GET.hex())
    assert frame["fields"][-1] == {
        "name": "key",
        "start": 10,
        "end": 20,
        "kind": "bytes",
        "item": None,
        "hex": "09 ...",
        "meaning": "9 bytes",
    }
    assert (frame["direction"], frame["op"], frame["message_id"]) == (None, "GET", 1)
    _, (frame,) = json_of(capsys, "--show-data", GET.hex())
    assert frame["fields"][-1]["meaning"] == '9 bytes: "my secret"'
    keys = encode_request("get_all", keys=[b"k"] * 9)
    _, (frame,) = json_of(capsys, keys.hex())
    assert [field["item"] for field in frame["fields"][-4:]] == [0, 1, 2, None]
    assert frame["fields"][-1]["kind"] == "omitted"
    _, (frame,) = json_of(capsys, "--all", keys.hex())
    assert [field["item"] for field in frame["fields"][-9:]] == list(range(9))


def test_json_of_what_breaks(capsys: Capture) -> None:
    status, (frame,) = json_of(capsys, GET[:-1].hex())
    assert status == 1
    assert frame["incomplete"] == {"field": "key", "offset": 10, "bytes": 1}
    assert frame["error"].startswith("incomplete: the input ends at byte 19; key at byte 10")
    assert frame["fields"][-1]["kind"] == "unread"
    status, (frame,) = json_of(capsys, "a0 01 63")
    assert (status, frame["incomplete"], frame["op"]) == (1, None, None)
    assert "version at byte 2" in frame["error"]
    status, (frame,) = json_of(capsys, "17")
    assert (status, frame["kind"], frame["size"]) == (1, None, 1)


def test_a_broken_recording_ends_with_status_1(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "broken.hrs"
    path.write_bytes(RECORDING.read_bytes()[:-10])
    status, out, _ = run(capsys, "explain", str(path))
    assert status == 1
    assert "BULK_GET request" in out
    assert "!! record at byte" in out


def test_a_capture_through_a_pipe() -> None:
    data = captures.pcap(captures.Talk().whole([(0, GET), (1, ANSWER)]))
    for arguments in (["explain"], ["explain", "--capture", "-"]):
        told = start(*arguments, data=data)
        assert (told.returncode, told.stderr) == (0, b"")
        assert told.stdout.startswith(b"-- connection 1: client 10.0.0.1:40000, server 10.0.0.2:")
        assert b"GET response, version 2.8, message 1, SUCCESS" in told.stdout
    told = start("explain", "--frames", "1", data=data)
    assert b"GET response" not in told.stdout
    told = start("explain", data=data[:-20])
    assert told.returncode == 1
    assert b"!! capture at byte" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["explain", "--port", "0", "a0"], "0 is no port"),
        (["explain", "--connection", "0", "a0"], "less than 1"),
        (["explain", "--recording", str(Path(__file__))], "not a recording"),
        (["explain", "no such file"], "No such file"),
        (["explain", "a0 1"], "half a byte"),
        (["explain", "--hex", "a0 xx"], "no hex digit"),
        (["explain", "--version", "2.10", "a1"], "unknown version '2.10'"),
        (["explain", "--frames", "0", "a0"], "less than 1"),
        (["encode"], "OP"),
        (["encode", "nope", "--key", "k"], "unknown operation 'nope'"),
        (["encode", "--version", "2.8", "put"], "OP comes first"),
        (["encode", "put", "--key", "k"], "PUT: value: missing"),
        (["encode", "put", "--key", "k", "--valu", "v"], "unrecognized arguments"),
        (["encode", "get", "--key", "hex:6"], "hex digits"),
        (["encode", "get", "--key", "@/no/such/file"], "No such file"),
        (["encode", "get", "--key", "k", "--flags", "FOO"], "unknown flag 'FOO'"),
        (["encode", "size", "--version", "1.3"], "exists from version 2.0 on"),
        (["encode", "put", "--key", "k", "--value", "v", "--lifespan", "x"], "no duration"),
        (["encode", "put_all", "--entry", "k"], "no '='"),
        (["demo", "--entries", "0"], "--entries"),
        (["nothing"], "invalid choice"),
    ],
)
def test_errors_are_one_line(capsys: Capture, arguments: list[str], problem: str) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert problem in err
    assert err.count("\n") == 1
    assert err.startswith("hotrod")


# ---- encode --------------------------------------------------------------------------------------


def test_encode_says_what_encode_request_says(capsys: Capture) -> None:
    request = encoded(
        capsys,
        *["put", "--key", "k", "--value", "v", "--version", "4.1", "--message-id", "300"],
        *["--cache", "c", "--flags", "FORCE_RETURN_VALUE,SKIP_INDEXING", "--intelligence", "3"],
        *["--topology-id", "-7", "--key-media-type", "text/plain", "--lifespan", "1.5"],
        *["--value-media-type", "application/x-own; a=b", "--max-idle", "inf"],
        *["--param", "traceparent=00-1"],
    )
    assert request == decode_request(
        encode_request(
            "put",
            version="4.1",
            message_id=300,
            cache="c",
            flags=Flag.FORCE_RETURN_VALUE | Flag.SKIP_INDEXING,
            intelligence=Intelligence.HASH_DISTRIBUTION_AWARE,
            topology_id=-7,
            key_media_type="text/plain",
            value_media_type=MediaType("application/x-own", (("a", "b"),)),
            other_params={"traceparent": b"00-1"},
            key=b"k",
            value=b"v",
            lifespan=1.5,
            max_idle=math.inf,
        )
    )


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("60", Duration(60)),
        ("1.5", Duration(1500, TimeUnit.MILLISECONDS)),
        ("250us", Duration(250, TimeUnit.MICROSECONDS)),
        ("2min", Duration(2, TimeUnit.MINUTES)),
        ("0s", Duration(0)),
        ("inf", math.inf),
        ("default", None),
    ],
)
def test_durations(capsys: Capture, text: str, duration: object) -> None:
    request = encoded(capsys, "put", "--key", "k", "--value", "v", "--lifespan", text)
    assert request.fields["lifespan"] == duration


def test_bytes_come_as_text_hex_or_file(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "value"
    path.write_bytes(b"\x00\xff\n")
    request = encoded(capsys, "put", "--key", "hex:00ff", "--value", f"@{path}")
    assert (request.key, request.value) == (b"\x00\xff", b"\x00\xff\n")
    request = encoded(capsys, "put", "--key", "text:@home", "--value", "\u00e9")
    assert (request.key, request.value) == (b"@home", b"\xc3\xa9")


def test_lists_come_in_one_go_or_one_by_one(capsys: Capture) -> None:
    request = encoded(capsys, "get_all", "--keys", "a", "b", "--key", "c")
    assert request.fields["keys"] == [b"a", b"b", b"c"]
    request = encoded(capsys, "put_all", "--entry", "a=1", "--entries", "b=2=3", "hex:00=hex:ff")
    assert request.fields["entries"] == [(b"a", b"1"), (b"b", b"2=3"), (b"\x00", b"\xff")]


def test_values_with_parts(capsys: Capture) -> None:
    request = encoded(
        capsys,
        *["counter_create", "--name", "c"],
        *["--config", "initial=5,lower=0,upper=9,persistent=yes"],
    )
    assert request.fields["config"] == CounterConfiguration(5, 0, 9, persistent=True)


def test_raw_bytes() -> None:
    done = start("encode", "get", "--key", "my secret", "--version", "2.8", "--raw")
    assert (done.returncode, done.stdout) == (0, GET)


@pytest.mark.parametrize("op", [op for op in Op if layout(op).request_code is not None])
def test_every_operation_has_its_fields_as_options(capsys: Capture, op: Op) -> None:
    status, out, _ = run(capsys, "encode", op.name.lower(), "--help")
    assert status == 0
    for row in layout(op).request:
        for name in row.names:
            assert f"--{name.replace('_', '-')} " in out


def test_parameters_of_a_task_and_of_the_header(capsys: Capture) -> None:
    request = encoded(
        capsys, "exec", "--task", "t", "--param", "a=1", "--other-param", "traceparent=00"
    )
    assert request.fields["params"] == {"a": b"1"}
    assert request.other_params == {"traceparent": b"00"}


# Something for a field of each kind that a request needs.
SAMPLES = {
    "bytes": "k",
    "text": "t",
    "bool": "true",
    "pairs": "k=v",
    "bytes_list": "k",
    "pieces": "k",
    "xid": "format_id=1,global_id=g,branch_id=b",
    "xids": "format_id=1,global_id=g,branch_id=b",
    "modifications": "key=k,control=5",
    "counter": "initial=1",
}


@pytest.mark.parametrize("op", [op for op in Op if layout(op).request_code is not None])
def test_every_operation_can_be_encoded_and_explained(capsys: Capture, op: Op) -> None:
    row = layout(op)
    options = []
    for item in row.request:
        if not item.optional:
            options += [f"--{item.names[0].replace('_', '-')}", SAMPLES.get(item.kind, "1")]
    version = f"{row.until // 10}.{row.until % 10}"
    request = encoded(capsys, op.name.lower(), "--version", version, *options)
    assert (request.op, request.version) == (op, row.until)
    status, out, _ = run(capsys, "explain", request.encode().hex())
    assert status == 0
    assert out.startswith(f"{op.name} request, version {version}")


# ---- as users start it ---------------------------------------------------------------------------


def test_encode_piped_into_explain() -> None:
    made = start("encode", "put", "--key", "k", "--value", "v", "--version", "1.0")
    for arguments in (["explain"], ["explain", "-"]):
        told = start(*arguments, data=made.stdout)
        assert told.returncode == 0
        assert told.stdout.startswith(b"PUT request, version 1.0")


def test_the_installed_command() -> None:
    scripts = Path(sys.executable).parent
    command = scripts / ("hotrod.exe" if sys.platform == "win32" else "hotrod")
    done = subprocess.run([command, "-V"], capture_output=True, check=True, timeout=60)
    assert done.stdout.startswith(b"hotrod-codec ")


@needs_terminal
def test_a_reader_that_has_seen_enough() -> None:
    source = subprocess.Popen(
        [sys.executable, "-m", "hotrod_codec", "explain", "--all", RECORDING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert source.stdout is not None
    assert source.stderr is not None
    assert source.stdout.readline().startswith(b"BULK_GET request")
    source.stdout.close()
    with source.stderr:
        assert source.stderr.read() == b""
    assert source.wait(60) == 0


def test_neither_rich_nor_numpy_is_loaded_for_plain_work() -> None:
    script = (
        "import sys; from hotrod_codec.cli import main; "
        f"main(['explain', '{GET.hex()}']); "
        "sys.exit(bool({'rich', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


def on_terminal(*arguments: str, **environment: str) -> bytes:
    """What the command prints on a terminal."""
    import pty  # not everywhere; see needs_terminal

    env = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "hotrod_codec", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**env, "TERM": "xterm-256color", "COLUMNS": "120", **environment},
    )
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 4096):
            shown += chunk
    except OSError:
        pass  # the other end was closed: this is how a terminal ends
    finally:
        os.close(master)
    assert process.wait(60) == 0
    return shown


@needs_terminal
def test_a_terminal_gets_colours() -> None:
    cache = encode_request("size", cache="[bold]c[/bold]")
    assert b"\x1b[" in on_terminal("explain", cache.hex())
    assert b"[bold]c[/bold]" in on_terminal("explain", cache.hex())


@needs_terminal
def test_a_terminal_gets_plain_text_on_request() -> None:
    assert b"\x1b[" not in on_terminal("explain", "--plain", GET.hex())
    assert b"\x1b[" not in on_terminal("explain", GET.hex(), NO_COLOR="1")


@needs_terminal
def test_a_terminal_without_rich_gets_plain_text(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise ImportError('not installed')")
    shown = on_terminal("explain", GET.hex(), PYTHONPATH=str(tmp_path))
    assert shown.startswith(b"GET request, version 2.8")
    assert b"\x1b[" not in shown


# ---- demo ----------------------------------------------------------------------------------------


def test_demo() -> None:
    done = start("demo", "--entries", "3000")
    assert (done.returncode, done.stderr) == (0, b"")
    out = done.stdout.decode()
    assert "PUT request, version 4.1" in out
    assert "3,000 of 3,000 entries are there, each value as it was stored" in out


@needs_terminal
def test_demo_on_a_terminal() -> None:
    assert b"300 of 300 entries are there" in on_terminal("demo", "--entries", "300")


def test_demo_notices_a_wrong_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's checks can fail: here every value loses its end on the way in."""
    put_many = Cache.put_many

    def cut(self: Cache[str, str], entries: list[tuple[str, str]]) -> None:
        put_many(self, [(key, value[:-1]) for key, value in entries])

    monkeypatch.setattr(Cache, "put_many", cut)
    with pytest.raises(demo.DemoError, match="not what was stored"):
        demo.run(open_output(plain=True), 10)
