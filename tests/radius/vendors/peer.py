"""An independent decoder of replies: pyrad, with the attributes of the vendors in its dictionary form."""

from __future__ import annotations

from io import StringIO

from pyrad.dictionary import Dictionary
from pyrad.packet import AuthPacket

from radius.grant import Rendered

Reply = dict[str, list[object]]

_STANDARD = """
ATTRIBUTE Service-Type 6 integer
ATTRIBUTE Framed-Protocol 7 integer
ATTRIBUTE Framed-IP-Address 8 ipaddr
ATTRIBUTE Framed-IP-Netmask 9 ipaddr
ATTRIBUTE Filter-Id 11 string
ATTRIBUTE Framed-Route 22 string
ATTRIBUTE Session-Timeout 27 integer
ATTRIBUTE Idle-Timeout 28 integer
ATTRIBUTE Tunnel-Type 64 integer
ATTRIBUTE Tunnel-Medium-Type 65 integer
ATTRIBUTE Tunnel-Private-Group-Id 81 string
ATTRIBUTE Acct-Interim-Interval 85 integer
ATTRIBUTE Framed-Pool 88 string
ATTRIBUTE Framed-IPv6-Prefix 97 ipv6prefix
ATTRIBUTE Framed-IPv6-Route 99 string
ATTRIBUTE Framed-IPv6-Pool 100 string
ATTRIBUTE Delegated-IPv6-Prefix 123 ipv6prefix
ATTRIBUTE Framed-IPv6-Address 168 ipv6addr
ATTRIBUTE DNS-Server-IPv6-Address 169 ipv6addr
ATTRIBUTE Delegated-IPv6-Prefix-Pool 171 string
ATTRIBUTE Stateful-IPv6-Address-Pool 172 string
"""

_VENDORS = {
    ("Microsoft", 311): """
        MS-Primary-DNS-Server 28 ipaddr
        MS-Secondary-DNS-Server 29 ipaddr""",
    ("Mikrotik", 14988): """
        Mikrotik-Group 3 string
        Mikrotik-Rate-Limit 8 string
        Mikrotik-Total-Limit 17 integer
        Mikrotik-Total-Limit-Gigawords 18 integer
        Mikrotik-Address-List 19 string
        Mikrotik-Delegated-IPv6-Pool 22 string""",
    ("Cisco", 9): """
        Cisco-AVPair 1 string
        Cisco-Account-Info 250 string
        Cisco-Command-Code 252 octets""",
    ("ERX", 4874): """
        ERX-Virtual-Router-Name 1 string
        ERX-Primary-Dns 4 ipaddr
        ERX-Secondary-Dns 5 ipaddr
        ERX-Ingress-Policy-Name 10 string
        ERX-Egress-Policy-Name 11 string
        ERX-Ipv6-Primary-Dns 47 ipv6addr
        ERX-Service-Activate 65 octets
        ERX-Service-Deactivate 66 string
        ERX-CoS-Shaping-Pmt-Type 108 string
        ERX-IPv6-NdRa-Prefix 129 ipv6prefix
        ERX-IPv6-NdRa-Pool-Name 157 string
        ERX-IPv6-Delegated-Pool-Name 161 string
        ERX-Client-Profile-Name 174 string""",
    ("Huawei", 2011): """
        Huawei-Input-Average-Rate 2 integer
        Huawei-Input-Peak-Rate 3 integer
        Huawei-Output-Average-Rate 5 integer
        Huawei-Output-Peak-Rate 6 integer
        Huawei-Remanent-Volume 15 integer
        Huawei-Exec-Privilege 29 integer
        Huawei-Qos-Profile-Name 31 string
        Huawei-VPN-Instance 94 string
        Huawei-Primary-DNS 135 ipaddr
        Huawei-Secondary-DNS 136 ipaddr
        Huawei-HTTP-Redirect-URL 140 string
        Huawei-DNS-Server-IPv6-address 154 ipv6addr
        Huawei-Framed-IPv6-Address 158 ipv6addr
        Huawei-Delegated-IPv6-Prefix-Pool 191 string""",
    ("Nokia", 6527): """
        Timetra-Access 1 integer
        Timetra-Profile 4 string
        Timetra-Default-Action 5 integer
        Alc-Primary-Dns 9 ipaddr
        Alc-Secondary-Dns 10 ipaddr
        Alc-Subsc-Prof-Str 12 string
        Alc-SLA-Prof-Str 13 string
        Alc-Retail-Serv-Id 17 integer
        Alc-Ipv6-Address 99 ipv6addr
        Alc-Ipv6-Primary-Dns 105 ipv6addr
        Alc-Subscriber-QoS-Override 126 string
        Alc-Delegated-IPv6-Pool 131 string
        Alc-Subscriber-Filter 134 string
        Alc-Portal-Url 177 string
        Alc-SLAAC-IPv6-Pool 181 string
        Alc-Remove-Override 238 string""",
    ("WISPr", 14122): """
        WISPr-Redirection-URL 4 string
        WISPr-Bandwidth-Min-Up 5 integer
        WISPr-Bandwidth-Min-Down 6 integer
        WISPr-Bandwidth-Max-Up 7 integer
        WISPr-Bandwidth-Max-Down 8 integer""",
    ("Juniper", 2636): """
        Juniper-Local-User-Name 1 string""",
    ("Accel", 55999): """
        Accel-VRF-Name 1 string""",
}


def _dictionary() -> Dictionary:
    text = _STANDARD
    for (vendor, number), attributes in _VENDORS.items():
        text += f"VENDOR {vendor} {number}\nBEGIN-VENDOR {vendor}\n"
        text += "".join(f"ATTRIBUTE {line.strip()}\n" for line in attributes.strip().splitlines())
        text += f"END-VENDOR {vendor}\n"
    return Dictionary(StringIO(text))


def read(rendered: tuple[Rendered, ...]) -> Reply:
    """Return the values by attribute name as pyrad decodes them; addresses and prefixes are text."""
    body = b"".join(each.octets for each in rendered)
    packet = AuthPacket(
        dict=_dictionary(), packet=bytes((2, 1)) + (20 + len(body)).to_bytes(2, "big") + bytes(16) + body
    )
    return {name: packet[name] for name in packet.keys()}  # noqa: SIM118  # pyrad's packet decodes keys here only
