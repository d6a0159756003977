"""The command `hotrod`: frames explained, frames made, the codec at work.

    hotrod explain [INPUT]            any frames, recording or packet capture, field by field
    hotrod encode OP --field value    the bytes of a request
    hotrod demo                       a cluster, both clients, and a node that dies
    hotrod serve                      an in-memory server to try clients on

Reads arguments and files and prints. What bytes mean, explain.py says; what an operation's fields
are, the codec's own table (`layout`).

Exit status: 0 all is well; 1 the input is no whole, sound Hot Rod; 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn

import hotrod_codec
from hotrod_codec import (
    CounterConfiguration,
    Duration,
    EncodeError,
    FieldLayout,
    Flag,
    Intelligence,
    Modification,
    Op,
    TimeUnit,
    Version,
    Xid,
    encode_request,
    layout,
)

if TYPE_CHECKING:
    from hotrod_codec.explain import Explainer, Frame, Note

__all__ = ["main"]

_FOUND_PROBLEM: Final = 1
_USAGE: Final = 2
_INTERRUPTED: Final = 130
_VERSIONS: Final = {f"{version // 10}.{version % 10}": version for version in Version}


class _Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(_USAGE, f"{self.prog}: {message} ({self.prog} --help tells more)\n")


class _InputError(Exception):
    """What was given cannot be read; the text says why."""


# ---- values on the command line ------------------------------------------------------------------


def _version(text: str) -> Version:
    try:
        return _VERSIONS[text]
    except KeyError:
        raise argparse.ArgumentTypeError(
            f"unknown version {text!r}; known: {', '.join(_VERSIONS)}"
        ) from None


def _op(text: str) -> Op:
    try:
        op: Op = layout(text).op
        return op
    except EncodeError as e:
        raise argparse.ArgumentTypeError(str(e)) from None


def _flags(text: str) -> Flag:
    flags = Flag(0)
    for name in re.split(r"[,|\s]+", text.strip()):
        try:
            flags |= Flag[name.upper()] if not name[:1].isdigit() else Flag(int(name, 0))
        except (KeyError, ValueError):
            known = ", ".join(flag.name or "" for flag in Flag)
            raise argparse.ArgumentTypeError(f"unknown flag {name!r}; known: {known}") from None
    return flags


def _intelligence(text: str) -> int:
    try:
        return int(text, 0) if text[:1].isdigit() else Intelligence[text.upper().replace("-", "_")]
    except (KeyError, ValueError):
        known = ", ".join(f"{int(i)} ({i.name})" for i in Intelligence)
        raise argparse.ArgumentTypeError(f"unknown intelligence {text!r}; known: {known}") from None


def _int(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def _bytes(text: str) -> bytes:
    """Bytes of an argument: text, hex:6b65, @file, or text:... for what begins like these."""
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_bytes()
        except OSError as e:
            raise argparse.ArgumentTypeError(f"{text[1:]}: {e.strerror}") from None
    if text.startswith("hex:"):
        try:
            return bytes.fromhex(text[4:])
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: no even number of hex digits") from None
    return os.fsencode(text.removeprefix("text:"))


def _text(text: str) -> str:
    return text


def _bool(text: str) -> bool:
    try:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
            text.lower()
        ]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false") from None


_UNITS: Final = {
    "ns": TimeUnit.NANOSECONDS,
    "us": TimeUnit.MICROSECONDS,
    "ms": TimeUnit.MILLISECONDS,
    "s": TimeUnit.SECONDS,
    "min": TimeUnit.MINUTES,
    "h": TimeUnit.HOURS,
    "d": TimeUnit.DAYS,
}


def _duration(text: str) -> float | Duration | None:
    """Seconds; an amount with its unit as it goes over the wire; inf; default."""
    if text.lower() in ("inf", "infinite", "immortal"):
        return math.inf
    if text.lower() == "default":
        return None
    match = re.fullmatch(r"(\d+)\s*([a-z]+)", text)
    if match and match[2] in _UNITS:
        return Duration(int(match[1]), _UNITS[match[2]])
    try:
        return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration; it looks like 60, 1.5, "
            f"{', '.join(f'5{unit}' for unit in _UNITS)}, inf or default"
        ) from None


def _pair(name: Callable[[str], Any], value: Callable[[str], Any]) -> Callable[[str], Any]:
    def pair(text: str) -> tuple[Any, Any]:
        left, equals, right = text.partition("=")
        if not equals:
            raise argparse.ArgumentTypeError(f"{text!r} has no '='; it looks like name=value")
        return name(left), value(right)

    return pair


def _parts(make: type, **readers: Callable[[str], Any]) -> Callable[[str], Any]:
    """Reads "name=value,name=value" into a value that has such parts."""

    def read(text: str) -> Any:
        given = {}
        for part in text.split(","):
            name, _, value = part.partition("=")
            if name not in readers:
                raise argparse.ArgumentTypeError(
                    f"{text!r}: no part {name!r}; it looks like "
                    + ",".join(f"{known}=..." for known in readers)
                )
            given[name] = readers[name](value)
        try:
            return make(**given)
        except (TypeError, ValueError) as e:
            raise argparse.ArgumentTypeError(f"{text!r}: {e}") from None

    return read


_xid = _parts(Xid, format_id=_int, global_id=_bytes, branch_id=_bytes)
_XID: Final = "format_id=N,global_id=BYTES,branch_id=BYTES"
_modification = _parts(
    Modification,
    key=_bytes,
    control=_int,
    entry_version=_int,
    value=_bytes,
    lifespan=_duration,
    max_idle=_duration,
)
_counter = _parts(
    CounterConfiguration,
    initial=_int,
    lower=_int,
    upper=_int,
    concurrency=_int,
    persistent=_bool,
)

# How each kind of field is read from an argument, and what --help calls it.
_SCALARS: Final[dict[str, tuple[Callable[[str], Any], str]]] = {
    "bytes": (_bytes, "BYTES"),
    "text": (_text, "TEXT"),
    "media": (_text, "TYPE"),
    "life": (_duration, "DURATION"),
    "bool": (_bool, "BOOL"),
    "factory": (_text, "TEXT"),
    "some_factory": (_text, "TEXT"),
    "xid": (_xid, _XID),
    "counter": (_counter, "initial=N,..."),
    **dict.fromkeys(("u8", "u16", "i32", "i64", "vint", "vlong", "counter_state"), (_int, "N")),
}
_LISTS: Final[dict[str, tuple[Callable[[str], Any], str]]] = {
    "pairs": (_pair(_bytes, _bytes), "KEY=VALUE"),
    "pairs_more": (_pair(_bytes, _bytes), "KEY=VALUE"),
    "bytes_list": (_bytes, "BYTES"),
    "bytes_more": (_bytes, "BYTES"),
    "few_bytes": (_bytes, "BYTES"),
    "pieces": (_bytes, "BYTES"),
    "text_list": (_text, "TEXT"),
    "text_pairs": (_pair(_text, _text), "NAME=TEXT"),
    "params": (_pair(_text, _bytes), "NAME=BYTES"),
    "few_params": (_pair(_text, _bytes), "NAME=BYTES"),
    "u16_list": (_int, "N"),
    "bits": (_int, "N"),
    "some_bits": (_int, "N"),
    "xids": (_xid, _XID),
    "modifications": (_modification, "key=BYTES,control=N,..."),
}
# The second value of a field that has two, where it is of another kind than the first.
_SECOND_KINDS: Final = {"factory": "few_bytes", "some_factory": "few_bytes"}


def _singular(name: str) -> str:
    return name.removesuffix("ies") + "y" if name.endswith("ies") else name.removesuffix("s")


def _add_field(parser: argparse._ActionsContainer, row: FieldLayout) -> None:
    """The option (or two) of one field of an operation."""
    since = f"from {row.since // 10}.{row.since % 10} on" if row.since > min(Version) else ""
    for i, name in enumerate(row.names):
        kind = _SECOND_KINDS.get(row.kind, row.kind) if i else row.kind
        option = f"--{name.replace('_', '-')}"
        options = [option, f"--{name}"] if "_" in name else [option]
        note = "; ".join(part for part in ("" if row.optional else "required", since) if part)
        if kind in _LISTS:
            read, metavar = _LISTS[kind]
            parser.add_argument(
                *dict.fromkeys([*options, f"--{_singular(name)}"]),
                dest=name,
                type=read,
                metavar=metavar,
                nargs="+",
                action="extend",
                default=argparse.SUPPRESS,
                help=f"{note}; one or several, also repeated".removeprefix("; "),
            )
        else:
            # A kind that is not known here is taken for bytes; the codec checks the value's type.
            read, metavar = _SCALARS.get(kind, (_bytes, "VALUE"))
            parser.add_argument(
                *options,
                dest=name,
                type=read,
                metavar=metavar,
                default=argparse.SUPPRESS,
                help=note or None,
            )


# ---- explain -------------------------------------------------------------------------------------


def _looks_like_hex(text: str) -> bool:
    return bool(re.fullmatch(r"\s*(?:0[xX])?[0-9a-fA-F][0-9a-fA-F\s]*", text))


def _from_hex(text: str, what: str) -> bytes:
    """Hex with spaces, line ends, commas, colons, 0x before numbers, # comments."""
    text = re.sub(r"#.*", "", text)
    digits = re.sub(r"0[xX]|[\s,:]", "", text)
    bad = re.search(r"[^0-9a-fA-F]", digits)
    if bad:
        raise _InputError(f"{what}: {bad[0]!r} is no hex digit")
    if len(digits) % 2:
        raise _InputError(f"{what}: {len(digits)} hex digits: half a byte is missing")
    return bytes.fromhex(digits)


