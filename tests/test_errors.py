"""Errors as objects: what goes from one process to another."""

from __future__ import annotations

import copy
import pickle

import pytest

import hotrod_codec.client.results
import hotrod_codec.client.session  # noqa: F401 - their errors are among the subclasses
from hotrod_codec import DecodeError, EncodeError, HotRodError, LimitError, Op, Status
from hotrod_codec.errors import server_error
from hotrod_codec.pcap import CaptureError
from hotrod_codec.recording import RecordingError


def classes(base: type[HotRodError]) -> set[type[HotRodError]]:
    found = {base}.union(*map(classes, base.__subclasses__()))
    return {kind for kind in found if kind.__module__.startswith("hotrod_codec")}


def has_constructor(kind: type[HotRodError]) -> bool:
    return any("__init__" in vars(k) for k in kind.__mro__ if k.__module__.startswith("hotrod_"))


ERRORS: list[HotRodError] = [
    EncodeError("is missing", op="PUT", field="key"),
    DecodeError("wants 5 bytes", op="GET response", field="value", offset=23),
    LimitError("too long", op="GET response", field="value", offset=23),
    *(
        server_error("java.lang.Exception: no", status=status, op=op, message_id=17)
        for status in Status
        if status >= 0x80
        for op in (Op.GET, None)
    ),
    RecordingError("ends inside a record", 5),
    CaptureError("is none", 5),
]
ERRORS += sorted((k("why") for k in classes(HotRodError) if not has_constructor(k)), key=repr)


def test_all_of_them_are_tried() -> None:
    assert {kind.__name__ for kind in classes(HotRodError)} - {"ServerError"} == {
        type(error).__name__ for error in ERRORS
    }


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_an_error_comes_out_of_a_worker_as_it_was(error: HotRodError) -> None:
    # An executor whose worker raises what cannot be restored takes itself for broken.
    error.add_note("in worker 3")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
