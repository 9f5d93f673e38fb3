#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# perilune's main job, in under a minute: a policy watches an interface cheaply, looks closer when a SYN flood comes, names the
# attacker, and backs off when it is over.
#
#   sudo sh examples/quickstart.sh
#
# Installs what is missing, builds into build/, and then works only in two network namespaces of its own, joined by a veth pair.
# Into one end go ordinary traffic, plain UDP and the flood; at the other examples/syn_flood.lua runs. At the end the packets sent,
# received and counted are compared. Nothing is left behind, also after Ctrl-C.
#
# PERILUNE=FILE uses that perilune, and installs and builds nothing.
set -eu
export LC_NUMERIC=C

root=$(cd "$(dirname "$0")/.." && pwd)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

RATE=3000  # packets a second, of the UDP and of the flood
QUIET=2s   # how long it has to be quiet before the policy backs off; 10 s by default
LEASH=3m   # perilune ends by itself, should this script be killed
PATIENCE=40 # seconds any one step may take

pcaps=$root/tests/pcaps
out=perilune-out-$$ # the traffic comes from here …
in=perilune-in-$$   # … and is watched here

say() { printf '%s\n' "$*"; }
die() {
	printf 'quickstart: %s\n' "$*" >&2
	exit 1
}

# ---------------------------------------------------------------------------------------------- cleaning up

tmp='' namespaces='' children=''

alive() { [ -e "/proc/$1/status" ] && ! grep -q '^State:.[ZX]' "/proc/$1/status" 2>/dev/null; }

# What is built in someone's clone is to be theirs, not root's.
give_back() {
	owner=$(stat -c '%u:%g' "$root")
	[ "$owner" = 0:0 ] || [ ! -e "$root/build" ] || chown -R "$owner" "$root/build" 2>/dev/null || :
}

# One signal is enough for perilune to detach and end; a second one would cut that short.
# shellcheck disable=SC2317,SC2329 # called by the trap
cleanup() {
	status=$?
	trap - EXIT
	trap '' INT TERM HUP
	for pid in $children; do
		kill -TERM "$pid" 2>/dev/null || :
	done
	tries=0
	for pid in $children; do
		while alive "$pid" && [ "$tries" -lt 250 ]; do
			tries=$((tries + 1))
			sleep 0.02
		done
		kill -KILL "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	for ns in $namespaces; do
		ip netns del "$ns" 2>/dev/null || :
	done
	[ -z "$tmp" ] || rm -rf "$tmp"
	[ -n "${PERILUNE_GIVEN-}" ] || give_back
	exit "$status"
}

# wait_for 'CONDITION' WHAT: looks every 50 ms.
wait_for() {
	tries=0
	until eval "$1"; do
		[ "$tries" -lt $((PATIENCE * 20)) ] || die "waited $PATIENCE s for $2"
		tries=$((tries + 1))
		sleep 0.05
	done
}

forget() {
	rest=''
	for pid in $children; do
		[ "$pid" = "$1" ] || rest="$rest $pid"
	done
	children=$rest
}

# ---------------------------------------------------------------------------------------------- what is needed

build() {
	sh "$root/examples/setup.sh" run
	if [ -e "$root/build/CMakeCache.txt" ] &&
		! { grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$root/build/CMakeCache.txt" &&
			grep -qxF 'CMAKE_GENERATOR:INTERNAL=Ninja' "$root/build/CMakeCache.txt"; }; then
		rm -rf "$root/build/CMakeCache.txt" "$root/build/CMakeFiles" # of another place or generator
	fi
	if [ ! -e "$root/build/build.ninja" ] || [ ! -e "$root/build/CMakeCache.txt" ]; then
		say 'configuring'
		cmake -S "$root" -B "$root/build" -G Ninja >"$tmp/cmake" 2>&1 || {
			cat "$tmp/cmake" >&2
			die 'cmake could not configure the build'
		}
	fi
	cmake --build "$root/build" --target perilune
	PERILUNE=$root/build/perilune
}

