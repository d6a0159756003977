# Types of scalars.pyx; stubtest compares the two. Documentation stands in the .pyx.

from collections.abc import Callable
from typing import ParamSpec, SupportsIndex, TypeVar

from typing_extensions import Buffer

_P = ParamSpec("_P")
_R = TypeVar("_R")

def encode_varint(number: SupportsIndex, /) -> bytes: ...
def decode_varint(data: Buffer, /, offset: SupportsIndex = 0) -> tuple[int, int]: ...
def fast_encode(plain: Callable[_P, _R], /) -> Callable[_P, _R]: ...
def fast_decode(plain: Callable[_P, _R], /) -> Callable[_P, _R]: ...
