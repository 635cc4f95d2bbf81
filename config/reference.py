"""Writes the reference of all settings, docs/config.md: `python -m config.reference > docs/config.md`."""

from __future__ import annotations

import inspect
import json
import sys
from importlib.resources import files
from pathlib import Path

from config import fields

_HEAD = """\
# Settings

<!-- Made by `python -m config.reference`; a test compares. Change config/settings.py instead. -->

Settings come from three places, each outweighing the one before: the defaults below, one TOML file, and
environment variables.

The file is the one named by `--config`, else by the variable `DOTMAC_EDGE_CONFIG`, else `./edge.toml`, else
`/etc/dotmac-edge/edge.toml`. A variable is named `DOTMAC_EDGE_<SECTION>__<KEY>`, for example
`DOTMAC_EDGE_RADIUS__REJECT_DELAY_S=0`; lists are written as JSON, everything else as plain text.
Tables with a name of their own, `[feeds.NAME]` and `[sinks.NAME]`, are in the file only.

A reload (SIGHUP) reads all of it again. Keys marked *live* take effect at once, the others at the next start;
the reload says which those are. With any error in it the new configuration is refused as a whole, every error
is named with file, line, key and what was expected, and the daemon goes on with the old one.

## Example

This is `config/examples/edge.toml`: a daemon on the loopback interface, with ports that need no rights.

```toml
"""


def render() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD, example(), "```\n"]
    for name, model in fields.sections().items():
        parts.append(f"\n## [{name}]\n\n{inspect.getdoc(model)}\n\n")
        parts.append("| key | takes | default | change | meaning |\n|---|---|---|---|---|\n")
        parts += [_row(each) for each in fields.settings().values() if each.section == name]
    for name, model in fields.families().items():
        parts.append(f"\n## [{name}.NAME]\n\n{inspect.getdoc(model)}\n\n")
        parts.append("| key | takes | default | change | meaning |\n|---|---|---|---|---|\n")
        parts += [_row(each) for each in fields.members()[name].values()]
    return "".join(parts)


def example() -> str:
    """Return the text of the shipped example configuration."""
    return (files("config") / "examples" / "edge.toml").read_text("utf-8")


def _row(setting: fields.Setting) -> str:
    change = "live" if setting.live else "restart"
    cells = (f"`{setting.key}`", setting.expected, _default(setting.default), change, setting.description)
    return f"| {' | '.join(each.replace('|', chr(92) + '|') for each in cells)} |\n"


def _default(value: object) -> str:
    """Return a default as one would write it in TOML."""
    if value is None:
        return "none"
    if value is fields.REQUIRED:
        return "required"
    if isinstance(value, tuple):
        return f"`{json.dumps([str(each) for each in value])}`"
    return f"`{json.dumps(str(value) if isinstance(value, Path) else value)}`"


if __name__ == "__main__":
    sys.stdout.write(render())
