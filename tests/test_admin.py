"""Admin tasks against what the Java client sent and servers answered."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vector_data
from hotrod_codec import (
    DecodeError,
    EncodeError,
    Op,
    Request,
    Response,
    ServerFailureError,
    Version,
    admin,
    decode_request,
    decode_response,
    encode_request,
)
from hotrod_codec.admin import SchemaChange, SchemaOp, SchemaRemoval, SchemaResult

BUILDERS: dict[str, Callable[..., admin.AdminTask[Any]]] = {
    "@@cache@names": admin.cache_names,
    "@@cache@create": admin.create_cache,
    "@@cache@getorcreate": admin.get_or_create_cache,
    "@@cache@remove": admin.remove_cache,
    "@@cache@reindex": admin.reindex_cache,
    "@@cache@updateindexschema": admin.update_index_schema,
    "@@cache@updateConfigurationAttribute": admin.update_configuration_attribute,
    "@@cache@assignAlias": admin.assign_alias,
    "@@cache@templates": admin.template_names,
    "@@template@create": admin.create_template,
    "@@template@remove": admin.remove_template,
    "@@schemas@createOrUpdate": admin.create_or_update_schema,
    "@@schemas@delete": admin.remove_schema,
    "@@logging@set": admin.set_logger,
    "@@logging@remove": admin.remove_logger,
}


def executed(area: str) -> list[tuple[vector_data.Vector, Request, Response]]:
    """The admin tasks among the captured frames, with their answers."""
    found = []
    for vector in vector_data.load(area):
        if vector.op != "EXEC" or vector.request is None or vector.response is None:
            continue
        request = decode_request(vector.request)
        assert request is not None
        response = decode_response(vector.response, request)
        assert response is not None
        if request.op is Op.EXEC and request.task in BUILDERS:
            found.append((vector, request, response))
    return found


RECORDED = executed("admin")
HAND_MADE = executed("extended-ops")


def built(request: Request) -> admin.AdminTask[Any]:
    """The task that `request` asks for, from the builder with the request's own parameters."""
    arguments: dict[str, Any] = {name: value.decode() for name, value in request.params.items()}
    if "flags" in arguments:
        arguments["flags"] = arguments["flags"].split(",")
    return BUILDERS[request.task](**arguments)


def encoded_like(request: Request, task: admin.AdminTask[Any]) -> bytes:
    """`task` with the header of `request`, in 2.1 at least."""
    return encode_request(
        "exec",
        version=max(request.version, Version.V2_1),
        message_id=request.message_id,
        cache=request.cache,
        flags=request.flags,
        intelligence=request.intelligence,
        topology_id=request.topology_id,
        key_media_type=request.key_media_type,
        value_media_type=request.value_media_type,
        other_params=request.other_params,
        **task.fields,
    )


def in_2_1_at_least(frame: bytes | None, request: Request) -> bytes:
    """A client that was told to speak 2.0 sent EXEC all the same; we say it in 2.1 only."""
    assert frame is not None
    if request.version >= Version.V2_1:
        return frame
    assert frame[:3] == bytes([0xA0, request.message_id, 20])
    return frame[:2] + b"\x15" + frame[3:]


def test_recordings_are_all_there() -> None:
    assert len(RECORDED) == 125
    assert len({request.task for _, request, _ in RECORDED}) == 8
    assert len(HAND_MADE) == 44
    assert len({request.task for _, request, _ in HAND_MADE}) == 12


@pytest.mark.parametrize(
    ("vector", "request_", "response"), RECORDED, ids=lambda v: getattr(v, "id", "")
)
def test_recorded_tasks(vector: vector_data.Vector, request_: Request, response: Response) -> None:
    """Byte for byte what the client sent, with what it needed for it; and its answer."""
    passed: dict[str, Any] = dict((vector.expected or {}).get("passed") or {})
    task = built(request_)
    assert (task.task, dict(task.params)) == (request_.task, request_.params)
    assert encoded_like(request_, task) == in_2_1_at_least(vector.request, request_)
    assert request_.cache == ""
    assert request_.key_media_type is None
    assert request_.value_media_type is None
    for name in ("name", "attribute", "value", "configuration"):
        if name in passed:
            assert task.params[name] == passed[name].encode()

    if response.is_error:
        with pytest.raises(ServerFailureError):
            response.raise_for_status()
        assert "exception" in vector.expected["returned"]  # type: ignore[index]
        return
    result = task.parse(response.result)
    returned = (vector.expected or {}).get("returned") or {}
    if task.task == "@@cache@names":
        assert result == returned["names"]
    elif task.task == "@@schemas@delete":
        missing = "missing" in vector.note
        assert result is (SchemaRemoval.NOT_FOUND if missing else SchemaRemoval.REMOVED)
    elif task.task == "@@schemas@createOrUpdate":
        wrong = "bad-" in passed.get("name", request_.params["name"].decode())
        assert isinstance(result, SchemaChange)
        assert (result.error is not None) == wrong
        assert (result.result is SchemaResult.UNCHANGED) == ("exists" in vector.note)
    else:
        assert result is None