_HEAD: Final = 12  # bytes that tell a capture
_Found = Iterable["Frame | Note"]


def _frames(args: argparse.Namespace, explainer: Explainer) -> _Found:
    """What the input holds."""
    text = " ".join(args.input)
    form = args.form
    if text in ("", "-"):
        if text == "" and sys.stdin.isatty():
            raise _InputError("no input: give hex, a file, or - for standard input")
        return _frames_of(sys.stdin.buffer, "standard input", args, explainer)
    if form == "hex" and not Path(text).is_file():
        return explainer.frames(_not_empty(_from_hex(text, "argument")))
    if Path(text).is_file() or not _looks_like_hex(text):
        try:
            return _frames_of(Path(text).open("rb"), text, args, explainer)
        except OSError as e:
            raise _InputError(f"{text}: {e.strerror}, and it is no hex either") from None
    return explainer.frames(_not_empty(_from_hex(text, "argument")))


def _frames_of(
    source: BinaryIO, what: str, args: argparse.Namespace, explainer: Explainer
) -> _Found:
    """What a file or pipe holds. A capture is read as it comes, all else at once."""
    from hotrod_codec.pcap import is_capture, read_packets
    from hotrod_codec.recording import is_recording, iter_recording

    form = args.form
    head = source.read(_HEAD)
    if form == "capture" or (form == "auto" and is_capture(head)):
        packets = read_packets(source, _not_empty(head))
        found: _Found = explainer.capture(
            packets, port=args.port, connections=args.connection or ()
        )
        return _closing(source, found)
    with source:
        data = _not_empty(head + source.read())
    if form == "recording" or (form == "auto" and is_recording(data)):
        if not is_recording(data):
            raise _InputError(f"{what}: not a recording: it begins with {data[:4]!r}")
        return explainer.recording(iter_recording(data))
    if form == "auto" and not data[:1].isascii():
        form = "binary"  # frames begin with a byte that no text in hex begins with
    if form != "binary":
        try:
            data = _not_empty(_from_hex(data.decode("ascii"), what))
        except UnicodeDecodeError:
            if form == "hex":
                raise _InputError(f"{what}: not a text in hex") from None
        except _InputError:
            if form == "hex":
                raise
    return explainer.frames(data)


