"""Errors as objects: what goes from one process to another."""

from __future__ import annotations

import copy
import pickle

import pytest

from hotrod_codec import (
    AuthenticationError,
    ConfigurationError,
    DecodeError,
    EncodeError,
    HotRodError,
    LimitError,
    Op,
    RequestTimeoutError,
    Status,
    TransportError,
)
from hotrod_codec.client.results import CounterBoundError, CounterMissingError
from hotrod_codec.client.session import ConnectError, NotSentError
from hotrod_codec.errors import server_error
from hotrod_codec.pcap import CaptureError
from hotrod_codec.recording import RecordingError

ERRORS: list[HotRodError] = [
    ConfigurationError("servers: none"),
    EncodeError("is missing", op="PUT", field="key"),
    DecodeError("wants 5 bytes", op="GET response", field="value", offset=23),
    LimitError("too long", op="GET response", field="value", offset=23),
    *(
        server_error("java.lang.Exception: no", status=status, op=op, message_id=17)
        for status in Status
        if status >= 0x80
        for op in (Op.GET, None)
    ),
    TransportError("the server closed the connection"),
    ConnectError("127.0.0.1:1: refused"),
    NotSentError("not sent"),
    RequestTimeoutError("GET: no answer"),
    AuthenticationError("no"),
    CounterMissingError("counter 'c'"),
    CounterBoundError("counter 'c'"),
    RecordingError("ends inside a record", 5),
    CaptureError("is none", 5),
]


def classes(base: type[HotRodError]) -> set[type[HotRodError]]:
    return {base}.union(*map(classes, base.__subclasses__()))


def test_all_of_them_are_tried() -> None:
    ours = {kind for kind in classes(HotRodError) if kind.__module__.startswith("hotrod_codec")}
    parents = {base for kind in ours for base in kind.__bases__}
    assert {kind.__name__ for kind in ours - parents} <= {type(e).__name__ for e in ERRORS}


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_an_error_comes_out_of_a_worker_as_it_was(error: HotRodError) -> None:
    # An executor whose worker raises what cannot be restored takes itself for broken.
    error.add_note("in worker 3")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