@pytest.mark.parametrize(
    ("vector", "request_", "response"), HAND_MADE, ids=lambda v: getattr(v, "id", "")
)
def test_hand_made_tasks(vector: vector_data.Vector, request_: Request, response: Response) -> None:
    """What a builder refuses, the server would have refused; all else is as it was sent, but for
    the order of the parameters."""
    if not {"name", "flags"}.issuperset(request_.params) or request_.task not in (
        "@@cache@create",
        "@@cache@getorcreate",
    ):
        task = built(request_)
        assert (task.task, dict(task.params)) == (request_.task, request_.params)
        again = decode_request(encoded_like(request_, task))
        assert again is not None
        assert again.params == request_.params
        if not response.is_error:
            task.parse(response.result)
        return
    error: type[Exception] = EncodeError if "name" in request_.params else TypeError
    with pytest.raises(error):
        built(request_)
    # The one thing that the server took and we do not: neither template nor configuration.
    assert response.is_error or request_.params == {"name": b"c6", "flags": b"VOLATILE"}


def test_results_of_hand_made_tasks() -> None:
    results = [
        (request.params["name"].decode(), built(request).parse(response.result))
        for _, request, response in HAND_MADE
        if request.task.startswith("@@schemas")
    ]
    assert results == [
        ("p.proto", SchemaChange(SchemaResult.CREATED)),
        ("p.proto", SchemaChange(SchemaResult.UNCHANGED)),
        ("p.proto", SchemaChange(SchemaResult.UNCHANGED)),
        (
            "bad.proto",
            SchemaChange(
                SchemaResult.CREATED, "Syntax error in bad.proto at 1:3: unexpected label: not"
            ),
        ),
        ("bad.proto", SchemaRemoval.REMOVED),
        ("zz.proto", SchemaRemoval.NOT_FOUND),
    ]


# ---------------------------------------------------------------------------------------------
# Building


def test_every_task_has_its_name_and_parameters() -> None:
    tasks = [
        admin.cache_names(),
        admin.create_cache("c", template="t"),
        admin.create_cache("c", configuration="x", flags="VOLATILE"),
        admin.get_or_create_cache("c", configuration="x", flags=["update", "VOLATILE"]),
        admin.remove_cache("c", flags=admin.AdminFlag.VOLATILE),
        admin.reindex_cache("c"),
        admin.update_index_schema("c"),
        admin.update_configuration_attribute("c", "a", "", flags="PERMANENT"),
        admin.assign_alias("c", "a"),
        admin.template_names(),
        admin.create_template("t", "x"),
        admin.remove_template("t", flags=["VOLATILE"]),
        admin.create_or_update_schema("s.proto", ""),
        admin.create_or_update_schema("s.proto", "x", SchemaOp.UPDATE, force=True),
        admin.create_or_update_schema("s.proto", "x", "c"),
        admin.remove_schema("s.proto"),
        admin.set_logger("org", level="DEBUG", appender="STDOUT"),
        admin.set_logger(level="INFO"),
        admin.remove_logger("\u00f6rg"),
    ]
    assert [(task.task, dict(task.params)) for task in tasks] == [
        ("@@cache@names", {}),
        ("@@cache@create", {"name": b"c", "template": b"t"}),
        ("@@cache@create", {"name": b"c", "flags": b"VOLATILE", "configuration": b"x"}),
        (
            "@@cache@getorcreate",
            {"name": b"c", "flags": b"VOLATILE,UPDATE", "configuration": b"x"},
        ),
        ("@@cache@remove", {"name": b"c", "flags": b"VOLATILE"}),
        ("@@cache@reindex", {"name": b"c"}),
        ("@@cache@updateindexschema", {"name": b"c"}),
        (
            "@@cache@updateConfigurationAttribute",
            {"name": b"c", "flags": b"PERMANENT", "value": b"", "attribute": b"a"},
        ),
        ("@@cache@assignAlias", {"name": b"c", "alias": b"a"}),
        ("@@cache@templates", {}),
        ("@@template@create", {"name": b"t", "configuration": b"x"}),
        ("@@template@remove", {"name": b"t", "flags": b"VOLATILE"}),
        ("@@schemas@createOrUpdate", {"name": b"s.proto", "op": b"s", "content": b""}),
        (
            "@@schemas@createOrUpdate",
            {"name": b"s.proto", "op": b"u", "content": b"x", "force": b"f"},
        ),
        ("@@schemas@createOrUpdate", {"name": b"s.proto", "op": b"c", "content": b"x"}),
        ("@@schemas@delete", {"name": b"s.proto"}),
        ("@@logging@set", {"loggerName": b"org", "level": b"DEBUG", "appenders": b"STDOUT"}),
        ("@@logging@set", {"level": b"INFO"}),
        ("@@logging@remove", {"loggerName": "\u00f6rg".encode()}),
    ]
    assert {task.task for task in tasks} == set(BUILDERS)
    for task in tasks:
        request = decode_request(encode_request("exec", **task.fields))
        assert request is not None
        assert (request.task, request.params) == (task.task, task.params)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: admin.create_cache("c"), "configuration"),
        (lambda: admin.get_or_create_cache("c"), "configuration"),
        (lambda: admin.create_cache("c", template="t", configuration="x"), "template"),
        (lambda: admin.create_cache("c", template=""), "template"),
        (lambda: admin.create_cache("", template="t"), "name"),
        (lambda: admin.create_cache("\ud800", template="t"), "name"),
        (lambda: admin.create_cache("c", template="t", flags="permanently"), "flags"),
        (lambda: admin.create_cache("c", template="t", flags="VOLATILE,UPDATE"), "flags"),
        (lambda: admin.remove_cache("c", flags=["VOLATILE", ""]), "flags"),
        (lambda: admin.reindex_cache(""), "name"),
        (lambda: admin.assign_alias("c", ""), "alias"),
        (lambda: admin.update_configuration_attribute("c", "", "v"), "attribute"),
        (lambda: admin.create_template("t", ""), "configuration"),
        (lambda: admin.create_or_update_schema("", "x"), "name"),
        (lambda: admin.create_or_update_schema("s", "x", "create"), "op"),
        (lambda: admin.create_or_update_schema("s", "x", "c", force=True), "force"),
        (lambda: admin.set_logger("org"), "level"),
        (lambda: admin.set_logger("", level="INFO"), "loggerName"),
        (lambda: admin.remove_logger(""), "loggerName"),
    ],
)
def test_wrong_arguments(build: Callable[[], object], name: str) -> None:
    with pytest.raises(EncodeError) as caught:
        build()
    assert caught.value.field == name
    assert caught.value.op.startswith("EXEC @@")
    assert str(caught.value).startswith(f"{caught.value.op}: {name}: ")


