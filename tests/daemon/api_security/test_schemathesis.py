"""Whatever is sent to any route: no fault of ours, and what is answered is what the OpenAPI document says."""

from __future__ import annotations

import json
import os
import time
import warnings
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.daemon.api_security.stage import Stage

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

_WHOLE_S = float(os.environ.get("EDGE_SCHEMATHESIS_S", "60"))
_EACH = max(12, int(_WHOLE_S / 5))  # requests to a route: half of them as the document says, half of them not
_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# Those that would take the stage away under the others' feet, or ask the network.
_LEFT_OUT = {"/api/v1/config/reload", "/api/v1/ipam/probes", "/api/v1/coa-tests"}


@schemathesis.serializer("application/x-ndjson")
def _lines(_context: Any, value: Any) -> bytes:
    """Write a value as one line of JSON; what is text or octets already stays as it is."""
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


@pytest.mark.filterwarnings("ignore")
def test_any_input_is_answered_as_the_document_says(filled: Stage) -> None:
    schema: Any = schemathesis.openapi.from_dict(filled.document())
    schema.config.update(base_url=filled.url)
    headers = {"X-Api-Key": filled.keys["*"]}
    known = [each.ok() for each in schema.get_all_operations()]
    operations = [each for each in known if each.path not in _LEFT_OUT]
    assert len(operations) > 75
    began = time.monotonic()
    wrong: dict[str, str] = {}
    asked = 0
    for place, operation in enumerate(operations):
        share_s = max(0.3, (_WHOLE_S - (time.monotonic() - began)) / (len(operations) - place))
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            end = time.monotonic() + share_s / 2
            try:
                asked += _ask(operation, mode, headers, end)
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - all are looked at, then told
                wrong[f"{operation.label} {mode.value}"] = str(error)
    assert not wrong, "\n\n".join(f"=== {name}\n{text[:1500]}" for name, text in wrong.items())
    assert asked > 4 * len(operations)


def _ask(operation: Any, mode: GenerationMode, headers: dict[str, str], end: float) -> int:
    """Ask for a share of the time; return how often. Raises what is found."""
    asked = 0

    @settings(
        max_examples=_EACH // 2,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        nonlocal asked
        if time.monotonic() < end:
            asked += 1
            case.call_and_validate(headers=headers, checks=_CHECKS, timeout=20)

    try:
        ask()
    except BaseException as error:
        if "Unsatisfiable" in str(type(error).__mro__):
            return asked  # nothing that is wrong can be said to this route
        raise
    return asked


def test_the_document_is_one_of_openapi(filled: Stage) -> None:
    document = filled.document()
    assert document["openapi"].startswith("3.1")
    assert httpx.codes.UNAUTHORIZED == 401
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            for status in (401, 403, 404, 422, 429, 503):
                said = operation["responses"].get(str(status))
                assert said is not None, f"{where}: {status} is not declared"
