/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lua_probe.c (objects, attachments, the work under way), lua_probe_window.c (windows) and lua_probe_measure.c (what programs
 * cost) share, and nobody else includes.
 */
#ifndef PERILUNE_LUA_PROBE_IMPL_H
#define PERILUNE_LUA_PROBE_IMPL_H

#include <lua.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernel/statistics.h"
#include "lua/lua_vm.h"
#include "probe/probe.h"
#include "probe/window.h"

#define PROBE_TYPE "perilune.probe"

enum work_kind {
	WORK_LOAD,
	WORK_ATTACH,
	WORK_RELEASE,
	WORK_ALIVE,
	WORK_DETACH,
	WORK_TAKE_OVER,
	WORK_DRAIN,
	WORK_MEASURE,
	WORK_READ,
	WORK_CLEAR,
	WORK_DROP,
};

/* One piece of work that a worker does; written by the worker until its done. */
struct lua_probe_work {
	struct lua_probe *probe;
	bool busy;
	enum work_kind kind;
	int done_ref;
	int self_ref;
	int code;
	struct error error;
};

#define MEASURED_MAX 8 /* root programs of a policy */

/* Measuring, of the work `measure`. */
struct lua_probe_meter {
	int programs[MEASURED_MAX];
	size_t count;
	bool calibrated;
	struct statistics_own own;
	struct statistics_until until;
	struct statistics_span span;
	atomic_bool stop; /* the span is to end */
};

struct lua_probe {
	struct probe *probe;
	struct window *window;
	struct lua_vm *vm;
	bool loaded;
	bool closing; /* close() was asked for while work was under way */
	/* Windows are read while interfaces are attached, and costs measured all the while. */
	struct lua_probe_work object, drain, measure;
	/* Of `object`. */
	char program[64];
	char name[IF_NAMESIZE];
	struct probe_place place;
	const char *mode_name;
	struct lua_probe *from; /* take_over: whose attachments, which are busy too */
	char programs[HOOKS][64];
	/* Of `drain`. */
	uint64_t maps;
	double swap, grace, read; /* seconds */
	struct batch batches[WINDOW_MAPS_MAX];
	struct lua_probe_meter meter;
};

/* The probe at index 1, or a Lua error when it is closed. */
struct lua_probe *lua_probe__check(lua_State *L);

/* Starts `kind` on a worker; the function to call then is at `callback`. Returns what the binding returns: "EBUSY" while such work is
 * under way. */
int lua_probe__start(lua_State *L, struct lua_probe_work *work, enum work_kind kind, int callback);

/* nil, message, errno name. */
int lua_probe__fail(lua_State *L, int code, const char *message);

/* The list of sums at `index`; how many there are. */
size_t lua_probe__check_sums(lua_State *L, int index, double sums[LEDGER_SUMS]);

/* Gives the batches read to Lua: pushes { [position] = batch }. `anchor`: the probe's place on the stack. */
void lua_probe__push_batches(lua_State *L, struct lua_probe *p, int anchor);

/* What the drain cost: pushes { swap =, grace =, read =, skew = 0 }, seconds. */
void lua_probe__push_cost(lua_State *L, const struct lua_probe *p);

/* The method `events`. */
int lua_probe__events(lua_State *L);

/* Measures one span, calibrating before the first. For the worker. */
int lua_probe__measure(struct lua_probe_meter *meter, struct error *error);

/* What was measured: pushes { runs =, ns =, seconds =, busy =, now =, used =, own = { measured_ns =, added_ns = } }. */
void lua_probe__push_span(lua_State *L, const struct lua_probe_meter *meter);

/* The methods of windows, of measuring and of what an object declares, for the probe's metatable. */
extern const struct luaL_Reg lua_probe_maps_methods[];
extern const struct luaL_Reg lua_probe_window_methods[];
extern const struct luaL_Reg lua_probe_measure_methods[];
extern const struct luaL_Reg lua_probe_ledger_methods[];

/* The probe at index 1, or a Lua error when it has no windows. */
struct lua_probe *lua_probe__check_window(lua_State *L);
/* Those of { [position] = true } at that index. */
uint64_t lua_probe__check_maps(lua_State *L, int index);

#endif
