# Types of encoding.pyx; stubtest compares the two. Documentation stands in the .pyx.

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from typing_extensions import Buffer

from hotrod_codec.ops import Op, Version
from hotrod_codec.values import MediaType, Topology

__pyx_capi__: dict[str, Any]  # what codec.pyx cimports

_Params: TypeAlias = Mapping[str, Buffer] | Iterable[tuple[str, Buffer]]

def encode_request(
    op: Op | str,
    /,
    *,
    version: Version | int | str = "4.1",
    message_id: int = 0,
    cache: str = "",
    flags: int = 0,
    intelligence: int = 1,
    topology_id: int = 0,
    key_media_type: MediaType | str | None = None,
    value_media_type: MediaType | str | None = None,
    other_params: _Params | None = None,
    **fields: Any,
) -> bytes: ...
def encode_response(
    op: Op | str,
    /,
    *,
    version: Version | int | str = "4.1",
    message_id: int = 0,
    status: int = 0,
    topology: Topology | None = None,
    **fields: Any,
) -> bytes: ...
