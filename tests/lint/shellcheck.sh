#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every shell script passes shellcheck.
set -eu
cd "${PERILUNE_SOURCE:-$(dirname "$0")/../..}"
find .ci/run examples tests \( -name '*.sh' -o -path .ci/run \) -print0 |
	xargs -0 shellcheck --external-sources --source-path=SCRIPTDIR
