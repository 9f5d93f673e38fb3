#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing, builds, and runs every test and checker, in the plain build and under the sanitizers.
#
#   sudo sh tests/run.sh                 all of it
#   sudo sh tests/run.sh -R e2e/flows    what ctest takes goes to ctest: -R REGEX, -L LABEL, -E REGEX, -V …
#
# The builds are build/ and build/asan/; what is up to date in them is not built again.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

if [ "$(id -u)" != 0 ]; then
	echo 'tests/run.sh: the tests attach programs to interfaces and need root (run: sudo sh tests/run.sh)' >&2
	exit 1
fi
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

# What is built in someone's clone is to be theirs, not root's.
owner() { stat -c '%u:%g' "$root"; }
give_back() { [ "$(owner)" = 0:0 ] || chown -R "$(owner)" "$root/build" 2>/dev/null || :; }
trap give_back EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# configure DIR OPTION…: a build directory of another place or generator is begun anew.
configure() {
	dir=$1
	shift
	if [ -e "$dir/CMakeCache.txt" ]; then
		if ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$dir/CMakeCache.txt" ||
			! grep -qxF 'CMAKE_GENERATOR:INTERNAL=Ninja' "$dir/CMakeCache.txt"; then
			rm -rf "$dir/CMakeCache.txt" "$dir/CMakeFiles"
		fi
	fi
	cmake -S "$root" -B "$dir" -G Ninja -DBUILD_TESTING=ON -DPERILUNE_FAULTS=ON -DPERILUNE_TEST_CACHE="$root/build/tests/cache" "$@" >"$dir.log" 2>&1 || {
		cat "$dir.log" >&2
		exit 1
	}
	rm -f "$dir.log"
}

sh examples/setup.sh test
mkdir -p build
configure build -DPERILUNE_SANITIZE=OFF
configure build/asan -DPERILUNE_SANITIZE=ON
cmake --build build
cmake --build build/asan

# Both builds in one run of ctest: one list, one summary.
mkdir -p build/all
printf 'subdirs("%s" "%s")\n' "$root/build" "$root/build/asan" >build/all/CTestTestfile.cmake
ctest --test-dir build/all --output-on-failure --no-tests=error --parallel "$(($(nproc) + 1))" "$@" </dev/null
