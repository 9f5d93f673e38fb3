#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Who may know whom, read from the includes and requires; and every file names its licence.
set -eu
cd "${PERILUNE_SOURCE:-$(dirname "$0")/../..}"
bad=0
list=$(mktemp)
trap 'rm -f "$list"' EXIT

# only WHAT PATTERN ALLOWED FILE…: lines like PATTERN may stand in FILE… only where "FILE:NUMBER:LINE" begins like ALLOWED.
only() {
	what=$1 pattern=$2 allowed=$3
	shift 3
	found=$(grep -nE "$pattern" "$@" /dev/null | grep -vE "^($allowed)" || :)
	[ -z "$found" ] || {
		printf '%s:\n%s\n' "$what" "$found" >&2
		bad=1
	}
}
include() { printf '^[[:space:]]*#[[:space:]]*include[[:space:]]+%s' "$1"; }
require() { printf 'require[[:space:]]*\(?["'\'']perilune\.%s' "$1"; }

runtime=$(find runtime -name '*.[ch]')
kernel=$(find bpf templates -name '*.[ch]' ! -path 'bpf/generate/*')
lua=$(find lua -name '*.lua')

# rooms WHAT DIR PATTERN ROOM…: the rooms of DIR from the ground up. A file may take from its own room and from those below; PATTERN
# makes "FILE ROOM" of a line of grep that takes something.
rooms() {
	what=$1 dir=$2 pattern=$3
	shift 3
	for room in "$dir"/*/; do
		case " $* " in *" $(basename "$room") "*) ;; *)
			echo "$room: not in the list of rooms in tests/lint/layers.sh" >&2
			bad=1
			;;
		esac
	done
	up=$(grep -rHE "$what" "$dir" | sed -nE "s/^([^:]*):$pattern.*/\1 \2/p" | awk -v dir="$dir/" -v rooms="$*" '
		BEGIN { n = split(rooms, list, " "); for (i = 1; i <= n; i++) floor[list[i]] = i }
		{ from = substr($1, length(dir) + 1); if (!sub("/.*", "", from)) next }
		($2 in floor) && floor[$2] > floor[from] { print $1 ": takes from " $2 ", a room above its own" }' | sort -u)
	[ -z "$up" ] || {
		printf '%s\n' "$up" >&2
		bad=1
	}
}
rooms '#include "' runtime '#include "([a-z]+)\/' base loop compile extract kernel probe capture map http bench lua
rooms 'require' lua/perilune '.*require *\(?"perilune\.([a-z]+)' base calendar records probe policy build event engine show audit metrics \
	run test dynmon serve client repl bench command

stages=$(find lua/perilune/records/shape.lua lua/perilune/engine -name shape.lua -o -name 'decide*.lua' -o -name ladder.lua \
	-o -name claims.lua -o -name budget.lua)
nowhere='//'

# shellcheck disable=SC2086 # lists of files
{
	only 'Lua is for runtime/lua and main.c' "$(include '[<"](luajit-2\.1/)?(lua|lauxlib|lualib|luajit)\.h')" \
		'runtime/(lua/[a-z_]+\.[ch]|main\.c):' $runtime
	only 'libbpf is for the kernel side' "$(include '<bpf/')" 'runtime/(probe|extract|kernel|capture|bench|map)/' $runtime
	only 'libuv is for the loop' "$(include '[<"]uv')" 'runtime/loop/loop(_[a-z_]+)?\.[ch]:' $runtime
	only 'libmicrohttpd and GnuTLS are for http' "$(include '<(microhttpd|gnutls/.*)\.h>')" 'runtime/http/' $runtime
	only 'of bpf/ and templates/, the runtime may include ctl.h and tap_format.h' "$(include '"(\.\./)*(bpf|templates)/')" \
		'.*bpf/(ctl|tap_format)\.h"' $runtime
	only 'what runs in the kernel knows nothing of the runtime' "$(include '[<"](.*/)?runtime/')" "$nowhere" $kernel
	only 'the engine alone sequences the stages (levels is its part that has the ladder; explain evaluates logs again)' \
		"$(require '(records\.shape|engine\.decide|engine\.ladder)["'\'']')" \
		'lua/perilune/(engine/(init|counts|succession|tell|levels)|command/explain|bench/[a-z_]+)\.lua:' $lua
	only 'a stage knows no engine and no runtime' "$(require '(core\.|engine["'\''])')" "$nowhere" $stages
}

headers=$(find runtime -name '*.h' -exec basename {} \;)
for header in $headers; do
	# shellcheck disable=SC2086 # lists of files
	[ -e "bpf/$header" ] ||
		only "only runtime/ has $header" "$(include "[<\"]([a-z]+/)?${header}[\">]")" "$nowhere" $kernel
done

licence() {
	case $1 in
	bpf/generate/*) echo 'Apache-2.0' ;;
	bpf/*.h | templates/*.h) echo '(BSD-2-Clause OR GPL-2.0-only)' ;;
	*) echo 'Apache-2.0' ;;
	esac
}
find CMakeLists.txt cmake runtime bpf lua templates examples packaging tests .ci -type f \( -name '*.[ch]' -o -name '*.lua' \
	-o -name '*.sh' -o -name '*.py' -o -name '*.cmake' -o -name CMakeLists.txt -o -path .ci/run \) >"$list"
while read -r file; do
	head -n 2 "$file" | grep -qF "SPDX-License-Identifier: $(licence "$file")" || {
		echo "$file: its first lines lack \"SPDX-License-Identifier: $(licence "$file")\"" >&2
		bad=1
	}
done <"$list"
exit $bad
