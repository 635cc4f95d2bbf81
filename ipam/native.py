"""What only the compiler of the hot path reads; this module itself is not compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:  # a development tool, which is not there where the daemon runs
    _Class = TypeVar("_Class")

    def mypyc_attr(**_said: bool) -> Callable[[_Class], _Class]:
        """Return a decorator that changes nothing."""
        return _itself

    def _itself(one: _Class) -> _Class:
        return one


__all__ = ("mypyc_attr",)
