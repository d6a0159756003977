# Types of encoders.pyx; stubtest compares the two. Documentation stands in the .pyx.

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Protocol, TypeAlias, final

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

from hotrod_codec._ext.bulk import EntryBatch
from hotrod_codec._ext.codec import RequestContext
from hotrod_codec.ops import Flag, Op, Version
from hotrod_codec.values import Duration, MediaType, Topology

_Params: TypeAlias = Mapping[str, Buffer] | Iterable[tuple[str, Buffer]]
_Array: TypeAlias = Buffer | npt.NDArray[np.int32] | npt.NDArray[np.int64]

class _Column(Protocol):
    @property
    def buffer(self) -> Buffer: ...
    @property
    def starts(self) -> npt.NDArray[np.int64]: ...
    @property
    def lengths(self) -> npt.NDArray[np.int64]: ...

_Keys: TypeAlias = Iterable[Buffer] | tuple[Buffer, _Array] | _Column
_Entries: TypeAlias = Mapping[Any, Buffer] | Iterable[tuple[Buffer, Buffer]] | EntryBatch
_Life: TypeAlias = float | timedelta | Duration | None

@final
class CacheEncoder:
    def __new__(
        cls,
        cache: str = "",
        *,
        version: Version | int | str = "4.1",
        flags: int = 0,
        intelligence: int = 1,
        topology_id: int = 0,
        key_media_type: MediaType | str | None = None,
        value_media_type: MediaType | str | None = None,
        other_params: _Params | None = None,
    ) -> CacheEncoder: ...
    @property
    def cache(self) -> str: ...
    @property
    def version(self) -> Version: ...
    @property
    def flags(self) -> Flag: ...
    @property
    def intelligence(self) -> int: ...
    @property
    def topology_id(self) -> int: ...
    @topology_id.setter
    def topology_id(self, value: int, /) -> None: ...
    @property
    def key_media_type(self) -> MediaType | str | None: ...
    @property
    def value_media_type(self) -> MediaType | str | None: ...
    @property
    def other_params(self) -> dict[str, bytes]: ...
    def with_flags(self, flags: int, /) -> CacheEncoder: ...
    def context(self, op: Op | str, /) -> RequestContext: ...
    def encode(self, op: Op | str, message_id: int = 0, /, **fields: Any) -> bytes: ...
    def get(self, key: Buffer, message_id: int = 0) -> bytes: ...
    def get_with_metadata(self, key: Buffer, message_id: int = 0) -> bytes: ...
    def get_with_version(self, key: Buffer, message_id: int = 0) -> bytes: ...
    def contains_key(self, key: Buffer, message_id: int = 0) -> bytes: ...
    def remove(self, key: Buffer, message_id: int = 0) -> bytes: ...
    def put(
        self,
        key: Buffer,
        value: Buffer,
        message_id: int = 0,
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> bytes: ...
    def put_if_absent(
        self,
        key: Buffer,
        value: Buffer,
        message_id: int = 0,
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> bytes: ...
    def replace(
        self,
        key: Buffer,
        value: Buffer,
        message_id: int = 0,
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> bytes: ...
    def replace_if_unmodified(
        self,
        key: Buffer,
        value: Buffer,
        entry_version: int,
        message_id: int = 0,
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> bytes: ...
    def remove_if_unmodified(
        self, key: Buffer, entry_version: int, message_id: int = 0
    ) -> bytes: ...
    def put_pieces(
        self,
        key: Buffer,
        value: Buffer,
        message_id: int = 0,
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> tuple[bytes, bytes | memoryview]: ...
    def get_many(self, keys: _Keys, first_id: int = 1) -> bytes: ...
    def contains_many(self, keys: _Keys, first_id: int = 1) -> bytes: ...
    def remove_many(self, keys: _Keys, first_id: int = 1) -> bytes: ...
    def put_many(
        self,
        entries: _Entries,
        first_id: int = 1,
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> bytes: ...
    def put_columns(
        self,
        keys: _Keys,
        values: _Keys,
        first_id: int = 1,
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> bytes: ...
    def put_all(
        self,
        entries: _Entries,
        message_id: int = 0,
        *,
        lifespan: _Life = None,
        max_idle: _Life = None,
    ) -> bytes: ...
    def get_all(self, keys: _Keys, message_id: int = 0) -> bytes: ...

@final
class ResponseEncoder:
    def __new__(cls, version: Version | int | str = "4.1") -> ResponseEncoder: ...
    @property
    def version(self) -> Version: ...
    def encode(
        self,
        op: Op | str,
        message_id: int = 0,
        /,
        status: int = 0,
        topology: Topology | None = None,
        **fields: Any,
    ) -> bytes: ...
    def get(self, value: Buffer | None, message_id: int = 0) -> bytes: ...
