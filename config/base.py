"""What all sections of the settings are made of: the base model, and the types of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Strict

from config.address import parse
from config.secrets import check_reference


def _checked_address(text: str) -> str:
    parse(text)
    return text


def _not_empty(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if not addresses:
        raise ValueError("nobody could reach the server")
    return addresses


def _checked_path(text: object) -> object:
    if isinstance(text, str) and (not text or "\0" in text):
        raise ValueError("a path is not empty and holds no NUL")
    return text


# TOML knows neither tuples nor paths: those two are converted, everything else comes in its own type.
Address = Annotated[str, AfterValidator(_checked_address)]
Addresses = Annotated[tuple[Address, ...], Strict(strict=False), AfterValidator(_not_empty)]
FilePath = Annotated[Path, Strict(strict=False), BeforeValidator(_checked_path)]
Reference = Annotated[str, AfterValidator(check_reference)]

ADDRESS = "an address with port, such as 127.0.0.1:8080 or [::1]:8080"
ADDRESSES = 'a list of addresses with ports, such as ["192.0.2.1:1812", "[::]:1812"]'


def live(expected: str = "") -> dict[str, Any]:
    return {"live": True, "expected": expected}


def restart(expected: str = "", *, hidden: bool = False) -> dict[str, Any]:
    return {"live": False, "expected": expected, "hidden": hidden}


class Section(BaseModel):
    """What all sections share: nothing unknown, nothing converted in silence, nothing changed later."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)
