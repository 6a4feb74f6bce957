"""What an operation must at least do: bytes and flops, counted from the mathematics.

Each input is read once and each output written once; a fused multiply-add is two flops. These are lower bounds of
memory traffic (tier M0 of docs/method.md), exact for a kernel that streams its data once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """The least that one call reads, writes (bytes) and computes (flops), and how many items (images) it handles."""

    bytes_read: int
    bytes_written: int
    flops: int
    items: int

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    def __add__(self, other: Work) -> Work:
        """One after the other, on the same items."""
        return Work(
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
            self.flops + other.flops,
            self.items,
        )
