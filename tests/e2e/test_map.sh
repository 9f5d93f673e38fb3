# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# perilune map on maps that others made: the same contents as bpftool gives, nothing changed by looking, and an answer to every
# wrong question.
# A BPF file system of its own, whether the machine has one or not.
# shellcheck disable=SC2016 # for the other shell
[ -n "${OWN_BPFFS:-}" ] || OWN_BPFFS=1 exec unshare --mount sh -euc 'mount -t bpf -o mode=0700 bpf /sys/fs/bpf && exec sh "$0"' "$0"
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need bpftool jq
PINS=/sys/fs/bpf/perilune-test-$$
mkdir "$PINS"

dump() { timeout 60 "$PERILUNE" map dump "$@"; }

# create NAME TYPE KEY VALUE ENTRIES [FLAGS]
create() {
	bpftool map create "$PINS/$1" type "$2" key "$3" value "$4" entries "$5" name "$1" flags "${6:-0}"
}

# fill NAME COUNT: pseudo-random bytes, the same in every run; keys begin with their number.
fill() {
	"${PYTHON:-/usr/bin/python3}" - "$PINS/$1" "$2" "$3" "$4" >"$OUT/batch" <<'END'
import random, struct, sys

path, count, key, value = sys.argv[1], *map(int, sys.argv[2:])
random.seed(path[-3:])
for i in range(count):
    k = struct.pack("<I", i) + random.randbytes(key - 4)
    print("map update pinned", path, "key", *k, "value", *random.randbytes(value))
END
	bpftool batch file "$OUT/batch" >"$OUT/batch.log"
}

# What both print of a map without BTF, in one wording: sorted lines of key and value in hex; an index is a number here.
same_bytes() {
	bpftool -j map dump pinned "$PINS/$1" |
		jq -c 'def hex: map(ltrimstr("0x")) | join(":");
			.[] | [(.key | hex), if .values then [.values[].value | hex] else (.value | hex) end]' |
		sort >"$OUT/theirs"
	dump "$PINS/$1" --json |
		jq -c 'def byte: "0123456789abcdef" as $d | $d[. / 16 | floor:][:1] + $d[. % 16:][:1];
			def le: [. % 256, (. / 256 | floor) % 256, (. / 65536 | floor) % 256, (. / 16777216 | floor)] |
				map(byte) | join(":");
			.[] | [(.key | if type == "number" then le elif type == "object" then (.prefixlen | le) + ":" + .data else . end),
				.values // .value]' |
		sort >"$OUT/ours"
	[ -s "$OUT/ours" ] || fail "$1: nothing was printed"
	cmp "$OUT/theirs" "$OUT/ours" || fail "$1: not what bpftool prints"
}

say '--- maps without BTF, against bpftool'
cpus=$("${PYTHON:-/usr/bin/python3}" -c 'print(int(open("/sys/devices/system/cpu/possible").read().split("-")[-1]) + 1)')
create ah hash 12 24 300 && fill ah 300 12 24
create al lru_hash 8 16 4096 && fill al 200 8 16
create aa array 4 20 64 && fill aa 64 4 20
create at lpm_trie 8 8 64 1
for i in 1 2 3; do bpftool map update pinned "$PINS/at" key 24 0 0 0 10 0 $i 0 value $i 0 0 0 0 0 0 0; done
create ac percpu_hash 8 16 64
create ap percpu_array 4 12 3
for map in ah al aa at ap; do same_bytes $map; done
dump "$PINS/ac" --json | jq -e '. == []' >"$OUT/null"
assert_eq "$cpus" "$(dump "$PINS/ap" --json | jq '.[0].values | length')" 'values of an entry'
assert_match '^ *[0-9]+  percpu_array +ap +4 +12 +3 ' "$("$PERILUNE" map list)" 'the list'
assert_eq "$PINS/ah" "$("$PERILUNE" map list --json | jq -r '.[] | select(.name == "ah") | .pinned[0]')" 'where it is pinned'

say '--- the maps of a loaded object, by their BTF'
clang=${PERILUNE_CLANG:-$(command -v clang || command -v clang-19 || command -v clang-14)}
"$clang" -target bpf -mcpu=v3 -g -O2 -I"$PERILUNE_SOURCE/bpf" -iquote "$PERILUNE_SOURCE/bpf" \
	-c "$PERILUNE_SOURCE/tests/unit/maps.bpf.c" -o "$OUT/maps.o"
bpftool prog loadall "$OUT/maps.o" "$PINS/prog" pinmaps "$PINS/maps" 2>"$OUT/load.log"
head -c 64 /dev/zero >"$OUT/packet"
run_program() { bpftool prog run pinned "$PINS/prog/fill" data_in "$OUT/packet" >"$OUT/run.log"; }
run_program
numbers='map({key, value: (.value | {packets, balance, at})}) | map(.value)'
for map in pm_hash pm_lru pm_inner pm_array; do
	assert_eq "$(bpftool -j map dump pinned "$PINS/maps/$map" | jq -c "map(.formatted) | $numbers")" \
		"$(dump "$PINS/maps/$map" --json | jq -c "$numbers")" "the values of $map"
done
assert_match '^src=10\.0\.0\.1 port=53 mac=02:00:00:00:00:01 color=GREEN -> packets=9223372036854775809 ' \
	"$(dump "$PINS/maps/pm_hash")" 'lines for people'
assert_match '"packets":9223372036854775809,"balance":-5' "$(dump "$PINS/maps/pm_hash" --json)" 'a number above 2^53'
assert_eq 8 "$(dump "$PINS/maps/pm_cpu_hash" --fold sum --json | jq '.[0].value.packets')" 'a folded value'
assert_eq pm_inner "$(dump "$PINS/maps/pm_outers" --json | jq -r '.[0].inner.name')" 'the inner map'
assert_eq 1 "$(dump "$PINS/maps/maps_bss" --json | jq '.[0].value.pm_runs')" 'a global variable'
for map in "$PINS"/maps/*; do
	case $map in */pm_events) continue ;; esac
	dump "$map" --json >"$OUT/json" 2>"$OUT/stderr"
	jq -e 'type == "array"' "$OUT/json" >"$OUT/null" || fail "$map: no JSON"
	dump "$map" >"$OUT/text" 2>"$OUT/stderr"
	[ "$(($(wc -l <"$OUT/text")))" -ge 2 ] || fail "$map: no text"
