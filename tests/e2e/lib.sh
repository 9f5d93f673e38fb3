# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What every end-to-end test begins with: . "$PERILUNE_SOURCE/tests/e2e/lib.sh"
#
# A test is a POSIX script that ctest starts as root with PERILUNE (the binary), PERILUNE_SOURCE and PERILUNE_BUILD. It calls
# net_up once, and whatever happens, its processes, namespaces and files are gone when it ends:
#
#     net_up                                  # $A --- $B: two namespaces joined by the veth pair va --- vb
#     start "$B" "$OUT/run" run "$EXAMPLES/packet_counter.lua" --set iface=vb --json
#     start_event "$OUT/run" "$PID"
#     run_in "$A" ping -q -c 10 -i 0.01 "$B4"
#     stop "$PID"
#     assert_eq 10 "$(json "$OUT/run" 'select(.event == "summary") | .packets')" 'packets'
#     assert_clean "$B" vb
#
# Nothing here sleeps for something to have happened: wait_for looks until it is so.
set -eu

: "${PERILUNE:?the perilune to test}" "${PERILUNE_SOURCE:?the source tree}" "${PERILUNE_BUILD:?the build tree}"
# shellcheck disable=SC2034 # for the tests
EXAMPLES=$PERILUNE_SOURCE/examples
# shellcheck disable=SC2034
PCAPS=$PERILUNE_SOURCE/tests/pcaps

# ---------------------------------------------------------------------------------------------- words of a test

# nobody COMMAND…: perilune as a user without rights; an installed one, since the source tree may be where only root gets.
nobody() {
	if [ ! -d "$OUT/installed" ]; then
		chmod 755 "$OUT"
		cmake --install "$PERILUNE_BUILD" --prefix "$OUT/installed" >/dev/null
	fi
	setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent PERILUNE_CACHE= "$OUT/installed/bin/perilune" "$@"
}

say() { printf '%s\n' "$*"; }

