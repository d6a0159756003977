"""What holds for every row of the table, in every version, in both directions.

Round trips, the oracle's bytes, every prefix, any pieces. The rows come from the package itself,
so an operation that is added is tested without a word here.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import forms
import hotrod_codec
import reference
import strategies
from hotrod_codec import Event, Layout, Reader, RequestContext, Version
from strategies import Arguments

CASES = [
    pytest.param(each, version, id=f"{each.op.name}-{version // 10}.{version % 10}")
    for each in strategies.LAYOUTS
    for version in strategies.versions_of(each)
]
REQUESTS = [case for case in CASES if case.values[0].request_code is not None]  # type: ignore[union-attr]

quick = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def given_fields(arguments: Arguments, message: Any) -> None:
    """Each argument that was given is an attribute of the message."""
    for name, value in arguments.items():
        found = message[name] if name == "size" else getattr(message, name)
        assert found == value, name


@pytest.mark.parametrize(("each", "version"), REQUESTS)
@quick
@given(drawn=st.data())
def test_requests(each: Layout, version: Version, drawn: st.DataObject) -> None:
    arguments = drawn.draw(strategies.requests(each, version))
    frame = hotrod_codec.encode_request(each.op, **arguments)
    request = hotrod_codec.decode_request(frame + b"behind")
    assert request is not None
    assert request.size == len(frame)
    assert request.canonical
    assert request.encode() == frame
    expected = dict(arguments)
    flags = expected.pop("flags")
    assert request.flags & flags == flags
    assert request.op is each.op
    given_fields(expected, request)
    assert forms.encode(request) == frame
    oracle, size = reference.decode_request(frame)
    assert size == len(frame)
    assert forms.request_form(request) == forms.oracle_request(oracle)
    assert reference.encode_request(oracle) == frame
    check_pieces(frame, lambda: Reader("server"), request, drawn)


@pytest.mark.parametrize(("each", "version"), CASES)
@quick
@given(drawn=st.data())
def test_responses(each: Layout, version: Version, drawn: st.DataObject) -> None:
    flags = drawn.draw(st.sampled_from([0, 1]))
    intelligence = drawn.draw(st.integers(1, 3))
    arguments = drawn.draw(strategies.responses(each, version, flags, intelligence))
    frame = hotrod_codec.encode_response(each.op, **arguments)
    context = RequestContext(each.op, version, flags, intelligence)
    response = hotrod_codec.decode_response(frame + b"behind", context)
    assert response is not None
    assert isinstance(response, Event) is (each.request_code is None)
    assert response.size == len(frame)
    assert response.canonical
    assert response.encode() == frame
    given_fields(arguments, response)
    assert forms.encode(response) == frame
    asked = {
        "op": each.op.name,
        "version": version,
        "flags": flags,
        "intelligence": intelligence,
        "message_id": arguments["message_id"],
    }
    oracle, size = reference.decode_response(frame, asked)
    assert size == len(frame)
    assert forms.response_form(response) == forms.oracle_response(oracle, version)
    assert reference.encode_response(oracle, asked) == frame

    def reader() -> Reader:
        made = Reader()
        made.expect(context, arguments["message_id"])
        return made

    check_pieces(frame, reader, response, drawn)


def check_pieces(frame: bytes, make: Any, expected: Any, drawn: st.DataObject) -> None:
    """No proper prefix is a message; the frame in any pieces is one."""
    reader = make()
    cuts = sorted(drawn.draw(st.sets(st.integers(0, len(frame)), max_size=5)) | {len(frame)})
    at = 0
    for cut in cuts:
        assert reader.next() is None
        room = reader.buffer()
        assert len(room) >= 1
        reader.feed(frame[at:cut])
        at = cut
    message = reader.next()
    assert message == expected
    assert message.encode() == frame
    assert reader.next() is None
    assert (reader.buffered, reader.offset) == (0, len(frame))


def test_every_row_is_there() -> None:
    assert len(strategies.OPERATIONS) == 64
    assert len(strategies.EVENTS) == 5
    assert len(CASES) == sum(len(strategies.versions_of(each)) for each in strategies.LAYOUTS)
