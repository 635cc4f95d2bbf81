#!/usr/bin/env bash
# Installs the Debian packages that the tests use as peers; says which are missing where it may not.
set -euo pipefail

packages=(
    freeradius freeradius-common freeradius-utils openssl systemd tcpdump
    postgresql freeradius-postgresql mariadb-server freeradius-mysql nats-server nftables sqlite3
    openssh-server frr frr-pythontools snmpd lldpd
    iproute2 hostapd wpasupplicant eapoltest libpam-radius-auth pamtester
    strongswan-charon strongswan-swanctl libcharon-extra-plugins libcharon-extauth-plugins
    libstrongswan-extra-plugins libstrongswan-standard-plugins
)
missing=()
for package in "${packages[@]}"; do
    dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "The tests talk to real peers, and these Debian packages are missing: ${missing[*]}" >&2
    echo "Install them with: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# The peers are started by the tests; Debian shall not start them as services.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