def _closing(source: BinaryIO, found: _Found) -> Iterator[Frame | Note]:
    with source:
        yield from found


def _not_empty(data: bytes) -> bytes:
    if not data:
        raise _InputError("the input is empty")
    return data


def _explain(args: argparse.Namespace) -> int:
    from hotrod_codec._terminal import JsonLines, open_output
    from hotrod_codec.explain import Assumed, Explainer, Frame

    explainer = Explainer(
        assumed=Assumed(args.op, args.version, args.flags, args.intelligence),
        show_data=args.show_data,
        everything=args.all,
        legacy_server=args.legacy_server,
    )
    found = _frames(args, explainer)
    out = JsonLines() if args.json else open_output(plain=args.plain)
    status = count = 0
    for item in found:
        if isinstance(item, Frame):
            out.frame(item)
            problem = bool(item.problem)
            count += 1
        else:
            out.note(item)
            problem = item.is_problem
        if problem:
            status = _FOUND_PROBLEM
        if count == args.frames:
            break
    return status


def _add_explain(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "explain",
        help="print frames field by field",
        description="Print the requests, responses and events of frames, of a recorded connection "
        "or of all connections in a packet capture (pcap, pcapng; also from a pipe) field by "
        "field, and say at which byte a stream breaks and why: then the exit status is 1. "
        "A response is read in the light of its request, which has to stand before it in the "
        "input; or tell what it was with --version, --flags, --intelligence.",
    )
    parser.add_argument(
        "input",
        nargs="*",
        metavar="INPUT",
        help="hex (spaces allowed), a file of frames, of hex, a .hrs recording or a packet "
        "capture, - for stdin",
    )
    forms = parser.add_mutually_exclusive_group()
    for form, text in (
        ("hex", "the input is text in hex"),
        ("binary", "the input is frames as they are"),
        ("recording", "the input is a .hrs recording"),
        ("capture", "the input is a packet capture"),
    ):
        forms.add_argument(
            f"--{form}", dest="form", action="store_const", const=form, default="auto", help=text
        )
    request = parser.add_argument_group("the request of a response that stands alone")
    request.add_argument("--op", type=_op, help="operation; known from the response as a rule")
    request.add_argument("--version", type=_version, metavar="X.Y", help="protocol version")
    request.add_argument("--flags", type=_flags, default=Flag(0), metavar="NAME,...")
    request.add_argument("--intelligence", type=_intelligence, default=1, metavar="1|2|3")
    parser.add_argument(
        "--legacy-server",
        action="store_true",
        help="answers come as server 9.4 writes them (see decode_response)",
    )
    parser.add_argument("--show-data", action="store_true", help="show what keys and values hold")
    parser.add_argument("--all", action="store_true", help="show every item and every byte")
    parser.add_argument("--frames", type=_count, metavar="N", help="stop after N frames")
    parser.add_argument(
        "--json",
        action="store_true",
        help="a JSON object for each frame, one a line; its keys: "
        "python -m pydoc hotrod_codec._terminal.JsonLines",
    )
    capture = parser.add_argument_group("packet captures")
    capture.add_argument(
        "--connection",
        type=_count,
        action="append",
        metavar="N",
        help="only this connection, as numbered in the output; repeatable",
    )
    capture.add_argument(
        "--port",
        type=_port,
        metavar="N",
        help="only connections to a server with this port; by default the server is the side that "
        "sends responses",
    )
    parser.add_argument("--plain", action="store_true", help="plain text on a terminal, too")
    parser.set_defaults(run=_explain)


