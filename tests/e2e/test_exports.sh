# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: timeout 900
#
# Exported sets: another's XDP program drops what a policy has put into one, and lets pass what has left it; who has what, and what is
# left of it at the end, after a kill, and when it is to be kept.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"

# A BPF file system of the test's own, which goes with its mount namespace.
if [ "${PERILUNE_TEST_MOUNTS:-}" != own ]; then
	PERILUNE_TEST_MOUNTS=own exec unshare --mount --propagation private sh "$0"
fi
need ping jq bpftool clang-19 mount
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
ROOT=/sys/fs/bpf/perilune
net_up
for host in 3 4; do
	ip -n "$A" addr add "10.77.0.$host/24" dev va
	ip -n "$A" addr add "fd77::$host/64" dev va nodad
	neighbour "$B" vb "$AMAC" "10.77.0.$host" "fd77::$host"
done

cat >"$OUT/guard.lua" <<X1
local from = flows "from" { key = "src" }

return policy "guard" {
  attach = { iface = "vb", hook = "tc.ingress", netns = "$B" },
  window = "200ms",
  always = { from, flows "ports" { key = { "dport" } } },
  sets = {
    set "attackers" { of = "src", max = 100, members = { "10.77.0.4" }, export = true },
    set "ports"     { of = "dport", max = 10, export = "seen-ports" },
    set "nets"      { of = "src", max = 10, members = { "192.0.2.0/24", "2001:db8::1" }, export = true },
    set "private"   { of = "src", max = 10 },
    set "flows"     { of = "flow", max = 10, members = { "10.0.0.1:7 > 10.0.0.2:8 udp" }, export = true },
  },
  rules = {
    rule "attacker" { per = "from.src", when = rate("from.packets"):above "50/s",
                      clear = rate("from.packets"):below("1/s"):lasting "3s", act = { add "attackers" } },
    rule "port"     { per = "ports.dport", when = rate("ports.packets"):above "0/s",
                      clear = rate("ports.packets"):below("1/s"):lasting "1h", act = { add "ports" } },
  },
  exports = { records "from" { top = { 1, "packets" } } },
}
X1

# begin FILE [ARGUMENTS…]: in this mount namespace, which ip netns exec would leave.
begin() {
	file=$1
	shift
	: >"$file"
	"$PERILUNE" run "$@" --json >"$file" 2>"$file.err" </dev/null &
	PID=$!
	PIDS="$PIDS $PID"
	start_event "$file" "$PID"
}
passes() { run_in "$A" ping -q -c 1 -W 0.3 -I "$1" "${2:-$B4}" >/dev/null; }
members() { "$PERILUNE" map dump "$ROOT/$1" --json | jq -r '.[].key | if type == "object" then to_entries[0].value else . end' | sort | tr '\n' ' '; }
acts() { json "$OUT/run" "select(.event == \"action\" and .act == \"$1\" and .undo == $2) | .$3" | sort -u | tr '\n' ' '; }

say '--- another program drops what is in the set'
begin "$OUT/run" "$OUT/guard.lua"
assert_eq "$ROOT/guard/sets/attackers $ROOT/guard/sets/flows $ROOT/guard/sets/nets $ROOT/guard/sets/seen-ports " "$(acts export false text)" 'what is said to be exported'
assert_eq 'attackers flows nets seen-ports ' "$(find "$ROOT/guard/sets" -mindepth 1 -printf '%f\n' | sort | tr '\n' ' ')" 'what is there'
clang-19 -O2 -g -target bpf -I"/usr/include/$(gcc -print-multiarch)" -c "$PERILUNE_SOURCE/tests/e2e/drop.bpf.c" -o "$OUT/drop.o"
bpftool prog load "$OUT/drop.o" "/sys/fs/bpf/drop-$$" type xdp map name attackers pinned "$ROOT/guard/sets/attackers"
nsenter --net="/run/netns/$B" ip link set vb xdpgeneric pinned "/sys/fs/bpf/drop-$$"
all_pass() { passes 10.77.0.1 && passes 10.77.0.3 && passes fd77::3 "$B6"; }
all_pass || fail 'somebody who is in no set is dropped'
passes 10.77.0.4 && fail 'who is in the set from the start is not dropped'
for attacker in 10.77.0.3 fd77::3; do
	to=$B4
	[ $attacker = 10.77.0.3 ] || to=$B6
	run_in "$A" ping -q -i 0.005 -c 2000 -I "$attacker" "$to" >/dev/null 2>&1 &
	pinging=$!
	PIDS="$PIDS $pinging"
	wait_for "acts add false member | grep -q '$attacker '" 10 "$attacker in the set"
	if passes "$attacker" "$to"; then
		acts add true member | grep -q "$attacker " || fail "$attacker is not dropped"
	fi
	passes 10.77.0.1 || fail 'somebody else is dropped'
	kill -INT "$pinging" 2>/dev/null || :
	finish "$pinging"
done
wait_for "[ \"\$(members guard/sets/attackers)\" = '10.77.0.4 ' ]" 20 'that they have left'
assert_eq '10.77.0.3 fd77::3 ' "$(acts add true member)" 'who is said to have left'
all_pass || fail 'one who has left the set is dropped'

say '--- what is in them, for everybody'
assert_eq '10.77.0.4 ' "$(members guard/sets/attackers)" 'attackers'
run_in "$A" python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in (53, 40000): s.sendto(b'x', ('$B4', port))"
wait_for 'acts add false member | grep -q "40000 .*53 "' 10 'the ports'
for port in 53 40000; do members guard/sets/seen-ports | grep -qw $port || fail "port $port is not in: $(members guard/sets/seen-ports)"; done
bpftool map lookup pinned "$ROOT/guard/sets/seen-ports" key $((40000 >> 8)) $((40000 & 255)) >/dev/null ||
	fail 'port 40000 is not where its layout says'
