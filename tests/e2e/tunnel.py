"""An IPsec tunnel: one strongSwan charon as the gateway and NAS, one as the subscriber, FreeRADIUS for their EAP.

Our daemon speaks no EAP. So FreeRADIUS authenticates, with EAP-MSCHAPv2; accounting goes to our daemon, and the
gateway takes CoA and Disconnect (RFC 5176) from it. ESP is done in user space (libipsec): the kernel needs no IPsec.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Daemon
from tests.e2e.freeradius import home_server
from tests.e2e.netns import ENVIRON, Lab, Peer, ip

SECRET = "a-secret-of-the-tunnel"
PASSWORD = "wonderland"
GATEWAY = "vpn-1"
ADDRESS = "203.0.113.77"
CHARON = "/usr/lib/ipsec/charon"
PLUGINS = Path("/usr/lib/ipsec/plugins")
PROGRAMS = {
    "ip": "iproute2",
    CHARON: "strongswan-charon",
    "swanctl": "strongswan-swanctl",
    str(PLUGINS / "libstrongswan-eap-radius.so"): "libcharon-extra-plugins",
    str(PLUGINS / "libstrongswan-kernel-libipsec.so"): "libcharon-extra-plugins",
    str(PLUGINS / "libstrongswan-eap-mschapv2.so"): "libcharon-extauth-plugins",
    str(PLUGINS / "libstrongswan-gcrypt.so"): "libstrongswan-extra-plugins",
    "freeradius": "freeradius",
    "radclient": "freeradius-utils",
}

_INNER = "10.98.0.1"
_GATEWAY_ADDRESS, _HOME_ADDRESS = "10.99.0.1", "10.99.0.2"

_CHARON_CONF = """
charon {{
  load = random nonce openssl gcrypt hmac kdf kernel-libipsec kernel-netlink socket-default vici \
eap-identity eap-mschapv2 {more}
  filelog {{
    stderr {{
      default = 1
    }}
  }}
  plugins {{
    vici {{
      socket = unix://{socket}
    }}
{plugins}
  }}
}}
"""
_EAP_RADIUS = """
    eap-radius {{
      accounting = yes
      nas_identifier = vpn-1
      servers {{
        home {{
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
    local_addrs = {gateway}
    pools = radius
    send_cert = never
    local {{
      auth = psk
      id = vpn-1
    }}
    remote {{
      auth = eap-radius
      eap_id = %any
    }}
    children {{
      net {{
        local_ts = {inner}/24
        esp_proposals = aes128-sha256
      }}
    }}
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
    remote_addrs = {gateway}
    vips = 0.0.0.0
    local {{
      auth = eap-mschapv2
      eap_id = alice
    }}
    remote {{
      auth = psk
      id = vpn-1
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
    id = vpn-1
    secret = the-gateway-is-who-it-says
  }}
  eap-alice {{
    id = alice
    secret = {password}
  }}
}}
"""
_UPLOAD = """
import socket, sys, time
address, inner, datagrams, octets = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind((address, 0))
    for _ in range(int(datagrams)):
        sock.sendto(bytes(int(octets)), (inner, 9))
        time.sleep(0.005)
"""


def data(lab: Lab, access_mode: str = "active") -> list[dict[str, Any]]:
    """Return what the daemon is told: the gateway, and alice."""
    gateway = {"address": lab.far, "secret": SECRET, "coa_port": 3799}
    alice = {"username": "alice", "password": PASSWORD, "access_mode": access_mode, "plan": "road"}
    return [
        {"kind": "tenant", "id": "demo"},
        {"kind": "nas", "id": GATEWAY, "tenant": "demo", "body": gateway},
        {"kind": "plan", "id": "road", "tenant": "demo", "body": {"name": "Road warrior"}},
        {"kind": "subscriber", "id": "4711", "tenant": "demo", "body": alice},
    ]


class Tunnel:
    """The gateway and the subscriber."""

    def __init__(self, lab: Lab, edge: Daemon) -> None:
        self.lab = lab
        self.edge = edge
        self.gateway = lab.namespace("gateway")
        self.home = lab.namespace("home")
        lab.link(self.gateway, "wan0", self.home, "wan0")
        lab.uplink(self.gateway)
        ip("-n", self.gateway, "addr", "add", f"{_GATEWAY_ADDRESS}/24", "dev", "wan0")
        ip("-n", self.gateway, "addr", "add", f"{_INNER}/24", "dev", "lo")
        ip("-n", self.home, "addr", "add", f"{_HOME_ADDRESS}/24", "dev", "wan0")

    def set_up(self) -> tuple[Peer, Peer]:
        """Start everything; return the gateway and the subscriber when the tunnel is there."""
        lab = self.lab
        users = f'alice Cleartext-Password := "{PASSWORD}"\n  Framed-IP-Address = {ADDRESS}\n'
        auth = home_server(lab, SECRET, users)
        plugins = _EAP_RADIUS.format(
            near=lab.near, far=lab.far, auth=auth, acct=self.edge.acct, secret=SECRET
        )
        gateway = self._charon(self.gateway, "gateway", "eap-radius", plugins, _GATEWAY_CONNECTION)
        home = self._charon(self.home, "home", "", "", _HOME_CONNECTION)
        self.swanctl("home", "--initiate", "--child", "net", "--timeout", "10")
        return gateway, home

    def _charon(self, namespace: str, name: str, more: str, plugins: str, connection: str) -> Peer:
        """Start a charon with a connection. It gets a run directory of its own: its pid file has a fixed place."""
        directory = self.lab.directory
        conf = directory / f"{name}.conf"
        socket = directory / f"{name}.vici"
        conf.write_text(_CHARON_CONF.format(more=more, socket=socket, plugins=plugins))
        shell = f"mount -t tmpfs tmpfs /run && exec {CHARON}"
        peer = self.lab.start(namespace, "sh", "-c", shell, name=name, STRONGSWAN_CONF=str(conf))
        peer.tells("spawning")
        swanctl = directory / f"{name}.swanctl"
        swanctl.write_text(connection.format(gateway=_GATEWAY_ADDRESS, inner=_INNER, password=PASSWORD))
        self.swanctl(name, "--load-all", "--file", str(swanctl))
        return peer

    def swanctl(self, name: str, *arguments: str, check: bool = True) -> str:
        """Run swanctl against the charon of this name and return what it prints."""
        done = subprocess.run(
            ["swanctl", *arguments, "--uri", f"unix://{self.lab.directory}/{name}.vici"],
            capture_output=True,
            text=True,
            timeout=20,
            env=ENVIRON,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def is_up(self) -> bool:
        """Tell whether the gateway has the subscriber's IKE_SA."""
        return "ESTABLISHED" in self.swanctl("gateway", "--list-sas")

    def upload(self, datagrams: int, octets: int) -> None:
        """Send datagrams through the tunnel, from the address that RADIUS gave; nobody answers them."""
        call = [sys.executable, "-c", _UPLOAD, ADDRESS, _INNER, str(datagrams), str(octets)]
        subprocess.run(["ip", "netns", "exec", self.home, *call], check=True, env=ENVIRON, timeout=20)