def test_only_strings_are_taken() -> None:
    with pytest.raises(TypeError, match="value: expected a string, got int"):
        admin.update_configuration_attribute("c", "a", 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="configuration: expected a string, got dict"):
        admin.create_cache("c", configuration={})  # type: ignore[arg-type]


def test_tasks_are_values() -> None:
    task = admin.create_cache("c", configuration="x")
    assert task == admin.create_cache("c", configuration="x")
    assert task != admin.create_cache("d", configuration="x")
    with pytest.raises(TypeError):
        task.params["name"] = b"d"  # type: ignore[index]
    task.fields["params"]["name"] = b"d"
    assert task.params["name"] == b"c"


# ---------------------------------------------------------------------------------------------
# Results


@pytest.mark.parametrize(
    ("result", "names"),
    [
        (b"[]", []),
        (b'["a"]', ["a"]),
        (b'["a","b c","\xc3\xa4"]', ["a", "b c", "\u00e4"]),
        # As the server writes them: without escapes.
        (b'["a\\b","say "hi"","c,d"]', ["a\\b", 'say "hi"', "c,d"]),
        (b'[""]', [""]),
        # As a server may write them one day.
        (b'[ "a" , "b" ]\n', ["a", "b"]),
        (b" [] ", []),
    ],
)
def test_names(result: bytes, names: list[str]) -> None:
    assert admin.cache_names().parse(result) == names
    assert admin.template_names().parse(result) == names


@pytest.mark.parametrize(
    "result", [b"", b"[", b'["', b'"a"', b"{}", b"[1]", b"\xff", b"[[[[" * 9999]
)
def test_results_that_are_no_names(result: bytes) -> None:
    with pytest.raises(DecodeError, match="EXEC @@cache@names response: result at byte 0: is not"):
        admin.cache_names().parse(result)


@pytest.mark.parametrize(
    ("result", "change"),
    [
        (b"c", SchemaChange(SchemaResult.CREATED)),
        (b"u", SchemaChange(SchemaResult.UPDATED)),
        (b"n", SchemaChange(SchemaResult.UNCHANGED)),
        (b"u;a; b", SchemaChange(SchemaResult.UPDATED, "a; b")),
        (b"c;", SchemaChange(SchemaResult.CREATED)),
    ],
)
def test_schema_changes(result: bytes, change: SchemaChange) -> None:
    assert admin.create_or_update_schema("s", "").parse(result) == change


@pytest.mark.parametrize("result", [b"", b"x", b"cc", b";error", b"c\xff", b"created"])
def test_results_that_are_no_schema_changes(result: bytes) -> None:
    with pytest.raises(DecodeError, match="@@schemas@createOrUpdate response: result"):
        admin.create_or_update_schema("s", "").parse(result)


def test_schema_removals() -> None:
    parse = admin.remove_schema("s").parse
    assert [parse(result) for result in (b"1", b"0", b"-1")] == [
        SchemaRemoval.REMOVED,
        SchemaRemoval.NOT_FOUND,
        SchemaRemoval.IN_USE,
    ]
    for result in (b"", b"2", b"1 ", b"\xff"):
        with pytest.raises(DecodeError, match="@@schemas@delete response: result"):
            parse(result)


@given(result=st.binary(max_size=40))
def test_any_result_is_a_value_or_a_decode_error(result: bytes) -> None:
    for task in (
        admin.cache_names(),
        admin.reindex_cache("c"),
        admin.create_or_update_schema("s", ""),
        admin.remove_schema("s"),
    ):
        with contextlib.suppress(DecodeError):
            task.parse(result)
