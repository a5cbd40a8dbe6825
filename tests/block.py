"""What lasts for a ``with`` block: built when it begins, taken down when it ends or when building fails."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class ForABlock(ABC):
    """Something with a beginning and an end, for ``with``."""

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _build(self) -> None:
        """Build it. When this fails, what has been built so far is closed."""

    @abstractmethod
    def close(self) -> None:
        """Take down what has been built."""
