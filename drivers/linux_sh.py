"""The shell scripts that the Linux driver runs on its targets. `$1` and on are arguments; POSIX sh."""

from __future__ import annotations

# What is told of one interface, without what changes by itself.
_DUMP = """
dump() {
  { tc -d qdisc show dev "$1"; tc class show dev "$1"; tc filter show dev "$1"
    tc filter show dev "$1" ingress; tc filter show dev "$1" egress; } 2> /dev/null |
    sed -e 's/ refcnt [0-9]*//' -e 's/ direct_packets_stat [0-9]*//'
}
shaped() {
  tc qdisc show | while read -r word kind handle at dev rest; do
    [ "$handle" = 0: ] || echo "$dev"
  done | sort -u
}
"""
# $1 directory of networkd. The whole configuration, with headings.
READ = (
    _DUMP
    + """
echo '%% nft'
nft -s list ruleset || exit 1
for dev in $(shaped); do echo "%% tc $dev"; dump "$dev"; done
for path in "$1"/*.network "$1"/*.netdev "$1"/*.link; do
  [ -f "$path" ] || continue
  echo "%% networkd ${path##*/}"; cat "$path"; echo
done
"""
)
# $1 state directory, then interfaces. For each: clean (nothing on it), same (as we left it), other; our record.
TC_STATE = (
    _DUMP
    + """
state=$1; shift
for dev in "$@"; do
  if ! shaped | grep -qxF "$dev"; then echo "$dev clean"
  elif [ -f "$state/tc.seen/$dev" ] && [ "$(dump "$dev" | sha256sum)" = "$(cat "$state/tc.seen/$dev")" ]; then
    echo "$dev same"
  else echo "$dev other"; fi
done
echo --
cat "$state/tc.batch" 2> /dev/null || true
"""
)
# $1 directory with nft.before and nft.change: what the ruleset would be, worked out in an empty namespace.
TRY = 'unshare -n sh -c \'nft -f "$1/nft.before" && nft -f "$1/nft.change" && nft -s list ruleset\' edge "$1"'
# Shared by commit and restore: $state, $networks, $reload; a file tc.devs names the interfaces.
_SEEN = """
seen() {
  mkdir -p "$state/tc.seen"
  while read -r dev; do
    [ "$dev" = '#' ] || dump "$dev" | sha256sum > "$state/tc.seen/$dev"
  done < tc.devs
}
"""
# $1 staged directory, $2 state, $3 directory of networkd, $4 reload command. Says `applied` at the very end.
APPLY = (
    _DUMP
    + _SEEN
    + """
cd "$1" || exit 1
state=$2 networks=$3 reload=$4
nft -f nft.change || exit 2
tc -batch tc.change || exit 3
while read -r name; do
  [ "$name" = '#' ] && continue
  if [ -f "file.$name" ]; then cp "file.$name" "$networks/$name.edge" && chmod 644 "$networks/$name.edge" &&
    mv -f "$networks/$name.edge" "$networks/$name" || exit 4
  else rm -f "$networks/$name"; fi
done < names
if grep -qv '^#$' names; then $reload || exit 5; fi
cp tc.record "$state/tc.batch" && seen && echo applied
"""
)
# As restore.sh of the dead man's timer: $1 the commit's directory. The three lines before are put in front.
RESTORE = (
    _DUMP
    + _SEEN
    + """
cd "$1" || exit 1
wrong=0
nft -f nft.restore || wrong=1
while read -r dev; do
  [ "$dev" = '#' ] && continue
  for where in root ingress clsact; do tc qdisc del dev "$dev" $where 2> /dev/null; done
done < tc.devs
tc -batch tc.restore || wrong=1
while read -r name; do
  [ "$name" = '#' ] && continue
  if [ -f "file.$name" ]; then cp "file.$name" "$networks/$name" || wrong=1; else rm -f "$networks/$name"; fi
done < names
if grep -qv '^#$' names; then $reload || wrong=1; fi
cp tc.record "$state/tc.batch" && seen
exit $wrong
"""
)
# $1 state, $2 nftables.conf, $3 file for the tc lines: what is in force, for the next boot. In one step each.
SAVE = """
set -e
umask 077
{ echo 'flush ruleset'; nft -s list ruleset; } > "$2.edge"
nft -c -f "$2.edge"
mv -f "$2.edge" "$2"
mkdir -p "${3%/*}"
if [ -f "$1/tc.batch" ]; then cp "$1/tc.batch" "$3.edge"; else echo '#' > "$3.edge"; fi
mv -f "$3.edge" "$3"
"""
