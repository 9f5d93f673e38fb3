#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing from the machine's own Debian sources, and nothing else.
#
#   sh setup.sh run        what building and running perilune needs
#   sh setup.sh test       that, and what the tests and checkers need besides
#   sh setup.sh backports  only prints the source of backports it would add, as "FILE" and then its text
#
# When everything is there, only dpkg-query is asked: no apt, no network, no privileges.
set -eu
export LC_ALL=C

# A package, with the least upstream version where an older one does not do.
RUN='cmake>=3.25 ninja-build gcc libc6-dev pkg-config clang-19 libbpf-dev>=1.3 linux-libc-dev>=6.6
	libluajit-5.1-dev libuv1-dev lua-cjson libpcap-dev libmd-dev libmnl-dev libedit-dev
	libmicrohttpd-dev>=0.9.71 libgnutls28-dev
	iproute2 iputils-ping tcpreplay curl tzdata'
TEST='libcmocka-dev luajit lua-busted lua-check clang-format-19 clang-tidy-19 shellcheck
	bpftool>=7.3 tshark tcpdump iperf3 netsniff-ng ethtool jq nfdump python3 python3-jsonschema
	prometheus python3-prometheus-client wrk
	procps tmux groff-base openssl bpftrace systemd'

LOCK_SECONDS=300 # how long another apt is waited for

say() { printf 'setup: %s\n' "$*"; }
die() {
	printf 'setup: %s\n' "$*" >&2
	exit 1
}

# ---------------------------------------------------------------------------------------------- what is there

name() { printf '%s' "${1%%>=*}"; }
least() { case $1 in *'>='*) printf '%s' "${1#*>=}" ;; esac; }

# enough VERSION LEAST: a Debian version against an upstream one; the epoch says nothing about upstream.
enough() { [ -z "$2" ] || dpkg --compare-versions "${1#*:}" ge "$2"; }

installed() {
	dpkg-query -W -f='${db:Status-Status} ${Version}\n' "$(name "$1")" 2>/dev/null |
		while read -r status version; do
			if [ "$status" = installed ] && enough "$version" "$(least "$1")"; then
				echo yes
			fi
		done | grep -q yes
}

# clang_since N: is there a clang-N or a later one, from whatever package?
clang_since() {
	for n in 22 21 20 19 18 17 16 15 14; do
		if [ "$n" -ge "$1" ] && command -v "clang-$n" >/dev/null 2>&1; then
			return 0
		fi
	done
	return 1
}

missing() {
	for want in "$@"; do
		case $want in
		clang-19) clang_since 19 || echo "$want" ;;
		*) installed "$want" || echo "$want" ;;
		esac
	done
}

# ---------------------------------------------------------------------------------------------- what can be had

candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p'; }