network() {
	for ns in "$out" "$in"; do
		ip netns add "$ns" || die 'no network namespaces here (a container needs CAP_SYS_ADMIN and CAP_NET_ADMIN)'
		namespaces="$namespaces $ns"
		# Only what is sent here is to be seen: no IPv6 neighbour discovery, and below no ARP.
		[ ! -e /proc/sys/net/ipv6 ] ||
			ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
	done
	ip -n "$out" link add veth-out address 02:00:00:00:00:01 type veth \
		peer name veth-in address 02:00:00:00:00:02 netns "$in"
	ip -n "$out" addr add 10.77.0.1/24 dev veth-out
	ip -n "$in" addr add 10.77.0.2/24 dev veth-in
	ip -n "$out" link set veth-out up
	ip -n "$in" link set veth-in up
	ip -n "$out" neigh replace 10.77.0.2 lladdr 02:00:00:00:00:02 dev veth-out nud permanent
	ip -n "$in" neigh replace 10.77.0.1 lladdr 02:00:00:00:00:01 dev veth-in nud permanent
}

# ---------------------------------------------------------------------------------------------- perilune

# In sessions of their own: a Ctrl-C is for this script, which then tells them once.
perilune() { exec setsid ip netns exec "$in" "$PERILUNE" "$@" </dev/null; }

# Beside the run that a person looks at, a second one of the same policy writes JSON, for this script to read.
start_witness() {
	perilune run "$root/examples/syn_flood.lua" --set iface=veth-in --set quiet=$QUIET --for $LEASH --json \
		>"$tmp/events" 2>"$tmp/errors" &
	witness=$!
	children="$children $witness"
	wait_for "grep -q '\"event\":\"attach\"' '$tmp/events' || ! alive $witness" 'perilune to attach'
	alive "$witness" || {
		cat "$tmp/errors" >&2
		die 'perilune could not start (perilune doctor says what this machine lacks)'
	}
}

# A BPF link, or where the kernel has none for this hook, a second filter of tc's.
attached() {
	grep -qs '^link_type' "/proc/$1/fdinfo/"* ||
		[ "$(ip netns exec "$in" tc filter show dev veth-in ingress 2>/dev/null | grep -c 'direct-action')" -ge 2 ]
}

start_view() {
	perilune run "$root/examples/syn_flood.lua" --set iface=veth-in --set quiet=$QUIET --for $LEASH &
	view=$!
	children="$children $view"
	wait_for "attached $view || ! alive $view" 'perilune to attach'
	alive "$view" || die 'perilune ended at its start'
}

# stop PID: a run that is told to stop ends with 0.
stop() {
	kill -INT "$1"
	wait_for "! alive $1" 'perilune to end'
	status=0
	wait "$1" || status=$?
	forget "$1"
	[ "$status" = 0 ] || die "perilune ended with status $status"
}

events() { grep -c "\"event\":\"$1\"" "$tmp/events" || :; }
levels() { sed -n 's/.*"event":"transition".*"from":"[^"]*","to":"\([^"]*\)".*/\1/p' "$tmp/events"; }
calm_again() { [ "$(levels | tail -n 1)" = calm ]; }
running() { alive "$view" && alive "$witness"; }

# Until whole windows have passed over what was sent.
windows_pass() {
	seen=$(events window)
	wait_for "[ \$(events window) -gt $((seen + 1)) ] || ! running" 'windows to end'
}

# ---------------------------------------------------------------------------------------------- traffic

# generate COMMAND…: sends from the outside, and can be interrupted.
generate() {
	ip netns exec "$out" "$@" >"$tmp/generator" 2>&1 </dev/null &
	generator=$!
	children="$children $generator"
	status=0
	wait "$generator" || status=$?
	forget "$generator"
	[ "$status" = 0 ] || {
		cat "$tmp/generator" >&2
		die "$1 failed"
	}
	running || die 'perilune ended too early'
}

# replay CAPTURE OPTION…: sets `sent`.
replay() {
	capture=$1
	shift
	generate tcpreplay --intf1=veth-out --preload-pcap "$@" "$pcaps/$capture"
	sent=$(sed -n 's/^Actual: \([0-9]*\) packets.*/\1/p' "$tmp/generator" | tail -n 1)
	[ -n "$sent" ] || die "tcpreplay does not say how many packets it has sent"
}

# A terminal belongs to the live view meanwhile.
step() { [ -t 1 ] || say "quickstart: $*"; }

traffic() {
	step 'ordinary traffic: a ping and a web page'
	generate ping -q -c 10 -i 0.05 10.77.0.2
	ordinary=$(sed -n 's/^\([0-9]*\) packets transmitted.*/\1/p' "$tmp/generator")
	replay http_bro.org.pcap --multiplier=5
	ordinary=$((ordinary + sent))

	step "plain UDP, $RATE packets a second: no reason to look closer"
	replay quic_curl-8.1.2-dev-http3-www-google-de.pcap --loop=250 --pps=$RATE
	udp=$sent
	windows_pass
	early=$(events transition)

	step "a SYN flood, $RATE packets a second"
	replay lucid_CIC-DDoS-2019-SynFlood.pcap --pps=$RATE
	flood=$sent

	step 'nothing more'
	wait_for 'calm_again || ! running' 'calm after the flood'
	windows_pass
}