def _port(text: str) -> int:
    number = _int(text)
    if not 0 < number < 1 << 16:
        raise argparse.ArgumentTypeError(f"{number} is no port")
    return number


def _count(text: str) -> int:
    number = _int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


# ---- encode --------------------------------------------------------------------------------------


def _encode(args: argparse.Namespace) -> int:
    fields = {name: vars(args)[name] for name in args.field_names if name in vars(args)}
    try:
        data = encode_request(
            args.op,
            version=args.version,
            message_id=args.message_id,
            cache=args.cache,
            flags=args.flags,
            intelligence=args.intelligence,
            topology_id=args.topology_id,
            key_media_type=args.header_key_media_type,
            value_media_type=args.header_value_media_type,
            other_params=dict(args.param) if args.param else None,
            **fields,
        )
    except (EncodeError, TypeError) as e:
        raise _InputError(str(e)) from None
    if args.raw:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        print(data.hex())
    return 0


def _add_encode(commands: argparse._SubParsersAction[_Parser], argv: list[str]) -> None:
    """The parser of `encode`, with the fields of the operation that `argv` asks for."""
    named = argv[1] if len(argv) > 1 and argv[0] == "encode" and argv[1][:1] != "-" else None
    known = [op.name.lower() for op in Op if layout(op).request_code is not None]
    parser = commands.add_parser(
        "encode",
        help="make the bytes of a request",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Make the bytes of a request, as hex. `hotrod encode OP --help` tells the "
        "fields of an operation.\n\n"
        "BYTES are text, hex:6b65, @FILE, or text:... for text that begins like one of these.\n"
        f"A DURATION is in seconds, or with a unit ({', '.join(_UNITS)}), inf or default.\n\n"
        + _wrapped("operations: ", known),
    )
    parser.add_argument("op", metavar="OP", help="operation, such as put; first of all")
    parser.add_argument("--version", type=_version, default=max(Version), metavar="X.Y")
    parser.add_argument("--message-id", type=_int, default=1, metavar="N")
    parser.add_argument("--cache", default="", metavar="NAME", help="default: the default cache")
    parser.add_argument("--flags", type=_flags, default=Flag(0), metavar="NAME,...")
    parser.add_argument(
        "--intelligence", type=_intelligence, default=Intelligence.BASIC, metavar="1|2|3"
    )
    parser.add_argument("--topology-id", type=_int, default=0, metavar="N")
    parser.add_argument("--key-media-type", dest="header_key_media_type", metavar="TYPE")
    parser.add_argument("--value-media-type", dest="header_value_media_type", metavar="TYPE")
    fields = _fields_of(parser, named, argv)
    # `--param` is a parameter of the task where the operation is one.
    own = any("params" in item.names for item in fields)
    parser.add_argument(
        "--other-param",
        *(() if own else ("--param",)),
        dest="param",
        type=_pair(_text, _bytes),
        action="append",
        metavar="NAME=BYTES",
        help="another parameter of the header, from 4.0 on; repeatable",
    )
    parser.add_argument("--raw", action="store_true", help="write the bytes themselves")
    names: list[str] = []
    parser.set_defaults(run=_encode, field_names=names)
    if not fields:
        return
    group = parser.add_argument_group(f"fields of {named}")
    for item in fields:
        _add_field(group, item)
        names.extend(item.names)


