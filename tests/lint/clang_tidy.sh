#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest: cost 1000
# ctest: processors 2
# clang-tidy over the runtime. (What runs in the kernel is compiled for another machine, and checked by the verifier.)
#
#   PERILUNE_TIDY_NODES: how far the analyzer follows the paths of one function, in states (75000). Its own default of 225000 takes three
#   times as long where a function has that many, and has told of nothing more here.
#
# A file is looked at again only when it, a header, the configuration or its command line has changed.
set -eu
cd "${PERILUNE_SOURCE:-$(dirname "$0")/../..}"
build=${PERILUNE_BUILD:-build}
command -v clang-tidy-19 >/dev/null || {
	echo 'clang-tidy-19 is missing (sh examples/setup.sh test)' >&2
	exit 1
}
mkdir -p "$build/tests/tidy"
nodes=${PERILUNE_TIDY_NODES:-75000}
common=$({ echo "$nodes"; cat .clang-tidy runtime/*/*.h bpf/ctl.h "$build/CMakeCache.txt"; } | sha256sum | cut -c 1-16)

# The largest first, so that no CPU waits for the last one.
# shellcheck disable=SC2011,SC2012,SC2016 # no odd names; expanded by the inner shell
ls -S runtime/*.c runtime/*/*.c | xargs -P "$(nproc)" -n 1 sh -c '
	stamps=$0/tests/tidy name=$(basename "$3")
	stamp=$stamps/$name.$1.$(sha256sum <"$3" | cut -c 1-16)
	[ ! -e "$stamp" ] || exit 0
	words=$(clang-tidy-19 --quiet -p "$0" --extra-arg=-Xclang --extra-arg=-analyzer-config --extra-arg=-Xclang \
		--extra-arg="max-nodes=$2" "$3" 2>&1) || {
		printf "%s\n" "$words"
		exit 1
	}
	rm -f "$stamps/$name".*
	: >"$stamp"' "$build" "$common" "$nodes"
