# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# A ladder that goes up and down under load loses nothing, neither in sum nor in any window of any level.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen
net_up
levels=$POLICIES/levels.lua

set -- --windows 20 --transitions 10 --probe to,levels=alert+siege --probe from,levels=siege
exact tc "$levels" both 250000 2 tcx "$@" -- --set iface=vb
exact xdp "$levels" in 400000 1 native "$@" -- --set iface=vb --set hook=xdp
