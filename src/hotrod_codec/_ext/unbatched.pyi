# Types of unbatched.pyx; stubtest compares the two. Documentation stands in the .pyx.

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, TypeVar, final, overload

_B = TypeVar("_B")
_T = TypeVar("_T")

@final
class Unbatched(AsyncGenerator[_T]):
    def __new__(
        cls, source: AsyncGenerator[_B], split: Callable[[_B], Iterable[_T]], /
    ) -> Unbatched[_T]: ...
    def __aiter__(self, /) -> Unbatched[_T]: ...
    def __anext__(self, /) -> Coroutine[Any, Any, _T]: ...
    def asend(self, value: None, /) -> Coroutine[Any, Any, _T]: ...
    @overload
    def athrow(
        self, typ: type[BaseException], val: object = None, tb: TracebackType | None = None, /
    ) -> Coroutine[Any, Any, _T]: ...
    @overload
    def athrow(
        self, typ: BaseException, val: None = None, tb: TracebackType | None = None, /
    ) -> Coroutine[Any, Any, _T]: ...
    def aclose(self, /) -> Coroutine[Any, Any, None]: ...
