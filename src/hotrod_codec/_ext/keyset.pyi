# Types of keyset.pyx; stubtest compares the two. Documentation stands in the .pyx.

from collections.abc import Iterable
from typing import Any, final

import numpy.typing as npt
from typing_extensions import Buffer

@final
class KeySet:
    def __new__(cls, num_segments: int, /) -> KeySet: ...
    def __len__(self) -> int: ...
    def add(
        self, keys: list[bytes], segments: Buffer | npt.NDArray[Any] | None = None, /
    ) -> list[int] | None: ...
    def finish(self, segments: Iterable[int], /) -> None: ...
