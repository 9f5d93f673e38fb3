#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# C is laid out as .clang-format says. To put it right: sh tests/lint/clang_format.sh -i
set -eu
cd "${PERILUNE_SOURCE:-$(dirname "$0")/../..}"
if [ "${1-}" = -i ]; then
	set -- -i
else
	set -- --dry-run -Werror
fi
# Generated headers keep the layout of their generator.
find runtime bpf templates tests examples \( -name '*.c' -o -name '*.h' \) ! -name kernel_types.h -print0 |
	xargs -0 clang-format-19 "$@"
