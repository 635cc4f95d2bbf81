"""Secret references lead to octets, or to a reason that does not tell them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from config.errors import SecretUnavailable
from config.secrets import check_reference, resolve

CANARY = "canary-7f3a"


def test_a_file_gives_its_octets_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\x00\xff\n")
    (tmp_path / "key").chmod(0o640)
    assert resolve(f"file:{tmp_path}/key", {}, None) == b"\x00\xff\n"


def test_a_variable_gives_its_octets() -> None:
    assert resolve("env:EDGE_KEY", {"EDGE_KEY": os.fsdecode(b"a\xff")}, None) == b"a\xff"


def test_a_credential_lies_in_the_directory_of_systemd(tmp_path: Path) -> None:
    (tmp_path / "sealing-key").write_bytes(b"k" * 32)
    assert resolve("credential:sealing-key", {}, tmp_path) == b"k" * 32


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("file:gone", "No such file or directory"),
        ("file:open", "every user can open the file; chmod o= it"),
        ("file:empty", "it is empty"),
        ("file:large", "it is longer than 65536 octets"),
        ("file:.", "Is a directory"),
        ("file:pipe", "it is not a regular file"),
        ("env:UNSET", "the variable is not set"),
        ("credential:x", "CREDENTIALS_DIRECTORY is not set; the unit needs LoadCredential="),
    ],
)
def test_what_cannot_be_had_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, octets in (("open", CANARY.encode()), ("empty", b""), ("large", b"x" * 70_000)):
        Path(name).write_bytes(octets)
        Path(name).chmod(0o604 if name == "open" else 0o600)
    os.mkfifo("pipe", 0o600)
    with pytest.raises(SecretUnavailable) as caught:
        resolve(reference, {}, None)
    assert (caught.value.reference, caught.value.why) == (reference, why)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [CANARY, f"vault:{CANARY}", "file:", "", f"credential:../{CANARY}", "credential:..", f"env:A={CANARY}"],
)
def test_what_is_no_reference_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        check_reference(text)
    with pytest.raises(SecretUnavailable) as unavailable:
        resolve(text, {}, None)
    assert CANARY not in f"{refused.value} {unavailable.value}"