done

say '--- looking takes nothing, draining says what it took'
for i in 1 2; do
	assert_eq 7 "$(dump "$PINS/maps/pm_queue" --json 2>"$OUT/note" | jq '.[].value.packets')" 'the first of the queue'
	assert_eq 1 "$(dump "$PINS/maps/pm_ring" --json | jq length)" 'records in the ring'
done
assert_match 'only the first' "$(cat "$OUT/note")" 'the note on a queue'
assert_eq '7 8' "$(dump "$PINS/maps/pm_queue" --drain --json 2>"$OUT/note" | jq -r '[.[].value.packets] | join(" ")')" 'all of it'
assert_match 'taken out of the map: 2' "$(cat "$OUT/note")" 'the note on a drained queue'
assert_eq '[]' "$(dump "$PINS/maps/pm_queue" --json)" 'a queue that is empty'

say '--- following, until Ctrl-C'
dump "$PINS/maps/pm_ring" --drain >"$OUT/text" 2>"$OUT/note"
for map in pm_ring pm_events; do
	"$PERILUNE" map dump "$PINS/maps/$map" --follow --json >"$OUT/follow" 2>"$OUT/follow.err" </dev/null &
	PIDS="$PIDS $!" PID=$!
	wait_for "run_program; [ \$(wc -l <'$OUT/follow') -ge 3 ]" 30 "records of $map"
	stop "$PID"
	jq -es 'length >= 3 and all(.[]; .value[:23] == "18:00:00:00:0a:00:00:01")' "$OUT/follow" >"$OUT/null" ||
		fail "$map: not what was sent"
done

