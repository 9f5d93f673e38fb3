/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_store.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "lua/lua_vm.h"

#define LOG_TYPE "perilune.store.log"
#define LOCK_TYPE "perilune.store.lock"

struct lua_log {
	struct file_log *log; /* NULL: closed */
};

struct lua_lock {
	struct file_lock *lock;
};

/* A path given by Lua, without a NUL inside. */
static const char *check_path(lua_State *L, int index)
{
	size_t len;
	const char *path = luaL_checklstring(L, index, &len);

	luaL_argcheck(L, strlen(path) == len, index, "a path has no NUL");
	return path;
}

static int answer(lua_State *L, int err, const struct error *error)
{
	if (err)
		return lua_vm__fail(L, err, error);
	lua_pushboolean(L, 1);
	return 1;
}

static int push_bytes(lua_State *L)
{
	const struct buf *bytes = lua_touserdata(L, 1);

	lua_pushlstring(L, bytes->data ? bytes->data : "", bytes->len);
	return 1;
}

static int store_read(lua_State *L)
{
	const char *path = check_path(L, 1);
	double most = luaL_checknumber(L, 2);
	struct error error = {0};
	struct buf bytes;
	int err;

	luaL_argcheck(L, most >= 0 && most <= 1e9, 2, "no number of bytes");
	buf__init(&bytes, (size_t)most);
	err = file__read_own(path, &bytes, &error);
	if (err) {
		buf__free(&bytes);
		return lua_vm__fail(L, err, &error);
	}
	lua_pushcfunction(L, push_bytes); /* there may be no memory for a copy */
	lua_pushlightuserdata(L, &bytes);
	err = lua_pcall(L, 1, 1, 0);
	buf__free(&bytes);
	return err ? lua_error(L) : 1;
}

static int store_replace(lua_State *L)
{
	const char *path = check_path(L, 1);
	size_t len;
	const char *bytes = luaL_checklstring(L, 2, &len);
	struct error error = {0};

	return answer(L, file__replace(path, bytes, len, &error), &error);
}

/* What a worker writes; it has copies of its own. */
struct job {
	struct lua_vm *vm;
	int done; /* the callback */
	int err;
	struct error error;
	char *path, *bytes;
	size_t len;
};

static void job_free(struct job *job)
{
	free(job->path);
	free(job->bytes);
	free(job);
}

static void work(void *arg)
{
	struct job *job = arg;

	job->err = file__replace(job->path, job->bytes, job->len, &job->error);
}

static void work_done(void *arg)
{
	struct job *job = arg;
	struct lua_vm *vm = job->vm;
	lua_State *L = lua_vm__state(vm);
	int results;

	lua_vm__push(L, job->done);
	lua_vm__unref(L, &job->done);
	results = answer(L, job->err, &job->error);
	job_free(job);
	lua_vm__call(vm, results, 0);
}

static int store_replace_soon(lua_State *L)
{
	const char *path = check_path(L, 1);
	size_t len;
	const char *bytes = luaL_checklstring(L, 2, &len);
	struct job *job;
	struct error error;
	int err = -ENOMEM;

	luaL_checktype(L, 3, LUA_TFUNCTION);
	job = calloc(1, sizeof(*job));
	if (job) {
		job->vm = lua_vm__from(L);
		job->path = strdup(path);
		job->bytes = malloc(len + 1);
		job->len = len;
	}
	if (job && job->path && job->bytes) {
		memcpy(job->bytes, bytes, len);
		job->done = lua_vm__ref(L, 3);
		err = loop__work(lua_vm__loop(job->vm), work, work_done, job);
		if (err)
			lua_vm__unref(L, &job->done);
	}
	if (err && job)
		job_free(job);
	if (err)
		error__set(&error, err, "cannot write %s: %s", path, strerror(-err));
	return answer(L, err, &error);
}

static int store_remove(lua_State *L)
{
	const char *path = check_path(L, 1);
	struct error error = {0};
	int err = unlink(path) ? -errno : 0;

	if (err)
		error__set(&error, err, "cannot remove %s: %s", path, strerror(-err));
	return answer(L, err, &error);
}