"$PERILUNE" map dump "$ROOT/guard/sets/nets" --json >"$OUT/nets"
assert_match '192\.0\.2\.0' "$(cat "$OUT/nets")" 'the subnet'
assert_match '10\.0\.0\.1' "$("$PERILUNE" map dump "$ROOT/guard/sets/flows" --json)" 'the flow'
assert_eq lpm_trie "$(bpftool -j map show pinned "$ROOT/guard/sets/nets" | jq -r .type)" 'the kind of a set with subnets'
assert_eq '{"octets":"__u8[16]"}' "$(bpftool -j btf dump map pinned "$ROOT/guard/sets/attackers" key 2>/dev/null |
	jq -c '[.. | objects | select(.name? == "ip_addr")] | if length > 0 then {octets: "__u8[16]"} else empty end')" 'the type of its key, in BTF'

say '--- the end: members leave, the pins go'
id=$(bpftool -j map show pinned "$ROOT/guard/sets/attackers" | jq .id)
assert_exit 3 "$PERILUNE" run "$OUT/guard.lua"
assert_match 'guard.lua:8: set "attackers": export: another policy with the name guard runs, and exports sets \(give this one another: perilune run NAME=FILE\)' \
	"$(cat "$OUT/stderr")" 'a second one of the same name'
stop "$PID"
[ ! -e "$ROOT" ] || fail "left behind: $(find "$ROOT")"
assert_eq '[]' "$(bpftool -j map dump id "$id" | jq -c .)" 'what the other program still sees in its map'
passes 10.77.0.4 || fail 'the other program drops on after the end'
assert_eq "$ROOT/guard/sets/attackers $ROOT/guard/sets/flows $ROOT/guard/sets/nets $ROOT/guard/sets/seen-ports " "$(acts export true text)" 'what is said at the end'
nsenter --net="/run/netns/$B" ip link set vb xdpgeneric off
rm -f "/sys/fs/bpf/drop-$$"

say '--- after a kill, the next start of any policy sweeps'
begin "$OUT/run" "$OUT/guard.lua"
kill -KILL "$PID"
finish "$PID"
[ -e "$ROOT/guard/sets/attackers" ] || fail 'a kill removes the pins'
begin "$OUT/run" "other=$OUT/guard.lua"
[ ! -e "$ROOT/guard" ] || fail "not swept: $(find "$ROOT/guard")"
[ -e "$ROOT/other/sets/attackers" ] || fail 'the other one has no pin'
begin "$OUT/second" "$OUT/guard.lua"
[ -e "$ROOT/other/sets/attackers" ] || fail 'what belongs to one that runs was swept'
second=$PID
kill -INT "$second"
finish "$second"
for pid in $PIDS; do
	kill -INT "$pid"
	finish "$pid"
done
[ ! -e "$ROOT" ] || fail "left behind: $(find "$ROOT")"

say '--- kept'
sed 's/export = true },/export = true, keep = true },/' "$OUT/guard.lua" >"$OUT/keep.lua"
begin "$OUT/run" "$OUT/keep.lua"
id=$(bpftool -j map show pinned "$ROOT/guard/kept/attackers" | jq .id)
stop "$PID"
assert_eq '10.77.0.4 ' "$(members guard/kept/attackers)" 'members of a kept set after the end'
[ ! -e "$ROOT/guard/sets" ] || fail 'what is not kept is left'
bpftool map update pinned "$ROOT/guard/kept/attackers" key hex 00 00 00 00 00 00 00 00 00 00 ff ff 0a 4d 00 09 value hex 01
begin "$OUT/run" "$OUT/keep.lua"
assert_eq "$id" "$(bpftool -j map show pinned "$ROOT/guard/kept/attackers" | jq .id)" 'the map of the next run'
assert_eq '10.77.0.4 ' "$(members guard/kept/attackers)" 'members when the next run begins'
stop "$PID"
sed 's/max = 100/max = 200/' "$OUT/keep.lua" >"$OUT/bigger.lua"
assert_exit 1 "$PERILUNE" run "$OUT/bigger.lua"
assert_match "export: $ROOT/guard/kept/attackers is a map of another kind or size \\(remove it, or export under another name\\)" \
	"$(cat "$OUT/stderr")" 'another size'
rm -r "$ROOT"

say '--- where nothing is pinned'
assert_exit 0 "$PERILUNE" run "$OUT/guard.lua" --dry-run --for 300ms --json
[ ! -e "$ROOT" ] || fail 'a dry run pins'
umount /sys/fs/bpf
assert_exit 3 "$PERILUNE" run "$OUT/guard.lua"
assert_match 'guard.lua:8: set "attackers": export: there is no BPF file system at /sys/fs/bpf \(mount -t bpf -o mode=0700 bpf /sys/fs/bpf\)' \
	"$(cat "$OUT/stderr")" 'without a BPF file system'

say '--- mistakes'
mistake() { # SUBSTITUTION PATTERN
	sed "$1" "$OUT/guard.lua" >"$OUT/wrong.lua"
	assert_exit 2 "$PERILUNE" check "$OUT/wrong.lua"
	assert_match "$2" "$(cat "$OUT/stderr")" "$1"
}
mistake 's/export = "seen-ports"/export = "a.b"/' 'wrong.lua:9: "ports": set: export: expected true or a name, got "a.b"'
mistake 's/export = "seen-ports"/export = "nets"/' 'wrong.lua:10: set "nets": another set is exported as "nets"'
mistake 's/export = "seen-ports"/keep = true/' 'wrong.lua:9: set "ports": keep is for exported sets \(write export = true\)'
assert_clean "$B" vb
