# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: once
#
# The man page is clean roff and names every command; bash completes commands, options and files by what perilune says of itself.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need groff bash

"$PERILUNE" manual >"$OUT/page"
groff -man -Tutf8 -ww -z "$OUT/page" >"$OUT/warnings" 2>&1
assert_eq '' "$(cat "$OUT/warnings")" 'what groff has to say'
groff -man -Tutf8 -P-cbou "$OUT/page" >"$OUT/text"
"$PERILUNE" --help | sed -n 's/^  perilune \([a-z]*\).*/\1/p' | sort -u >"$OUT/commands"
[ "$(wc -l <"$OUT/commands")" -gt 8 ] || fail 'perilune --help lists hardly any command'
while read -r command; do
	grep -q "perilune $command" "$OUT/text" || fail "the man page lacks the command $command"
done <"$OUT/commands"

# offered WORD…: what bash offers for the last of them.
offered() {
	PATH=$(dirname "$PERILUNE"):$PATH bash -c '
		source <("$0" manual bash)
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		_perilune 2>/dev/null
		printf "%s\n" "${COMPREPLY[@]}"' "$PERILUNE" "$@"
}
assert_eq 'replay' "$(offered perilune repla)" 'a command'
assert_eq '--json' "$(offered perilune run --js)" 'an option'
assert_eq 'flows' "$(offered perilune replay --template flo)" 'a template'
cd "$PERILUNE_SOURCE/examples"
assert_eq 'syn_flood.lua' "$(offered perilune check syn_)" 'a file'
