"""Previous values: what FORCE_RETURN_VALUE adds to an answer, in each version's form.

Up to 1.3 the flag alone decides that a value follows, from 2.0 on the status says it, and from 4.0
on the old entry's metadata stand before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from hotrod_codec import Flag, Op, Status, Version
from integration.peers import Peer

DONE, REFUSED, ABSENT = Status.SUCCESS, Status.NOT_EXECUTED, Status.KEY_DOES_NOT_EXIST


@dataclass(frozen=True)
class Case:
    """One operation in one situation, and how it ends.

    Attributes:
        plain: The status without the flag, and with it up to 1.3.
        forced: The status with the flag from 2.0 on.
        after: What is stored at the end.
        lacking: The 9.4 line leaves out the length 0 of "no value" up to 1.3.
    """

    op: Op
    situation: str
    plain: Status
    forced: Status
    after: bytes | None
    lacking: bool = False

    @property
    def had_entry(self) -> bool:
        return self.situation != "missing"

    def __str__(self) -> str:
        return f"{self.op.name.lower()}-{self.situation}"


WITH, WITH_REFUSED = Status.SUCCESS_WITH_PREVIOUS, Status.NOT_EXECUTED_WITH_PREVIOUS
CASES = [
    Case(Op.PUT, "missing", DONE, WITH, b"new"),
    Case(Op.PUT, "present", DONE, WITH, b"new"),
    Case(Op.PUT_IF_ABSENT, "missing", DONE, DONE, b"new", lacking=True),
    Case(Op.PUT_IF_ABSENT, "present", REFUSED, WITH_REFUSED, b"old"),
    Case(Op.REPLACE, "missing", REFUSED, REFUSED, None, lacking=True),
    Case(Op.REPLACE, "present", DONE, WITH, b"new"),
    Case(Op.REPLACE_IF_UNMODIFIED, "missing", ABSENT, ABSENT, None),
    Case(Op.REPLACE_IF_UNMODIFIED, "unmodified", DONE, WITH, b"new"),
    Case(Op.REPLACE_IF_UNMODIFIED, "modified", REFUSED, WITH_REFUSED, b"old"),
    Case(Op.REMOVE, "missing", ABSENT, ABSENT, None),
    Case(Op.REMOVE, "present", DONE, WITH, None),
    Case(Op.REMOVE_IF_UNMODIFIED, "missing", ABSENT, ABSENT, None),
    Case(Op.REMOVE_IF_UNMODIFIED, "unmodified", DONE, WITH, None),
    Case(Op.REMOVE_IF_UNMODIFIED, "modified", REFUSED, WITH_REFUSED, b"old"),
]
CASES_OF_EACH_OPERATION = [
    pytest.param(case, id=str(case), marks=pytest.mark.operation(case.op)) for case in CASES
]


def arguments(peer: Peer, case: Case, key: bytes) -> tuple[dict[str, Any], int]:
    """Bring about the situation; return the operation's arguments and the entry's version."""
    version = 1
    if case.had_entry:
        peer.call(Op.PUT, key=key, value=b"old", lifespan=3600)
        version = peer.call(Op.GET_WITH_VERSION, key=key).entry_version
    fields: dict[str, Any] = {"key": key}
    if case.op not in (Op.REMOVE, Op.REMOVE_IF_UNMODIFIED):
        fields["value"] = b"new"
    if case.op in (Op.REPLACE_IF_UNMODIFIED, Op.REMOVE_IF_UNMODIFIED):
        fields["entry_version"] = version ^ 1 if case.situation == "modified" else version
    return fields, version


@pytest.mark.parametrize("case", CASES_OF_EACH_OPERATION)
def test_without_the_flag_only_the_status_tells(peer: Peer, key: bytes, case: Case) -> None:
    fields, _ = arguments(peer, case, key)
    answer = peer.call(case.op, **fields)
    assert (answer.status, answer.fields) == (case.plain, {})
    assert peer.call(Op.GET, key=key).value == case.after


@pytest.mark.versions(until=Version.V1_3)
@pytest.mark.parametrize("case", CASES_OF_EACH_OPERATION)
def test_up_to_1_3_the_flag_brings_a_value(peer: Peer, key: bytes, case: Case) -> None:
    fields, _ = arguments(peer, case, key)
    answer = peer.call(case.op, flags=Flag.FORCE_RETURN_VALUE, **fields)
    assert answer.status == case.plain
    if case.lacking and peer.target.is_legacy:
        assert answer.fields == {}
    else:
        assert answer.fields == {"previous": b"old" if case.had_entry else b""}
    assert peer.call(Op.GET, key=key).value == case.after


@pytest.mark.versions(since=Version.V2_0)
@pytest.mark.parametrize("case", CASES_OF_EACH_OPERATION)
def test_from_2_0_on_the_status_announces_a_value(peer: Peer, key: bytes, case: Case) -> None:
    fields, _ = arguments(peer, case, key)
    answer = peer.call(case.op, flags=Flag.FORCE_RETURN_VALUE, **fields)
    assert answer.status == case.forced
    if case.forced in (WITH, WITH_REFUSED):
        assert answer.previous == (b"old" if case.had_entry else b"")
    else:
        assert answer.fields == {}
    assert peer.call(Op.GET, key=key).value == case.after


@pytest.mark.versions(since=Version.V4_0)
@pytest.mark.parametrize(
    "case",
    [param for param in CASES_OF_EACH_OPERATION if str(param.id).endswith(("present", "modified"))],
)
def test_from_4_0_on_metadata_come_with_it(peer: Peer, key: bytes, case: Case) -> None:
    fields, version = arguments(peer, case, key)
    answer = peer.call(case.op, flags=Flag.FORCE_RETURN_VALUE, **fields)
    assert answer.metadata.version == version
    assert (answer.metadata.lifespan, answer.metadata.max_idle) == (3600, None)


@pytest.mark.operation(Op.PUT)
@pytest.mark.versions(since=Version.V4_0)
def test_from_4_0_on_no_entry_differs_from_an_empty_one(peer: Peer, key: bytes) -> None:
    none = peer.call(Op.PUT, key=key, value=b"", flags=Flag.FORCE_RETURN_VALUE)
    empty = peer.call(Op.PUT, key=key, value=b"new", flags=Flag.FORCE_RETURN_VALUE)
    assert (none.previous, empty.previous) == (b"", b"")
    assert none.metadata.version == -1
    assert empty.metadata.version != -1


@pytest.mark.operation(Op.GET, Op.CONTAINS_KEY, Op.GET_WITH_VERSION)
@pytest.mark.parametrize("op", [Op.GET, Op.CONTAINS_KEY, Op.GET_WITH_VERSION])
def test_reading_a_missing_key_with_the_flag(peer: Peer, key: bytes, op: Op) -> None:
    # Up to 1.3 the 9.4 line puts a length 0 behind the answer; the next one would be misread.
    answer = peer.call(op, key=key, flags=Flag.FORCE_RETURN_VALUE)
    assert (answer.status, answer.fields) == (ABSENT, {})
    assert peer.call(op, key=key).status == ABSENT
