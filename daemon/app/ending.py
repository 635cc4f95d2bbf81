"""Comes to an end step by step: one that fails or hangs is told, and does not keep the next from being done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

_LEAST_S = 1.0  # that each later step has, however long the ones before it take

Step = Callable[[], Awaitable[object] | None]


async def end(
    steps: Sequence[tuple[str, Step]],
    within_s: float,
    monotonic: Callable[[], float],
    tell: Callable[..., object],
) -> None:
    """Do all steps in order, given with their names for people, in `within_s` seconds or about a second a step more.

    `tell` is a logger's: it is told of `stop-step-failed`, and which and why.
    """
    end_s = monotonic() + within_s
    for number, (name, step) in enumerate(steps, 1):
        left_s = end_s - monotonic() - _LEAST_S * (len(steps) - number)
        try:
            async with asyncio.timeout(max(_LEAST_S, left_s)):
                awaited = step()
                if awaited is not None:
                    await awaited
        except Exception as error:  # noqa: BLE001 - whatever it is, what comes next is done all the same
            tell("stop-step-failed", step=name, why=f"{type(error).__name__}: {error}".removesuffix(": "))
