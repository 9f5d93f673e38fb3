# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Every window of an unfiltered probe: the rows' packets and the counted loss are the window's packets; also in a map that is
# far too small, whose loss is then not zero.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen
net_up
rows=$POLICIES/rows.lua

exact large "$rows" both 200000 2 tcx --windows 10 --probe all,rows=2048 -- --set iface=vb
exact small "$rows" both 200000 2 tcx --windows 10 --probe all,rows=64,full -- --set iface=vb --set entries=64
exact one "$rows" in 50000 1 native --probe all,rows=1,full -- --set iface=vb --set hook=xdp --set entries=1
