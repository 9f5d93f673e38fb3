# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What the tests of exact counts share, after lib.sh: traffic of a known amount, and the judgement of a run.

POLICIES=$PERILUNE_SOURCE/tests/e2e/policies
PYTHON=/usr/bin/python3

# frames FILE SOURCE_MAC DESTINATION_MAC [KEYS]: a trafgen packet: UDP from KEYS source ports (1024) to an address nobody has,
# so that nothing answers.
frames() {
	say "{ eth(da=$3, sa=$2), ipv4(da=10.77.0.99, sa=10.77.0.77), udp(sp=dinc(1024, $((1023 + ${4:-1024}))), dp=9), fill(0x78, 64) }" >"$1"
}

# flood NAMESPACE IF FRAMES_FILE NUMBER: through the qdisc layer, so that the hooks for what goes out see it as well.
flood() {
	run_in "$1" trafgen -A -q -C -P 1 -o "$2" -c "$3" -n "$4" >"$OUT/trafgen" 2>&1 || fail "trafgen: $(cat "$OUT/trafgen")"
}

# Frames that were given to a device in NAMESPACE, whether the other end of the pair took them or had no room.
sent() { say $(($(link_counter "$1" "$2" tx_packets) + $(link_counter "$1" "$2" tx_dropped))); }

# settle RECEIVER IF EXPECTED: until that many more have arrived, or were dropped on the way by the veth pair, than $RX0 and
# $DROP0 said; and the backlogs of the CPUs, which come before the hooks, are empty.
backlog() { awk '{ n += strtonum("0x" $12) } END { print n + 0 }' /proc/net/softnet_stat; }
