#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang-tidy over the runtime. (What runs in the kernel is compiled for another machine, and checked by the verifier.)
# A file is looked at again only when it, a header, the configuration or its command line has changed.
set -eu
cd "${PERILUNE_SOURCE:-$(dirname "$0")/../..}"
build=${PERILUNE_BUILD:-build}
command -v clang-tidy-19 >/dev/null || {
	echo 'clang-tidy-19 is missing (sh examples/setup.sh test)' >&2
	exit 1
}
mkdir -p "$build/tests/tidy"
common=$(cat .clang-tidy runtime/*.h bpf/ctl.h "$build/CMakeCache.txt" | sha256sum | cut -c 1-16)

# shellcheck disable=SC2016 # expanded by the inner shell
printf '%s\n' runtime/*.c | xargs -P "$(nproc)" -n 1 sh -c '
	stamps=$0/tests/tidy name=$(basename "$2")
	stamp=$stamps/$name.$1.$(sha256sum <"$2" | cut -c 1-16)
	[ ! -e "$stamp" ] || exit 0
	words=$(clang-tidy-19 --quiet -p "$0" "$2" 2>&1) || {
		printf "%s\n" "$words"
		exit 1
	}
	rm -f "$stamps/$name".*
	: >"$stamp"' "$build" "$common"