counter() { ip netns exec "$1" cat "/sys/class/net/$2/statistics/$3"; }

# ---------------------------------------------------------------------------------------------- the end

# 1234567 → 1,234,567
grouped() { printf '%s\n' "$1" | sed -e ':a' -e 's/^\([0-9]\{1,\}\)\([0-9]\{3\}\)/\1,\2/' -e 'ta'; }
line() { printf '  %-26s %7s%s\n' "$1" "$(grouped "$2")" "${3:+  $3}"; }

report() {
	say ''
	say 'The levels, as a second run of the policy beside it has told this script:'
	sed -n 's/.*"event":"transition".*"from":"\([^"]*\)","to":"\([^"]*\)".*"reason":"\([^"]*\)".*/  \1 → \2  \3/p' "$tmp/events"
	attackers=$(sed -n 's/.*"event":"action".*"set":"attackers","member":"\([^"]*\)".*"undo":false.*/\1/p' "$tmp/events" | sort -u)
	say "  attackers named: ${attackers:-none}"
	say ''
	say 'Packets:'
	line 'ordinary traffic' "$ordinary"
	line 'plain UDP' "$udp"
	line 'SYN flood' "$flood"
	line 'sent, say the generators' "$all"
	line 'sent, says the kernel' "$tx" "tx_packets of veth-out"
	line 'received, says the kernel' "$rx" "rx_packets of veth-in"
	line 'counted by perilune' "$counted" "loss ${lost:-?}"
}

judge() {
	wrong=''
	seen="calm $(levels | tr '\n' ' ')"
	case $seen in
	'calm alert siege calm ' | 'calm alert siege alert calm ') ;;
	*) wrong="; the levels were: ${seen% }, not calm, alert, siege, calm" ;;
	esac
	[ "$early" = 0 ] || wrong="$wrong; it did not stay calm before the flood"
	[ -n "$attackers" ] || wrong="$wrong; no attacker was named"
	if [ "$all" = "$tx" ] && [ "$tx" = "$rx" ] && [ "$rx" = "$counted" ]; then
		say '  EQUAL'
	else
		say '  NOT EQUAL'
		wrong="$wrong; the counts differ"
	fi
	say ''
	[ -z "$wrong" ] || die "${wrong#; }"
	say "Next: sudo ${PERILUNE#"$root"/} run examples/packet_counter.lua"
}

main() {
	[ "$(id -u)" = 0 ] || die 'it makes network namespaces and attaches programs: run it as root (sudo sh examples/quickstart.sh)'
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
	tmp=$(mktemp -d "${TMPDIR:-/tmp}/perilune-quickstart.XXXXXX")
	PERILUNE_GIVEN=${PERILUNE-}
	[ -n "$PERILUNE_GIVEN" ] || build
	for tool in ip tc ping tcpreplay setsid "$PERILUNE"; do
		command -v "$tool" >/dev/null || die "$tool is missing (sh examples/setup.sh run installs what is needed)"
	done
	network

	cat <<-END
		What is sent to an interface of its own, and what its policy makes of it:
		   0 s  ordinary traffic                     calm: two counters, nothing more
		   4 s  plain UDP, $RATE packets a second    still calm: it looks for SYNs
		   9 s  a SYN flood at the same rate         alert: it counts by destination;
		                                             siege: there is a victim, so it
		                                             counts by source, names attackers
		  19 s  nothing                              calm again, $QUIET later
		Ctrl-C ends it early.

	END
	start_witness
	start_view
	tx=$(counter "$out" veth-out tx_packets)
	rx=$(counter "$in" veth-in rx_packets)
	traffic
	tx=$(($(counter "$out" veth-out tx_packets) - tx))
	rx=$(($(counter "$in" veth-in rx_packets) - rx))
	stop "$view"
	stop "$witness"
	counted=$(sed -n 's/.*"event":"summary","policy":"[^"]*","packets":\([0-9]*\),.*/\1/p' "$tmp/events")
	lost=$(sed -n 's/.*"event":"summary".*"loss":{\([^}]*\)}.*/\1/p' "$tmp/events" | tr ',' '\n' |
		awk -F: '{ n += $2 } END { print n + 0 }')
	all=$((ordinary + udp + flood))
	report
	judge
}

main "$@"