static int store_rename(lua_State *L)
{
	const char *from = check_path(L, 1), *to = check_path(L, 2);
	struct error error = {0};
	int err = rename(from, to) ? -errno : 0;

	if (err)
		error__set(&error, err, "cannot rename %s to %s: %s", from, to, strerror(-err));
	return answer(L, err, &error);
}

static int store_is_own(lua_State *L)
{
	const char *path = check_path(L, 1);
	char *real = realpath(path, NULL); /* it may be elsewhere, and a link lead there */
	struct error error = {0};
	int err = real ? file__check_own_dir(real) : -errno;

	free(real);
	if (err)
		error__set(&error, err, "%s: %s", path,
			   err == -EPERM ? "others may put something there" : strerror(-err));
	return answer(L, err, &error);
}

static int store_sweep(lua_State *L)
{
	file__sweep(check_path(L, 1));
	return 0;
}

static int store_privileged(lua_State *L)
{
	lua_pushboolean(L, geteuid() == 0);
	return 1;
}

static int store_log(lua_State *L)
{
	const char *path = check_path(L, 1);
	struct lua_log *self = lua_newuserdata(L, sizeof(*self));
	struct error error = {0};
	int err;

	self->log = NULL;
	luaL_getmetatable(L, LOG_TYPE);
	lua_setmetatable(L, -2);
	err = file_log__open(path, &self->log, &error);
	return err ? lua_vm__fail(L, err, &error) : 1;
}

static struct file_log *check_log(lua_State *L)
{
	struct lua_log *self = luaL_checkudata(L, 1, LOG_TYPE);

	luaL_argcheck(L, self->log, 1, "this log is closed");
	return self->log;
}

static int log_write(lua_State *L)
{
	struct file_log *log = check_log(L);
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);
	struct error error = {0};
	int err = file_log__write(log, text, len, &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushnumber(L, (double)file_log__size(log));
	return 1;
}

static int log_sync(lua_State *L)
{
	struct error error = {0};

	return answer(L, file_log__sync(check_log(L), &error), &error);
}

static int log_size(lua_State *L)
{
	lua_pushnumber(L, (double)file_log__size(check_log(L)));
	return 1;
}

static int log_close(lua_State *L)
{
	struct lua_log *self = luaL_checkudata(L, 1, LOG_TYPE);

	file_log__free(self->log);
	self->log = NULL;
	return 0;
}

static int store_lock(lua_State *L)
{
	const char *path = check_path(L, 1);
	struct lua_lock *self = lua_newuserdata(L, sizeof(*self));
	struct error error = {0};
	int err;

	self->lock = NULL;
	luaL_getmetatable(L, LOCK_TYPE);
	lua_setmetatable(L, -2);
	err = file_lock__take(path, &self->lock, &error);
	return err ? lua_vm__fail(L, err, &error) : 1;
}

static int lock_close(lua_State *L)
{
	struct lua_lock *self = luaL_checkudata(L, 1, LOCK_TYPE);

	file_lock__free(self->lock);
	self->lock = NULL;
	return 0;
}

static void new_type(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction close)
{
	luaL_newmetatable(L, name);
	lua_newtable(L);
	luaL_register(L, NULL, methods);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, close);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}

int luaopen_perilune_core_store(lua_State *L)
{
	static const luaL_Reg functions[] = {{"read", store_read},
					     {"replace", store_replace},
					     {"replace_soon", store_replace_soon},
					     {"remove", store_remove},
					     {"rename", store_rename},
					     {"is_own", store_is_own},
					     {"sweep", store_sweep},
					     {"privileged", store_privileged},
					     {"log", store_log},
					     {"lock", store_lock},
					     {NULL, NULL}};
	static const luaL_Reg log_methods[] = {{"write", log_write},
					       {"sync", log_sync},
					       {"size", log_size},
					       {"close", log_close},
					       {NULL, NULL}};
	static const luaL_Reg lock_methods[] = {{"close", lock_close}, {NULL, NULL}};

	new_type(L, LOG_TYPE, log_methods, log_close);
	new_type(L, LOCK_TYPE, lock_methods, lock_close);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
