# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# XDP in both modes: as many packets as the interface's own counter, and in every window as many in rows as in the window.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen
net_up
count=$POLICIES/count.lua

exact native "$count" in 300000 1 native --windows 10 -- --set iface=vb --set hook=xdp --set mode=native
exact generic "$count" in 300000 1 generic --windows 10 -- --set iface=vb --set hook=xdp --set mode=generic
exact rows "$POLICIES/rows.lua" in 200000 1 native --windows 5 --probe all -- --set iface=vb --set hook=xdp
