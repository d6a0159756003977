"""What a client's methods give back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from hotrod_codec.values import Metadata

__all__ = ["MetadataValue"]

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class MetadataValue(Generic[V]):
    """A value, and what the server tells of its entry.

    Attributes:
        value: The value.
        version: The entry's version: it changes with each write. For replace_with_version and
            remove_with_version.
        created: When it was written, milliseconds since 1970; None without a lifespan.
        lifespan: Whole seconds; None: immortal.
        last_used: When it was last used, milliseconds since 1970; None without a max idle.
        max_idle: Whole seconds; None: none.
    """

    value: V = field(repr=False)
    version: int
    created: int | None = None
    lifespan: int | None = None
    last_used: int | None = None
    max_idle: int | None = None

    @classmethod
    def of(cls, value: V, metadata: Metadata) -> MetadataValue[V]:
        """A value with the metadata of an answer."""
        m = metadata
        return cls(value, m.version, m.created, m.lifespan, m.last_used, m.max_idle)
