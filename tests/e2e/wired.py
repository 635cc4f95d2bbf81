"""A wired 802.1X port: hostapd as the NAS, wpa_supplicant as the subscriber, FreeRADIUS for their EAP.

Our daemon speaks no EAP. So FreeRADIUS authenticates; accounting goes to our daemon, and hostapd takes
Disconnect-Requests (RFC 5176) from it alone.
"""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.conftest import Daemon
from tests.e2e.freeradius import home_server
from tests.e2e.netns import Lab, Peer, ip

SECRET = "a-secret-of-the-wire"
PASSWORD = "wonderland"
SWITCH = "switch-1"
PROGRAMS = {
    "ip": "iproute2",
    "hostapd": "hostapd",
    "wpa_supplicant": "wpasupplicant",
    "freeradius": "freeradius",
    "radclient": "freeradius-utils",
}

_HOSTAPD = """
interface=sw0
driver=wired
logger_stdout=-1
logger_stdout_level=0
ieee8021x=1
use_pae_group_addr=1
own_ip_addr={far}
nas_identifier=switch-1
auth_server_addr={near}
auth_server_port={auth}
auth_server_shared_secret={secret}
acct_server_addr={near}
acct_server_port={acct}
acct_server_shared_secret={secret}
radius_das_port=3799
radius_das_client={near} {das_secret}
radius_das_time_window=300
radius_das_require_event_timestamp=1
radius_das_require_message_authenticator=1
"""
_SUPPLICANT = """
ap_scan=0
network={{
  key_mgmt=IEEE8021X
  eap=MD5
  identity="alice"
  password="{password}"
  eapol_flags=0
}}
"""


def data(lab: Lab, access_mode: str = "active") -> list[dict[str, Any]]:
    """Return what the daemon is told: the switch, and alice with this access mode."""
    switch = {"address": lab.far, "secret": SECRET, "coa_port": 3799}
    alice = {"username": "alice", "password": PASSWORD, "access_mode": access_mode, "plan": "home"}
    return [
        {"kind": "tenant", "id": "demo"},
        {"kind": "nas", "id": SWITCH, "tenant": "demo", "body": switch},
        {"kind": "plan", "id": "home", "tenant": "demo", "body": {"session_timeout_s": 86400}},
        {"kind": "subscriber", "id": "4711", "tenant": "demo", "body": alice},
    ]


class Wire:
    """The port and whoever is plugged into it."""

    def __init__(self, lab: Lab, edge: Daemon, das_secret: str = SECRET) -> None:
        """`das_secret` is the one that hostapd wants Disconnect-Requests signed with."""
        self.lab = lab
        self.edge = edge
        self._das_secret = das_secret
        self.switch = lab.namespace("switch")
        self.home = lab.namespace("home")
        lab.link(self.switch, "sw0", self.home, "eap0")
        lab.uplink(self.switch)

    @property
    def mac(self) -> str:
        """The MAC address of the subscriber's end, as 802.1X writes it."""
        shown = json.loads(ip("-json", "-n", self.home, "link", "show", "eap0"))
        mac: str = shown[0]["address"]
        return mac.upper().replace(":", "-")

    def plug_in(self) -> tuple[Peer, Peer]:
        """Start everything; return hostapd and wpa_supplicant when alice is authenticated."""
        lab = self.lab
        auth = home_server(lab, SECRET, f'alice Cleartext-Password := "{PASSWORD}"\n')
        conf = lab.directory / "hostapd.conf"
        addresses = {"near": lab.near, "far": lab.far, "auth": auth, "acct": self.edge.acct}
        conf.write_text(_HOSTAPD.format(secret=SECRET, das_secret=self._das_secret, **addresses))
        hostapd = lab.start(self.switch, "hostapd", "-d", conf)
        hostapd.tells("AP-ENABLED")
        conf = lab.directory / "wpa_supplicant.conf"
        conf.write_text(_SUPPLICANT.format(password=PASSWORD))
        supplicant = lab.start(self.home, "wpa_supplicant", "-D", "wired", "-i", "eap0", "-c", conf)
        hostapd.tells("authorizing port")
        return hostapd, supplicant
