#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# luacheck over all Lua, as .luacheckrc says.
set -eu
cd "${PERILUNE_SOURCE:-$(dirname "$0")/../..}"
luacheck --quiet --no-color .
