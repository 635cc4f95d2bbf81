"""The failures that every route may answer with, said once in the OpenAPI document."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from daemon.api.models import Failure

_TEXTS = {
    400: "the body cannot be read",
    401: "who asks has not been shown",
    403: "not allowed",
    404: "there is no such thing, or it is another tenant's",
    405: "this path has no such method",
    408: "the body comes too slowly",
    409: "it cannot be done as things are",
    413: "the body is too long",
    422: "the request cannot be understood",
    429: "too many requests; Retry-After says when",
    500: "a fault of ours; the log says how",
    503: "a store cannot be asked now",
}

FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": text} for status, text in _TEXTS.items()
}
"""What an application declares for all its routes."""


def say_once(app: FastAPI) -> None:
    """Let the document of an application refer to each failure instead of repeating it with every route."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _refer(made())
        return made()

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI documents it


def _refer(document: dict[str, Any]) -> None:
    shared: dict[str, Any] = {}
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, text in _TEXTS.items():
                said = operation["responses"].get(str(status))
                if said is None or said.get("description") != text:
                    continue
                name = HTTPStatus(status).phrase.replace(" ", "")
                shared[name] = said
                operation["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}
    document.setdefault("components", {})["responses"] = shared