# offer WANT: how apt-get is to be asked for it; fails when no source has it.
# A version that only a suite of lower priority has (backports) is asked for as package/suite.
offer() {
	package=$(name "$1") minimum=$(least "$1")
	version=$(candidate "$package")
	case $version in
	'' | '(none)') ;;
	*) if enough "$version" "$minimum"; then
		echo "$package"
		return 0
	fi ;;
	esac
	suite=$(apt-cache madison "$package" 2>/dev/null | while IFS='| ' read -r _ version _ suite _; do
		case $suite in
		*/*) if enough "$version" "$minimum"; then echo "${suite%%/*}"; fi ;;
		esac
	done | sort -u | { grep -e '-backports$' || :; } | head -n 1)
	[ -n "$suite" ] && echo "$package/$suite"
}

# offers WANT…: sets `asked` to what apt-get is to install and `refused` to what cannot be had.
offers() {
	asked='' refused=''
	for want in "$@"; do
		if found=$(offer "$want"); then
			asked="$asked $found"
		else
			refused="$refused $want"
		fi
	done
}

# ---------------------------------------------------------------------------------------------- backports

codename() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release | tr -d '"'; }

# The entry of the release's own archive, as apt itself read it: FILE URI SUITE.
# shellcheck disable=SC2016 # what apt fills in
archive_entry() {
	apt-get indextargets --format '$(SOURCESENTRY)|$(REPO_URI)|$(RELEASE)|$(LABEL)|$(CODENAME)|$(COMPONENT)' \
		'Created-By: Packages' 2>/dev/null |
		awk -F'|' -v code="$1" '$4 == "Debian" && $5 == code && $6 == "main" {
			sub(/:[0-9]+$/, "", $1); print $1, $2, $3; exit }'
}

# shellcheck disable=SC2016 # what apt fills in
backports_known() {
	apt-get indextargets --format '$(RELEASE)' 'Created-By: Packages' 2>/dev/null | grep -qx "$1-backports"
}

# derive FILE URI SUITE NEW: that entry again for the suite NEW, with its own options and signing key.
derive() {
	case $1 in
	*.sources) awk -v uri="$2" -v suite="$3" -v new="$4" '
		function strip(text) { sub(/\/+$/, "", text); return text }
		function has(words, word,   n, i, list) {
			n = split(words, list, /[ \t\n]+/)
			for (i = 1; i <= n; i++) if (strip(list[i]) == strip(word)) return 1
			return 0
		}
		function stanza(   i, key) {
			if (!done && has(value["uris"], uri) && has(value["suites"], suite)) {
				done = 1
				print "Types: deb"
				print "URIs: " uri
				print "Suites: " new
				print "Components: main"
				for (i = 1; i <= n; i++) {
					key = names[i]
					if (key !~ /^(types|uris|suites|components|enabled|x-repolib-name)$/) print text[key]
				}
			}
			n = 0; split("", value); split("", text)
		}
		/^#/ { next }
		/^[ \t]*$/ { stanza(); next }
		/^[ \t]/ { value[last] = value[last] "\n" $0; text[last] = text[last] "\n" $0; next }
		{ last = tolower(substr($0, 1, index($0, ":") - 1)); names[++n] = last
		  value[last] = substr($0, index($0, ":") + 1); text[last] = $0 }
		END { stanza(); exit !done }' "$1" ;;
	*) awk -v uri="$2" -v suite="$3" -v new="$4" '
		function strip(text) { sub(/\/+$/, "", text); return text }
		$1 == "deb" {
			line = $0
			sub(/[ \t]*#.*$/, "", line)
			options = ""
			if (match(line, /\[[^]]*\]/)) options = substr(line, RSTART, RLENGTH) " "
			rest = line
			sub(/^[ \t]*deb[ \t]+(\[[^]]*\][ \t]*)?/, "", rest)
			split(rest, word, /[ \t]+/)
			if (strip(word[1]) == strip(uri) && word[2] == suite) {
				print "deb " options word[1] " " new " main"
				found = 1
				exit
			}
		}
		END { exit !found }' "$1" ;;
	esac
}

# Sets `source_file` and `source_text`; fails when there is nothing to derive it from.
backports_source() {
	code=$(codename)
	[ -n "$code" ] || return 1
	entry=$(archive_entry "$code")
	[ -n "$entry" ] || return 1
	# shellcheck disable=SC2086 # three words
	set -- $entry
	source_text=$(derive "$1" "$2" "$3" "$code-backports") || return 1
	eval "$(apt-config shell parts Dir::Etc::sourceparts/d)"
	# shellcheck disable=SC2154 # set by apt-config
	parts=${parts%/}
	case $1 in
	*.sources) source_file=$parts/perilune-backports.sources ;;
	*) source_file=$parts/perilune-backports.list ;;
	esac
}

# Makes the release's backports known to apt. Leaves nothing behind when they are not to be had.
add_backports() {
	code=$(codename)
	if [ -z "$code" ] || backports_known "$code"; then
		return 0
	fi
	backports_source || return 0
	say "adding $code-backports in $source_file, derived from this machine's own sources"
	printf '%s\n' "$source_text" >"$source_file"
	chmod 644 "$source_file"
	update || : # some other source may be dead; whether this one is there is what counts
	if ! apt-cache policy | grep -q "n=$code-backports"; then
		rm -f "$source_file"
		say "$code-backports could not be read from there; $source_file is removed again"
	fi
}

# ---------------------------------------------------------------------------------------------- apt

apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=$LOCK_SECONDS -o Acquire::Retries=3 \
		-o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@" </dev/null
}

# Not every apt waits for the lock of the lists, so this does.
update() {
	updated=yes
	waited=0
	while :; do
		say 'apt-get update'
		if output=$(apt -qq update 2>&1); then
			return 0
		fi
		case $output in
		*'Could not get lock'*) ;;
		*)
			printf '%s\n' "$output" >&2
			return 1
			;;
		esac
		[ "$waited" -lt "$LOCK_SECONDS" ] || die "another apt holds its lock for $waited s (wait for it, then try again)"
		sleep 5
		waited=$((waited + 5))
	done
}

# --no-remove: what a person has installed is never taken away for this.
install() {
	# shellcheck disable=SC2086 # package names
	apt --no-install-recommends --no-remove install $asked
}

explain_refused() {
	for want in $refused; do
		printf 'setup: no source of this machine has %s\n' "$want" >&2
	done
	die "install these yourself, or add a Debian source that has them (Debian 12 with backports, or 13), then try again"
}

install_missing() {
	updated=''
	offers "$@"
	if [ -n "$refused" ]; then # the lists may be missing or old
		update || :
		offers "$@"
	fi
	if [ -n "$refused" ]; then
		add_backports
		offers "$@"
	fi
	case " $refused " in
	*' clang-19 '*) if clang_since 14; then
		say 'clang-19 cannot be had here; going on with the older clang'
		refused=$(printf '%s' "$refused" | sed 's/ clang-19//')
	fi ;;
	esac
	[ -z "$refused" ] || explain_refused
	[ -n "$asked" ] || return 0
	say "installing$asked"
	if ! install; then
		[ -z "$updated" ] || die 'apt-get could not install them; its own words are above'
		update || : # what the old lists name may be gone from the archive
		offers "$@"
		install || die 'apt-get could not install them; its own words are above'
	fi
}

main() {
	case ${1-} in
	run) wanted=$RUN ;;
	test) wanted="$RUN $TEST" ;;
	backports)
		backports_source || die 'there is no entry of the Debian archive to derive it from (try apt-get update first)'
		printf '%s\n%s\n' "$source_file" "$source_text"
		return 0
		;;
	*) die 'usage: sh setup.sh run|test|backports' ;;
	esac
	# shellcheck disable=SC2086 # package names
	set -- $wanted
	command -v dpkg-query >/dev/null 2>&1 ||
		die "this is not a Debian: install the like of these yourself, then build with cmake: $*"
	# shellcheck disable=SC2046 # package names
	set -- $(missing "$@")
	[ $# -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || die "missing: $* (installing them needs root: run this again under sudo)"
	install_missing "$@"
	# shellcheck disable=SC2046 # package names
	set -- $(missing "$@")
	case $* in
	'') ;;
	clang-19) clang_since 14 || die 'clang-19 is still missing' ;;
	*) die "still missing after the install: $*" ;;
	esac
}

main "$@"
