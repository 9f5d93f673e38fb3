/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.capture: packet captures, frame by frame.
 *
 * - open(path) → c | nil, message, code
 * - c:next() → time in whole µs since the epoch, the ns beyond it (0 to 999), captured, wire
 *   | nil at the end | nil, message, code
 * - c:peek_addresses() → source, destination of the frame that next() has read, as text
 *   | nil when it is not IP
 * - c:at(µs since the epoch, ns beyond them): that frame's time is another
 * - c:readdress("src" | "dst", address, n) → whether it is IP of that version: the frame's source (or
 *   destination) becomes the address, whose last 32 bits have grown by n | nil, message, code
 * - c:close()
 */
#ifndef PERILUNE_LUA_CAPTURE_H
#define PERILUNE_LUA_CAPTURE_H

#include <lua.h>

#include "capture/capture.h"

int luaopen_perilune_core_capture(lua_State *L);

/*
 * The frame that next() has read, never NULL, valid until the following next() or close(). Raises a
 * Lua error when the argument is not a capture or there is none.
 */
struct capture_frame *lua_capture__frame(lua_State *L, int index);

#endif
