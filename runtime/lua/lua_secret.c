/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_secret.h"

#include <errno.h>
#include <lauxlib.h>
#include <sha256.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/error.h"
#include "lua/lua_vm.h"

#define RANDOM_MAX 256 /* getrandom(2) gives this many at once or none */

static int sha256(lua_State *L)
{
	char hex[SHA256_DIGEST_STRING_LENGTH];
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);

	SHA256Data((const unsigned char *)text, len, hex);
	lua_pushstring(L, hex);
	return 1;
}

static int random_(lua_State *L)
{
	lua_Integer count = luaL_checkinteger(L, 1);
	struct error error;
	char bytes[RANDOM_MAX];

	luaL_argcheck(L, count > 0 && count <= RANDOM_MAX, 1, "1 to 256 expected");
	if (getrandom(bytes, (size_t)count, 0) != count) {
		int code = -errno;

		error__set(&error, code, "no random bytes: %s", strerror(-code));
		return lua_vm__fail(L, code, &error);
	}
	lua_pushlstring(L, bytes, (size_t)count);
	return 1;
}

static int equal(lua_State *L)
{
	size_t len_a, len_b;
	const char *a = luaL_checklstring(L, 1, &len_a), *b = luaL_checklstring(L, 2, &len_b);
	volatile unsigned char differ = len_a != len_b;

	for (size_t i = 0; i < len_a && i < len_b; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	lua_pushboolean(L, !differ);
	return 1;
}

static int uid(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)geteuid());
	return 1;
}

int luaopen_perilune_core_secret(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"sha256", sha256}, {"random", random_}, {"equal", equal},
		{"uid", uid},	    {NULL, NULL},
	};

	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
