#!/usr/bin/env bash
# Starts the daemon on the sample provider, logs subscribers in, runs a session, explains a reject, stops.
# Exits non-zero as soon as anything is not as it should be.
set -euo pipefail
cd "$(dirname "$0")/.."

state=$(mktemp -d)
export DOTMAC_EDGE_EDGE__STATE_DIR="$state" DOTMAC_EDGE_API__ADMIN_SOCKET="$state/admin.sock"
export DOTMAC_EDGE_CONFIG=config/examples/edge.toml
edge=.venv/bin/dotmac-edge

$edge run --quiet 2> "$state/log" &
daemon=$!
finish() {
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
    rm -rf "$state"
}
trap finish EXIT

say() { printf '\n== %s\n' "$*"; }

for _ in $(seq 150); do
    $edge status > /dev/null 2>&1 && break
    kill -0 "$daemon" 2>/dev/null || { echo "the daemon did not start:" >&2; cat "$state/log" >&2; exit 1; }
    sleep 0.1
done

say "The daemon at a glance"
$edge status

for method in pap chap mschapv2; do
    say "alice logs in by $method"
    $edge radius auth alice wonderland --method "$method"
done

say "A session of alice: start, interim, stop"
session=demo-0001
$edge radius acct start alice --session-id $session --framed-ip 100.64.0.7
$edge radius acct interim alice --session-id $session --framed-ip 100.64.0.7 \
    --session-time 300 --octets-upload 20000000 --octets-download 500000000
$edge radius acct stop alice --session-id $session --framed-ip 100.64.0.7 \
    --session-time 420 --octets-upload 30000000 --octets-download 900000000 --terminate-cause user-request
$edge session list
$edge session list --username alice --output json | .venv/bin/python -c '
import json, sys
(session,) = json.load(sys.stdin)["items"]
assert session["state"] == "closed", session
assert (session["octets_upload"], session["octets_download"]) == (30000000, 900000000), session
assert session["terminate_cause"] == "user-request", session'

say "bob is rejected, and why"
code=0
$edge radius auth bob builder || code=$?
[ "$code" -eq 5 ] || { echo "expected a reject (exit code 5), got $code" >&2; exit 1; }
$edge why bob
$edge why bob --output json | .venv/bin/python -c '
import json, sys
(decision,) = json.load(sys.stdin)["items"]
assert decision["reason"] == "access-reject", decision'

say "Stopping"
kill -TERM "$daemon"
wait "$daemon"
trap - EXIT
rm -rf "$state"
echo "The demo went through."
