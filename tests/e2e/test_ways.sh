# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# doctor says how maps of each type are read here, and templates how those of a template are.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need jq

assert_exit 0 "$PERILUNE" doctor
assert_match '^maps are read$' "$(cat "$OUT/stdout")" 'doctor'
assert_match '^  mapped +array, mapped$' "$(cat "$OUT/stdout")" 'doctor'
assert_exit 0 "$PERILUNE" doctor --json
of() { jq -r "select(.kind == \"map\" and .type == \"$1\") | .$2" "$OUT/stdout"; }
assert_eq 'mapped' "$(of 'array, mapped' quiet)" 'a mapped array'
assert_eq 'pop' "$(of queue quiet)" 'a queue'
gather=$(jq -r 'select(.kind == "capability" and .name == "gather") | .ok' "$OUT/stdout")
way=$(of hash quiet) large=$(of hash large)
[ "$gather" = false ] || assert_eq gather "$way" 'a hash that nobody writes'
assert_eq "$large" "$(of hash used)" 'a large hash and one in use: neither is gathered'

mkdir "$OUT/empty"
assert_exit 3 env PATH="$OUT/empty" PERILUNE_CLANG= "$PERILUNE" doctor
assert_match '^perilune does not work here: there is no clang for BPF .apt install clang' "$(cat "$OUT/stdout")" 'doctor without clang'

assert_exit 0 "$PERILUNE" templates flows
assert_match "^  rows +hash +$large \\[65536 entries\\]\$" "$(cat "$OUT/stdout")" 'how rows are read'
