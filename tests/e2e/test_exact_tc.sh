# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Both directions at once, over TCX and over clsact: as many packets as the interface's own counters.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen
net_up
count=$POLICIES/count.lua

exact tcx "$count" both 200000 2 tcx --windows 10 -- --set iface=vb --set mode=tcx
exact clsact "$count" both 200000 2 clsact --windows 10 -- --set iface=vb --set mode=clsact
