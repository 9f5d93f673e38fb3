#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest: once
#
# examples/setup.sh derives the source of backports from the machine's own apt configuration, in either format, with its
# options and keys, and from the Debian archive's entry only. apt works on a small archive and a state of its own here.
set -eu
dir=$(mktemp -d "${TMPDIR:-/tmp}/perilune-test.XXXXXX")
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
code=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
parts=$dir/etc/sources.list.d
mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial" "$parts" "$dir/etc/preferences.d" "$dir/etc/apt.conf.d"
: >"$dir/status"
cat >"$dir/apt.conf" <<X
Dir::Etc "$dir/etc";
Dir::Etc::Parts "$dir/etc/apt.conf.d";
Dir::State "$dir/state";
Dir::State::status "$dir/status";
Dir::Cache "$dir/cache";
APT::Sandbox::User "root";
X
export APT_CONFIG="$dir/apt.conf"

fail() {
	echo "test_setup.sh: FAILED: $*" >&2
	exit 1
}

# archive NAME LABEL: an archive with the release's suite and one package.
archive() {
	suite=$dir/$1/dists/$code
	mkdir -p "$suite/main/binary-all" "$suite/main/binary-$(dpkg --print-architecture)"
	for arch in "$suite"/main/binary-*; do
		printf 'Package: perilune-none\nVersion: 1\nArchitecture: all\nSize: 1\nFilename: none.deb\n' >"$arch/Packages"
	done
	{
		printf 'Origin: %s\nLabel: %s\nSuite: stable\nCodename: %s\nComponents: main\n' "$2" "$2" "$code"
		printf 'Architectures: all %s\nDate: %s\nSHA256:\n' "$(dpkg --print-architecture)" "$(date -Ru)"
		cd "$suite"
		for file in main/*/Packages; do
			printf ' %s %d %s\n' "$(sha256sum <"$file" | cut -d' ' -f1)" "$(stat -c %s "$file")" "$file"
		done
		cd - >/dev/null
	} >"$suite/Release"
}

# expect NAME FILE TEXT: what `setup.sh backports` prints for the configuration that stands.
expect() {
	apt-get -qq update
	got=$(sh "$PERILUNE_SOURCE/examples/setup.sh" backports) || fail "$1: refused"
	want=$(printf '%s\n%s' "$parts/$2" "$3")
	[ "$got" = "$want" ] || fail "$(printf '%s: expected\n%s\ngot\n%s' "$1" "$want" "$got")"
	rm -f "$parts"/* "$dir/etc/sources.list"
}

archive debian Debian
archive stranger 'Somebody Else'
key=/usr/share/keyrings/some.gpg

echo "deb [trusted=yes] file:$dir/debian $code main # the archive" >"$dir/etc/sources.list"
expect 'one line, sources.list' perilune-backports.list \
	"deb [trusted=yes] file:$dir/debian $code-backports main"

cat >"$parts/a.list" <<X
# deb file:$dir/debian $code main
deb [trusted=yes] file:$dir/stranger $code main
deb-src [trusted=yes] file:$dir/debian $code main
deb	[ trusted=yes  lang=none ]  file:$dir/debian/	$code   main
X
expect 'one line, among others' perilune-backports.list \
	"deb [ trusted=yes  lang=none ] file:$dir/debian/ $code-backports main"

cat >"$parts/debian.sources" <<X
# the archive
Types: deb
URIs: file:$dir/stranger
Suites: $code
Components: main
Trusted: yes

Types: deb
URIs: file:$dir/debian
# a comment within
Suites: $code
Components: main
Enabled: yes
Trusted: yes
Signed-By:
 $key
X
expect 'deb822, second stanza' perilune-backports.sources "Types: deb
URIs: file:$dir/debian/
Suites: $code-backports
Components: main
Trusted: yes
Signed-By:
 $key"

echo "deb [trusted=yes] file:$dir/stranger $code main" >"$dir/etc/sources.list"
apt-get -qq update
if sh "$PERILUNE_SOURCE/examples/setup.sh" backports >"$dir/out" 2>&1; then
	fail "a stranger's archive was taken for Debian's: $(cat "$dir/out")"
fi
rm -f "$dir/etc/sources.list"

# Nothing is installed by dpkg's word, and the archive has neither the packages nor backports: it says so and leaves no trace.
mkdir -p "$dir/dpkg"
: >"$dir/dpkg/status"
echo "deb [trusted=yes] file:$dir/debian $code main" >"$dir/etc/sources.list"
if DPKG_ADMINDIR=$dir/dpkg sh "$PERILUNE_SOURCE/examples/setup.sh" run >"$dir/out" 2>&1; then
	fail 'packages that cannot be had were not missed'
fi
grep -q 'no source of this machine has libbpf-dev>=1.3' "$dir/out" || fail "no clear message: $(cat "$dir/out")"
[ -z "$(ls "$parts")" ] || fail "left behind: $(ls "$parts")"
