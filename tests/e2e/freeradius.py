"""FreeRADIUS as the server of EAP, which our daemon does not speak: on its own, or in front of our daemon."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.conftest import free_port
from tests.e2e.netns import Lab

_START = """
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {home}
logdir = {home}
run_dir = {home}
pidfile = {home}/radiusd.pid
log {{
  destination = stdout
}}
security {{
  reject_delay = 0
}}
thread pool {{
  start_servers = 1
  max_servers = 1
  min_spare_servers = 1
  max_spare_servers = 1
}}
client nas {{
  ipaddr = {nas}
  secret = {secret}
}}
"""
_HOME = """
modules {{
  eap {{
    default_eap_type = md5
    md5 {{
    }}
    mschapv2 {{
    }}
  }}
  mschap {{
  }}
  files {{
    filename = {home}/users
  }}
}}
server default {{
  listen {{
    type = auth
    ipaddr = {address}
    port = {port}
  }}
  authorize {{
    files
    eap
  }}
  authenticate {{
    eap
    mschap
  }}
}}
"""
_FRONT = """
home_server ours {{
  type = auth
  ipaddr = 127.0.0.1
  port = {ours}
  secret = {secret}
}}
home_server_pool ours {{
  home_server = ours
}}
realm ours {{
  auth_pool = ours
}}
modules {{
  eap {{
    default_eap_type = ttls
    tls-config tunnel {{
      private_key_file = {home}/key.pem
      certificate_file = {home}/cert.pem
      ca_file = {home}/cert.pem
      tls_min_version = "1.2"
      tls_max_version = "1.2"
    }}
    ttls {{
      tls = tunnel
      virtual_server = inner
    }}
  }}
}}
server default {{
  listen {{
    type = auth
    ipaddr = {address}
    port = {port}
  }}
  authorize {{
    eap
  }}
  authenticate {{
    eap
  }}
  post-proxy {{
    eap
  }}
}}
server inner {{
  authorize {{
    update control {{
      &Proxy-To-Realm := "ours"
    }}
  }}
}}
"""


def home_server(lab: Lab, secret: str, users: str) -> int:
    """Start a server that knows the passwords of EAP, for the NAS of a lab; return its port at `lab.near`."""
    home, port = _directory(lab), free_port()
    text = (_START + _HOME).format(home=home, nas=lab.far, secret=secret, address=lab.near, port=port)
    (home / "users").write_text(users)
    _run(lab, home, text)
    return port


def ttls_front(lab: Lab, secret: str, ours: int) -> tuple[int, Path]:
    """Start a server that ends the tunnel of EAP-TTLS and asks the port `ours` of our daemon about what is inside.

    Returns its port on loopback, and the certificate that it shows.
    """
    home, port = _directory(lab), free_port()
    certificate = home / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=device.example", "-keyout", str(home / "key.pem"), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    addresses = {"nas": "127.0.0.1", "address": "127.0.0.1", "port": port, "ours": ours}
    _run(lab, home, (_START + _FRONT).format(home=home, secret=secret, **addresses))
    return port, certificate


def _directory(lab: Lab) -> Path:
    home = lab.directory / "freeradius"
    home.mkdir()
    return home


def _run(lab: Lab, home: Path, text: str) -> None:
    (home / "radiusd.conf").write_text(text)
    peer = lab.start("", "freeradius", "-f", "-l", "stdout", "-n", "radiusd", "-d", home)
    peer.tells("Ready to process requests")
