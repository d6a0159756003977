"""Tasks and scripts that servers have for their users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client.cluster import CacheState, Call
from hotrod_codec.client.session import NO_FLAGS, Header
from hotrod_codec.marshallers import Marshaller
from hotrod_codec.ops import Op

__all__ = ["execute"]

V = TypeVar("V")


async def execute(
    dispatcher: Dispatcher,
    state: CacheState,
    values: Marshaller[V],
    task: str,
    parameters: Mapping[str, V] | None,
) -> V | None:
    """The result of a task; None: it gave nothing.

    Args:
        state: Of the cache to run it on; that of the name "" is none.
        values: For parameters and result.
    """
    header = Header(state.name, NO_FLAGS, values.media_type, values.media_type)
    params = {name: values.encode(value) for name, value in (parameters or {}).items()}
    call = Call(Op.EXEC, state, header, {"task": task, "params": params})
    result = (await dispatcher.execute(call)).result
    return values.decode(result) if len(result) else None
