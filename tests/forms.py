"""Messages of the package in the form that the oracle has for them, and back.

Here: the translation between hotrod_codec's objects and reference.py's dicts, so that tests can
compare both codecs. Nothing of the wire.
"""

from __future__ import annotations

import math
from typing import Any

import hotrod_codec
from hotrod_codec import (
    CounterConfiguration,
    Duration,
    IteratedEntry,
    MediaType,
    Metadata,
    Modification,
    Request,
    Response,
    Topology,
    Xid,
)

Form = dict[str, Any]

UNITS = {unit.name.lower(): unit for unit in hotrod_codec.TimeUnit}


def duration_form(value: Any) -> Any:
    if value is None:
        return None
    if value == math.inf:
        return "infinite"
    assert isinstance(value, Duration)
    return [value.amount, value.unit.name.lower()]


def media_form(value: MediaType | None) -> Form | None:
    if value is None:
        return None
    return {"id": value.id, "name": value.name or None, "params": list(value.params)}


def metadata_form(value: Metadata | None) -> Form | None:
    if value is None:
        return None
    return {name: getattr(value, name) for name in Metadata.__slots__}


def topology_form(value: Topology | None) -> Form | None:
    if value is None:
        return None
    form: Form = {
        "id": value.id,
        "servers": [tuple(server) for server in value.servers],
        "hash_version": value.hash_version,
    }
    if value.hash_ids is not None:
        names = ("key_owners", "hash_space", "virtual_nodes")
        form |= {name: getattr(value, name) for name in names}
        form["hash_ids"] = list(value.hash_ids)
    elif value.segment_owners is not None:
        form["num_segments"] = value.num_segments
        form["segment_owners"] = [list(owners) for owners in value.segment_owners]
    return form


def value_form(name: str, value: Any) -> Any:
    if name in ("lifespan", "max_idle"):
        return duration_form(value)
    if isinstance(value, MediaType):
        return media_form(value)
    if isinstance(value, Metadata):
        return metadata_form(value)
    if isinstance(value, IteratedEntry):
        metadata = metadata_form(value.metadata)
        return {"metadata": metadata, "key": value.key, "values": list(value.values)}
    if isinstance(value, Xid):
        return dict(zip(("format_id", "global_id", "branch_id"), value, strict=True))
    if isinstance(value, Modification):
        names = Modification.__slots__
        return {each: value_form(each, getattr(value, each)) for each in names}
    if isinstance(value, CounterConfiguration):
        return counter_form(value)
    if isinstance(value, list):
        return [value_form("", item) for item in value]
    return value


def counter_form(value: CounterConfiguration) -> Form:
    form: Form = {
        "storage": "PERSISTENT" if value.persistent else "VOLATILE",
        "initial": value.initial,
        "type": "UNBOUNDED_STRONG",
    }
    if value.concurrency is not None:
        form |= {"type": "WEAK", "concurrency": value.concurrency}
    if value.lower is not None:
        form |= {"type": "BOUNDED_STRONG", "lower": value.lower, "upper": value.upper}
    return form


def request_form(request: Request) -> Form:
    version = int(request.version)
    media_types = version >= 28
    return {
        "op": request.op.name,
        "message_id": request.message_id,
        "version": version,
        "cache": request.cache,
        "flags": int(request.flags),
        "intelligence": int(request.intelligence),
        "topology_id": request.topology_id,
        "key_media_type": media_form(request.key_media_type) if media_types else None,
        "value_media_type": media_form(request.value_media_type) if media_types else None,
        "other_params": request.other_params if version >= 40 else None,
        "body": {name: value_form(name, value) for name, value in request.fields.items()},
    }


def response_form(response: Response) -> Form:
    fields = response.fields
    error = fields.pop("error", None)
    return {
        "op": response.op.name if response.op is not None else None,
        "message_id": response.message_id,
        "status": int(response.status),
        "topology": topology_form(response.topology),
        "error": error,
        "body": {name: value_form(name, value) for name, value in fields.items()},
    }


def oracle_request(form: Form) -> Form:
    """What the oracle decoded, less what the package does not tell: fields that the version has
    not, and a transaction type, which never says anything."""
    form = dict(form)
    del form["tx_type"]
    form["body"] = {name: value for name, value in form["body"].items() if kept(name, value)}
    for name in ("lifespan", "max_idle"):
        # A negative number of seconds, as old clients write for "immortal".
        value = form["body"].get(name)
        if form["version"] < 22 and isinstance(value, list) and value[0] >= 2**31:
            form["body"][name] = "infinite"
    return form


def oracle_response(form: Form, version: int) -> Form:
    form = dict(form)
    del form["opcode"]
    if version < 29:  # pings before it have no media types
        media_types = ("key_media_type", "value_media_type")
        form["body"] = {k: v for k, v in form["body"].items() if k not in media_types}
    form["body"] = {k: v for k, v in form["body"].items() if kept(k, v)} if form["body"] else {}
    return form


# The oracle says None for what a version has not; here None is a value.
NONE_IS_A_VALUE = {
    "lifespan",
    "max_idle",
    "key_media_type",
    "value_media_type",
    "segments",
    "filter_factory",
}


def kept(name: str, value: Any) -> bool:
    return value is not None or name in NONE_IS_A_VALUE


def arguments(message: Request | Response) -> tuple[str, dict[str, Any]]:
    """What encode_request or encode_response is to be called with, to say the same."""
    assert message.op is not None
    header: dict[str, Any] = {"version": message.version, "message_id": message.message_id}
    if isinstance(message, Request):
        names = ("cache", "flags", "intelligence", "topology_id", "other_params")
        header |= {name: getattr(message, name) for name in names}
        if message.version >= 28:
            header["key_media_type"] = message.key_media_type
            header["value_media_type"] = message.value_media_type
    else:
        header |= {"status": message.status, "topology": message.topology}
    return message.op.name, header | message.fields


def encode(message: Request | Response) -> bytes:
    """The message through the public encoder, from its attributes alone."""
    op, keywords = arguments(message)
    if isinstance(message, Request):
        return hotrod_codec.encode_request(op, **keywords)
    return hotrod_codec.encode_response(op, **keywords)