say '--- Ctrl-C in the middle, and a reader who has had enough'
create large array 4 8 1000000
mkfifo "$OUT/pipe"
"$PERILUNE" map dump "$PINS/large" --json >"$OUT/pipe" 2>"$OUT/int.err" </dev/null &
PIDS="$PIDS $!" PID=$!
exec 9<"$OUT/pipe"
head -c 1 <&9 >"$OUT/null" # it has begun, and cannot end before the rest is read
kill -INT "$PID"
timeout 30 cat <&9 >"$OUT/cut"
exec 9<&-
finish "$PID"
assert_eq 130 "$STATUS" 'the exit status of an interrupted dump'
assert_match 'interrupted after [0-9]+ rows' "$(cat "$OUT/int.err")" 'what it says'
assert_match '^[{]"key":[0-9]+,"value":".*"}$' "$(tail -n 1 "$OUT/cut")" 'the end of a dump that is no whole one'
{
	status=0
	"$PERILUNE" map dump "$PINS/large" --json 2>"$OUT/pipe.err" || status=$?
	echo "$status" >"$OUT/status"
} | head -n 2 >"$OUT/head"
assert_eq 0 "$(cat "$OUT/status")" 'the exit status when the output is closed'
assert_eq '' "$(cat "$OUT/pipe.err")" 'what it says then'
assert_eq '{"key":0,"value":"00:00:00:00:00:00:00:00"},' "$(tail -n 1 "$OUT/head")" 'the first row'

say '--- wrong questions'
wrong() { # STATUS PATTERN ARGUMENTS…
	expected=$1 pattern=$2
	shift 2
	assert_exit "$expected" timeout 20 "$PERILUNE" map "$@"
	assert_match "$pattern" "$(cat "$OUT/stderr")" "map $*"
	assert_eq '' "$(cat "$OUT/stdout")" "the output of map $*"
}
bpftool map create "$PINS/twin1" type hash key 4 value 4 entries 1 name "pm$$"
bpftool map create "$PINS/twin2" type array key 4 value 4 entries 1 name "pm$$"
bpftool map create "$PINS/bloom" type bloom_filter key 0 value 4 entries 10 name bloom
wrong 2 'map needs a word: list or dump'
wrong 2 'map cannot dmup \(did you mean "dump"' dmup
wrong 2 'map list takes nothing more' list everything
wrong 2 '\-\-fold is for map dump' list --fold sum
wrong 2 'map dump needs a map' dump
wrong 2 'map dump needs a map' dump ''
wrong 2 'takes one map, not also' dump "$PINS/ah" "$PINS/al"
wrong 2 'dump id: which' dump id
wrong 2 'an id is a number' dump id seven
wrong 2 'an id is a number' dump id 99999999999
wrong 2 '\-\-fold median: expected sum, min, max, last' dump "$PINS/ap" --fold median
wrong 2 '\-\-limit 0: expected' dump "$PINS/ap" --limit 0
wrong 2 'there is nothing to fold' dump "$PINS/ah" --fold sum
wrong 2 'cannot be drained \(--drain is for queues' dump "$PINS/ah" --drain
wrong 2 'cannot be followed' dump "$PINS/ah" --follow
wrong 1 'map 4000000000: there is none \(perilune map list' dump id 4000000000
wrong 1 'no map is called nowhere_to_be' dump name nowhere_to_be
wrong 1 "2 maps are called pm$$: .*(hash).*(array).*say which by its id" dump name "pm$$"
wrong 1 'No such file or directory' dump "$PINS/nothing"
wrong 1 'a directory, not a pinned map' dump "$PINS"
wrong 2 'not on a BPF file system' dump /etc/passwd
wrong 2 'a pinned program, not a map' dump "$PINS/prog/fill"
wrong 3 'bloom_filter bloom\) cannot be read: a bloom_filter does not keep' dump "$PINS/bloom"
wrong 3 'keeps nothing, it hands records to whoever listens \(--follow' dump "$PINS/maps/pm_events"
need cmake setpriv
for what in list "dump id 1"; do
	# shellcheck disable=SC2086 # words
	assert_exit 3 nobody map $what
	assert_match 'not permitted \(run as root' "$(cat "$OUT/stderr")" "map $what as nobody"
done

say '--- a map that goes while it is looked at'
# shellcheck disable=SC2016 # the shell of the loop
timeout 60 sh -c 'for i in $(seq 30); do bpftool map create "$0/gone" type hash key 4 value 4 entries 10 name gone; rm "$0/gone"; done' \
	"$PINS" &
PIDS="$PIDS $!" PID=$!
while alive "$PID"; do
	status=0
	dump name gone >"$OUT/stdout" 2>"$OUT/stderr" || status=$?
	[ "$status" = 0 ] || assert_match 'no map is called|there is none|maps are called' "$(cat "$OUT/stderr")" 'a map that went'
	"$PERILUNE" map list >"$OUT/stdout"
done
