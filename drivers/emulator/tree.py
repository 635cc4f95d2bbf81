"""XML configuration of the NETCONF emulator: merge, replace, delete, RFC 6241 section 7.2."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET

from drivers.transports.netconf import BASE, local

_OPERATION = f"{{{BASE}}}operation"
_KEYS = ("name", "id")


class EditError(Exception):
    """An edit that the datastore refuses."""

    def __init__(self, tag: str, message: str) -> None:
        super().__init__(message)
        self.tag = tag
        self.message = message


def key(element: ET.Element) -> tuple[str, str]:
    """Return what tells list entries apart: the tag and the text of a key child."""
    for child in element:
        if local(child.tag) in _KEYS:
            return local(element.tag), (child.text or "").strip()
    return local(element.tag), ""


def edit(into: ET.Element, change: ET.Element, operation: str) -> None:
    """Bring the children of `change` into `into`."""
    for wanted in change:
        how = wanted.get(_OPERATION, operation)
        there = next((each for each in into if key(each) == key(wanted)), None)
        if how in {"delete", "remove"}:
            if there is not None:
                into.remove(there)
            elif how == "delete":
                raise EditError("data-missing", f"{key(wanted)} is not there")
        elif how == "create" and there is not None:
            raise EditError("data-exists", f"{key(wanted)} is there already")
        elif there is None:
            into.append(_clean(wanted))
        elif how == "replace" or not len(wanted):
            into[list(into).index(there)] = _clean(wanted)
        else:
            edit(there, wanted, how)


def _clean(element: ET.Element) -> ET.Element:
    """Return a copy without the attributes of the protocol and without what is to be deleted."""
    clean = copy.deepcopy(element)
    for each in clean.iter():
        each.attrib.pop(_OPERATION, None)
    return clean
