"""Media types of the header: the server converts between them and what the cache stores."""

from __future__ import annotations

import json

import pytest

from hotrod_codec import Flag, MediaType, Op, Status, Version
from integration.peers import Peer

pytestmark = pytest.mark.versions(since=Version.V2_8)

TEXT = MediaType("text/plain")
LATIN_1 = MediaType("text/plain", (("charset", "ISO-8859-1"),))
UTF_8 = MediaType("text/plain", (("charset", "UTF-8"),))


@pytest.mark.operation(Op.PUT, Op.GET)
def test_text_comes_back_in_the_charset_that_is_asked_for(peer: Peer, key: bytes) -> None:
    text = "Müßiggang"
    written = {"key_media_type": UTF_8, "value_media_type": UTF_8}
    peer.call(Op.PUT, cache="text", key=key, value=text.encode(), **written)
    for charset, name in ((LATIN_1, "latin-1"), (UTF_8, "utf-8")):
        answer = peer.call(
            Op.GET, cache="text", key=key, key_media_type=UTF_8, value_media_type=charset
        )
        assert answer.value.decode(name) == text


@pytest.mark.operation(Op.PUT, Op.GET)
def test_keys_are_converted_too(peer: Peer) -> None:
    key = f"Schlüssel {peer.target}"
    types = {"value_media_type": UTF_8, "key_media_type": LATIN_1}
    peer.call(Op.PUT, cache="text", key=key.encode("latin-1"), value=b"one", **types)
    types["key_media_type"] = UTF_8
    assert peer.call(Op.GET, cache="text", key=key.encode(), **types).value == b"one"


@pytest.mark.operation(Op.GET)
@pytest.mark.parametrize(
    "named",
    [
        MediaType("application/octet-stream"),
        MediaType("application/octet-stream", custom=True),
        "application/octet-stream",
        MediaType("application/unknown"),
        None,
    ],
    ids=["by number", "by name", "text", "unknown", "none"],
)
def test_each_way_to_name_the_stored_type(
    peer: Peer, key: bytes, named: MediaType | str | None
) -> None:
    peer.call(Op.PUT, key=key, value=b"\x00\xff")
    answer = peer.call(Op.GET, key=key, key_media_type=named, value_media_type=named)
    assert answer.value == b"\x00\xff"


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.versions(legacy=False)
def test_json_is_json_as_text_too(peer: Peer, key: bytes) -> None:
    document = {"name": "Ada", "years": [1815, 1852]}
    name = json.dumps(key.decode()).encode()
    as_json = {"key_media_type": "application/json", "value_media_type": "application/json"}
    peer.call(Op.PUT, cache="json", key=name, value=json.dumps(document).encode(), **as_json)
    for value_type in ("application/json", "text/plain"):
        answer = peer.call(
            Op.GET, cache="json", key=name, **(as_json | {"value_media_type": value_type})
        )
        assert json.loads(answer.value) == document


@pytest.mark.operation(Op.PUT, Op.GET, Op.PUT_IF_ABSENT)
def test_a_cache_of_objects_says_so_until_2_8(peer: Peer, key: bytes) -> None:
    text = {"key_media_type": TEXT, "value_media_type": TEXT, "cache": "objects"}
    hint = peer.version <= Version.V2_8
    forced = Flag.FORCE_RETURN_VALUE

    put = peer.call(Op.PUT, key=key, value=b"one", flags=forced, **text)
    again = peer.call(Op.PUT_IF_ABSENT, key=key, value=b"two", flags=forced, **text)
    get = peer.call(Op.GET, key=key, **text)

    assert put.status == (
        Status.SUCCESS_WITH_PREVIOUS_OBJ_STORAGE if hint else Status.SUCCESS_WITH_PREVIOUS
    )
    assert again.status == (
        Status.NOT_EXECUTED_WITH_PREVIOUS_OBJ_STORAGE if hint else Status.NOT_EXECUTED_WITH_PREVIOUS
    )
    assert get.status == (Status.SUCCESS_OBJ_STORAGE if hint else Status.SUCCESS)
    assert (again.previous, get.value) == (b"one", b"one")
