from collections.abc import Iterable, Sequence
from typing import Any, Protocol, SupportsIndex, TypeAlias, final

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

from hotrod_codec.values import Topology

__pyx_capi__: dict[str, Any]  # what bulk.pyx cimports

class _HasSegments(Protocol):
    def segments(self, num_segments: int, /) -> npt.NDArray[np.int32]: ...

_Array: TypeAlias = Buffer | npt.NDArray[Any]
_Keys: TypeAlias = Iterable[Buffer] | tuple[_Array, _Array] | _HasSegments
_Owners: TypeAlias = (
    Topology | Sequence[SupportsIndex] | Sequence[Sequence[SupportsIndex]] | npt.NDArray[np.int32]
)

def murmur3(key: Buffer, seed: SupportsIndex = 9001) -> int: ...
def murmur2(key: Buffer, compat: bool = False) -> int: ...
def segment_of(key: Buffer, num_segments: SupportsIndex) -> int: ...
def segments_of(keys: _Keys, num_segments: SupportsIndex) -> npt.NDArray[np.int32]: ...
def owners_of(keys: _Keys, owners: _Owners) -> npt.NDArray[np.int32]: ...
def split_by_owner(keys: _Keys, owners: _Owners) -> dict[int, npt.NDArray[np.intp]]: ...

@final
class HashWheel:
    def __new__(
        cls,
        hash_ids: Iterable[SupportsIndex],
        *,
        hash_space: SupportsIndex,
        virtual_nodes: SupportsIndex | None = None,
    ) -> HashWheel: ...
    def __len__(self) -> int: ...
    def owner_of(self, key: Buffer) -> int: ...
    def owner_at(self, position: SupportsIndex) -> int: ...
