"""An IPsec tunnel of IKEv1: one strongSwan charon as the gateway and NAS, one as the subscriber, no other server.

With XAuth the gateway has the subscriber's password and asks our daemon about it by PAP (`xauth-radius`). The virtual
addresses are those of the Access-Accept (`pools = radius`), and accounting goes to our daemon, too.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from tests.e2e import tunnel
from tests.e2e.netns import ENVIRON, Lab, Peer
from tests.e2e.tunnel import GATEWAY, PASSWORD, PLUGINS, SECRET, Tunnel

PROGRAMS = {
    program: package
    for program, package in tunnel.PROGRAMS.items()
    if program not in ("freeradius", "radclient")
} | {str(PLUGINS / "libstrongswan-xauth-generic.so"): "libcharon-extauth-plugins"}

ITS_OWN = "100.64.0.66"
INNER = "10.98.0.1"

_XAUTH = "xauth-generic"
_EAP_RADIUS = """
    eap-radius {{
      accounting = yes
      accounting_requires_vip = yes
      nas_identifier = vpn-1
      station_id_with_port = no
      servers {{
        ours {{
          address = {near}
          auth_port = {auth}
          acct_port = {acct}
          secret = {secret}
        }}
      }}
      dae {{
        enable = yes
        listen = {far}
        port = 3799
        secret = {secret}
      }}
    }}
"""
_GATEWAY_CONNECTION = """
connections {{
  road {{
    version = 1
    local_addrs = {gateway}
    pools = POOLS
    send_cert = never
    local {{
      auth = psk
    }}
    remote {{
      auth = psk
    }}
    remote-xauth {{
      auth = xauth-radius
    }}
    children {{
      net {{
        local_ts = {inner}/24
        esp_proposals = aes128-sha256
      }}
    }}
  }}
}}
pools {{
  its-own {{
    addrs = 100.64.0.66-100.64.0.66
  }}
}}
secrets {{
  ike-road {{
    secret = the-gateway-is-who-it-says
  }}
}}
"""
_HOME_CONNECTION = """
connections {{
  road {{
    version = 1
    remote_addrs = {gateway}
    vips = 0.0.0.0,::
    local {{
      auth = psk
    }}
    local-xauth {{
      auth = xauth
      xauth_id = alice
    }}
    remote {{
      auth = psk
    }}
    children {{
      net {{
        remote_ts = {inner}/24
        esp_proposals = aes128-sha256
      }}
    }}
  }}
}}
secrets {{
  ike-road {{
    secret = the-gateway-is-who-it-says
  }}
  xauth-alice {{
    id = alice
    secret = {password}
  }}
}}
"""
_LISTEN = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind((sys.argv[1], 9))
    sock.settimeout(10)
    print("listening", flush=True)
    print(sock.recvfrom(100)[1][0])
"""
_SAY = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind((sys.argv[1], 0))
    sock.sendto(b"hello", (sys.argv[2], 9))
"""


def data(lab: Lab) -> list[dict[str, Any]]:
    """Return what the daemon is told: the gateway, and two subscribers who have no addresses of their own."""
    gateway = {"address": lab.far, "secret": SECRET, "coa_port": 3799}
    desk = {"address": lab.near, "secret": SECRET}
    alice = {"username": "alice", "password": PASSWORD, "access_mode": "active", "plan": "road"}
    bob = {"username": "bob", "password": PASSWORD, "access_mode": "active", "plan": "road"}
    plan = {"name": "Road warrior", "access": "ppp", "simultaneous_use": 1}
    return [
        {"kind": "tenant", "id": "demo"},
        {"kind": "nas", "id": GATEWAY, "tenant": "demo", "body": gateway},
        {"kind": "nas", "id": "desk", "tenant": "demo", "body": desk},
        {"kind": "plan", "id": "road", "tenant": "demo", "body": plan},
        {"kind": "subscriber", "id": "4711", "tenant": "demo", "body": alice},
        {"kind": "subscriber", "id": "4712", "tenant": "demo", "body": bob},
    ]


class XauthTunnel(Tunnel):
    """The gateway and the subscriber, with our daemon as their only server."""

    def set_up(self, *, obeys: bool = True) -> tuple[Peer, Peer]:
        """Start both; return the gateway and the subscriber when the tunnel is there.

        A gateway that does not obey gives `ITS_OWN` to whoever comes, whatever our daemon says.
        """
        lab, edge = self.lab, self.edge
        plugins = _EAP_RADIUS.format(
            near=lab.near, far=lab.far, auth=edge.auth, acct=edge.acct, secret=SECRET
        )
        connection = _GATEWAY_CONNECTION.replace("POOLS", "radius" if obeys else "its-own")
        gateway = self._charon(self.gateway, "gateway", f"eap-radius {_XAUTH}", plugins, connection)
        home = self._charon(self.home, "home", _XAUTH, "", _HOME_CONNECTION)
        self.dial()
        return gateway, home

    def dial(self) -> None:
        """Let the subscriber set the tunnel up; fails where that does not work."""
        self.swanctl("home", "--initiate", "--child", "net", "--timeout", "10")

    def hang_up(self) -> None:
        """Let the subscriber end the tunnel."""
        self.swanctl("home", "--terminate", "--ike", "road", "--timeout", "10")

    def addresses(self) -> list[str]:
        """Return the virtual addresses that alice has, as the gateway tells it."""
        said = self.swanctl("gateway", "--list-sas")
        _, _, rest = said.partition("XAuth: 'alice' [")
        return rest.partition("]")[0].split()

    def source_of(self, address: str) -> str:
        """Send a datagram through the tunnel from an address of the subscriber; return where it came from."""
        listen = ["ip", "netns", "exec", self.gateway, sys.executable, "-c", _LISTEN, INNER]
        with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True, env=ENVIRON) as listening:
            assert listening.stdout is not None
            assert listening.stdout.readline() == "listening\n"
            say = [sys.executable, "-c", _SAY, address, INNER]
            subprocess.run(["ip", "netns", "exec", self.home, *say], check=True, env=ENVIRON, timeout=20)
            told, _ = listening.communicate(timeout=20)
        return told.strip()