def _fields_of(
    parser: argparse.ArgumentParser, named: str | None, argv: list[str]
) -> tuple[FieldLayout, ...]:
    """The fields of the named operation."""
    if named is None:
        if argv[:1] == ["encode"] and len(argv) > 1 and argv[1] not in ("-h", "--help"):
            parser.error(f"OP comes first, before {argv[1]}")
        return ()
    try:
        fields: tuple[FieldLayout, ...] = layout(named).request
    except EncodeError as e:
        parser.error(str(e))
    parser.prog += f" {named}"
    return fields


def _wrapped(head: str, words: Iterable[str]) -> str:
    import textwrap

    return textwrap.fill(head + ", ".join(words), 90, subsequent_indent=" " * len(head))


# ---- demo ----------------------------------------------------------------------------------------


def _demo(args: argparse.Namespace) -> int:
    from hotrod_codec import _demo as demo
    from hotrod_codec._terminal import open_output

    return demo.run(open_output(plain=args.plain), args.entries)


def _add_demo(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="a cluster, both clients, and a node that dies",
        description="Start an embedded cluster of three, store and read entries with both "
        "clients, show which node has what, kill one and go on, explain a request on the wire. "
        "Everything that comes back is checked.",
    )
    parser.add_argument("--entries", type=_count, default=100_000, help="how many; 100,000")
    parser.add_argument("--plain", action="store_true", help="plain text on a terminal, too")
    parser.set_defaults(run=_demo)