fail() {
	printf '%s: FAILED: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

need() {
	for tool in "$@"; do
		command -v "$tool" >/dev/null || fail "$tool is missing (sh examples/setup.sh test)"
	done
}

# assert_eq EXPECTED ACTUAL WHAT
assert_eq() { [ "$1" = "$2" ] || fail "$3: expected $1, got $2"; }

# assert_match PATTERN TEXT WHAT: an extended regular expression that some line has to match.
assert_match() { printf '%s\n' "$2" | grep -qE -- "$1" || fail "$3: expected a match of /$1/ in: $2"; }

# assert_exit CODE COMMAND…: its output is left in $OUT/stdout and $OUT/stderr.
assert_exit() {
	expected=$1
	shift
	status=0
	"$@" >"$OUT/stdout" 2>"$OUT/stderr" </dev/null || status=$?
	[ "$status" = "$expected" ] || {
		cat "$OUT/stderr" >&2
		fail "$*: expected exit status $expected, got $status"
	}
}

# wait_for 'CONDITION' SECONDS [WHAT]: looks every 20 ms.
wait_for() {
	deadline=$(($(now_ms) + $2 * 1000))
	until eval "$1"; do
		[ "$(now_ms)" -lt "$deadline" ] || fail "waited $2 s for: ${3:-$1}"
		sleep 0.02
	done
}

now_ms() { date +%s%3N; }

# json FILE FILTER: jq over the lines that are whole.
json() { grep '}$' "$1" | jq -r "$2"; }

# ---------------------------------------------------------------------------------------------- begin and end

OUT=$(mktemp -d "${TMPDIR:-/tmp}/perilune-test.XXXXXX")
NAMESPACES=''
PINS='' # a directory on the BPF file system, removed at the end
PIDS=''
PID=''

# shellcheck disable=SC2317,SC2329 # called by the traps
cleanup() {
	status=$?
	trap - EXIT
	trap '' INT TERM HUP
	for pid in $PIDS; do
		kill -CONT "$pid" 2>/dev/null || :
		kill -KILL "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	for ns in $NAMESPACES; do
		ip netns pids "$ns" 2>/dev/null | xargs -r kill -KILL 2>/dev/null || :
		ip netns del "$ns" 2>/dev/null || :
	done
	[ -z "$PINS" ] || rm -rf "$PINS"
	if [ "$status" != 0 ]; then
		for file in "$OUT"/*; do
			[ -f "$file" ] || continue
			grep -qI . "$file" 2>/dev/null || continue # empty or binary
			printf -- '--- the end of %s\n' "$(basename "$file")" >&2
			tail -n 15 "$file" | cut -c 1-400 >&2
		done
	fi
	rm -rf "$OUT"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# ---------------------------------------------------------------------------------------------- network

# net_up: namespaces A and B, joined by va --- vb. Nothing but the test sends there: the interfaces do neither ARP nor
# neighbour discovery, so nothing is asked for or reported; each end is told the other's link address.
net_up() {
	need ip ethtool
	A=perilune-a-$$ B=perilune-b-$$
	A4=10.77.0.1 B4=10.77.0.2 A6=fd77::1 B6=fd77::2
	for ns in "$A" "$B"; do
		NAMESPACES="$NAMESPACES $ns"
		ip netns add "$ns"
		run_in "$ns" sysctl -qw net.ipv6.conf.default.router_solicitations=0
		ip -n "$ns" link set lo up
	done
	# BPF links name their interface by its index, which is a namespace's own: these are nobody else's.
	index=$((100000 + 2 * $$))
	ip -n "$A" link add va index $index type veth peer name vb index $((index + 1)) netns "$B"
	address "$A" va "$A4" "$A6"
	address "$B" vb "$B4" "$B6"
	AMAC=$(run_in "$A" cat /sys/class/net/va/address)
	BMAC=$(run_in "$B" cat /sys/class/net/vb/address)
	neighbour "$A" va "$BMAC" "$B4" "$B6"
	neighbour "$B" vb "$AMAC" "$A4" "$A6"
}

# address NAMESPACE IF ADDRESS4 ADDRESS6
address() {
	ip -n "$1" link set "$2" arp off up
	ip -n "$1" addr add "$3/24" dev "$2"
	ip -n "$1" addr add "$4/64" dev "$2" nodad
}

# neighbour NAMESPACE IF MAC ADDRESS…
neighbour() {
	ns=$1 iface=$2 mac=$3
	shift 3
	for peer in "$@"; do
		ip -n "$ns" neigh replace "$peer" lladdr "$mac" dev "$iface" nud permanent
	done
}

# offload NAMESPACE IF on|off: segmentation and receive offloads together.
offload() {
	run_in "$1" ethtool -K "$2" tso "$3" gso "$3" gro "$3" >/dev/null
}

run_in() {
	ns=$1
	shift
	ip netns exec "$ns" "$@"
}

# link_counter NAMESPACE IF rx_packets|tx_packets|…: the kernel's own count.
link_counter() { run_in "$1" cat "/sys/class/net/$2/statistics/$3"; }

# ---------------------------------------------------------------------------------------------- perilune

# start NAMESPACE FILE ARGUMENTS…: perilune in the background; its output in FILE, its errors in FILE.err, its id in PID.
start() {
	ns=$1 file=$2
	shift 2
	: >"$file"
	ip netns exec "$ns" "$PERILUNE" "$@" >"$file" 2>"$file.err" </dev/null &
	PID=$!
	PIDS="$PIDS $PID"
}

# Neither gone nor waiting to be reaped.
alive() { [ -e "/proc/$1/status" ] && ! grep -q '^State:.[ZX]' "/proc/$1/status" 2>/dev/null; }

# events FILE NAME: how many of them a --json run has written so far.
events() { grep -c "\"event\":\"$2\"" "$1" || :; }

# start_event FILE PID [HOOKS]: until a --json run has started and is attached to that many hooks (1).
start_event() {
	wait_for "[ \$(events '$1' start) -ge 1 ] && [ \$(events '$1' attach) -ge ${3:-1} ] || ! alive $2" 30 \
		"the start event in $(basename "$1")"
	alive "$2" || fail "perilune ended at its start: $(cat "$1.err")"
}

# finish PID [SECONDS]: waits for its end; the exit status is left in STATUS.
finish() {
	wait_for "! alive $1" "${2:-30}" "the end of process $1"
	STATUS=0
	wait "$1" || STATUS=$?
	rest=''
	for pid in $PIDS; do
		[ "$pid" = "$1" ] || rest="$rest $pid"
	done
	PIDS=$rest
}

# stop PID [SIGNAL]: a run that is told to stop ends with 0 (or under ASan with what it found).
stop() {
	kill -"${2:-INT}" "$1"
	finish "$1"
	assert_eq 0 "$STATUS" "the exit status after SIG${2:-INT}"
}

# assert_detached NAMESPACE IF: no program, link, qdisc of ours on it.
assert_detached() {
	need bpftool
	left=$(run_in "$1" bpftool net show dev "$2" 2>/dev/null | grep -E "^$2\(" || :)
	assert_eq '' "$left" "what is still attached to $2"
	left=$(ip -n "$1" -d link show dev "$2" | grep -o 'prog/xdp.*' || :)
	assert_eq '' "$left" "what XDP still runs on $2"
	left=$(run_in "$1" tc qdisc show dev "$2" | grep clsact || :)
	assert_eq '' "$left" "what qdisc is still on $2"
}

# links_of NAMESPACE IF: ids of the BPF links on it.
links_of() {
	need bpftool jq
	run_in "$1" bpftool -j link show |
		jq -r --argjson index "$(run_in "$1" cat "/sys/class/net/$2/ifindex")" '.[] | select(.ifindex == $index) | .id'
}

# assert_clean NAMESPACE IF: nothing is attached, no link is left, and no process of ours is in the namespace.
assert_clean() {
	assert_detached "$1" "$2"
	assert_eq '' "$(links_of "$1" "$2")" "the BPF links left on $2"
	assert_eq '' "$(ip netns pids "$1" | while read -r pid; do
		tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -F "$PERILUNE" || :
	done)" "the processes left in $1"
}