# ---- serve ---------------------------------------------------------------------------------------


def _named(text: str) -> tuple[str, str | None]:
    name, equals, media_type = text.partition("=")
    if not name or (equals and not media_type):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME or NAME=MEDIA-TYPE")
    return name, media_type or None


def _login(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("expected USER:PASSWORD")
    return user, password


def _serve(args: argparse.Namespace) -> int:
    from hotrod_codec import _serve as serve
    from hotrod_codec._terminal import open_output

    arguments = {
        "nodes": args.nodes,
        "caches": dict(args.cache),
        "users": dict(args.auth),
        "host": args.host,
        "port": args.port,
        "max_entries": args.max_entries,
    }
    try:
        serve.run(open_output(plain=args.plain), arguments, tls=args.tls, every=args.every)
    except (OSError, ValueError) as e:
        raise _InputError(str(e)) from None
    return 0


def _add_serve(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "serve",
        help="an in-memory server to try clients on",
        description="Serve Hot Rod, every version from 1.0 to 4.1, from memory until Ctrl-C, and "
        "show what is asked. For trying and testing: nothing outlives it.",
    )
    parser.add_argument(
        "--port", type=_port_or_any, default=11222, help="of the first node; 0: any"
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--nodes", type=_count, default=1, metavar="N", help="so many in a cluster")
    parser.add_argument(
        "--cache",
        type=_named,
        action="append",
        default=[],
        metavar="NAME[=MEDIA-TYPE]",
        help="a cache beside the default one, and how it stores; may be repeated",
    )
    parser.add_argument(
        "--auth",
        type=_login,
        action="append",
        default=[],
        metavar="USER:PASSWORD",
        help="let nobody else in; may be repeated",
    )
    parser.add_argument(
        "--tls",
        nargs="?",
        const="self-signed",
        metavar="FILE.pem",
        help="speak TLS, with this certificate and key or one made now",
    )
    parser.add_argument("--max-entries", type=_count, metavar="N", help="the most a cache keeps")
    parser.add_argument("--every", type=_seconds, default=1.0, help="seconds between two looks")
    parser.add_argument("--plain", action="store_true", help="plain text on a terminal, too")
    parser.set_defaults(run=_serve)


def _port_or_any(text: str) -> int:
    return 0 if text == "0" else _port(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not 0.01 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text} is not within 0.01 and 86400")
    return seconds


# ---- the command ---------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (by default the process's). Returns its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser(prog="hotrod", description="The Hot Rod protocol, byte by byte.")
    parser.add_argument(
        "-V", "--version", action="version", version=f"hotrod-codec {hotrod_codec.__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _add_explain(commands)
    _add_encode(commands, arguments)
    _add_demo(commands)
    _add_serve(commands)
    try:
        args = parser.parse_args(arguments)
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except _InputError as e:
        text = " ".join(str(e).split())
        print(f"hotrod {arguments[0]}: {text}", file=sys.stderr)
        return _USAGE
    except KeyboardInterrupt:  # how a live capture ends
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. Nothing may be left for the interpreter to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
