/* SPDX-License-Identifier: Apache-2.0 */
/* Events from a program to the loop: all of them, in order, or counted as lost; and for Lua as records. */
#include <errno.h>
#include <linux/types.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bpf/libbpf.h>
#include <lauxlib.h>

#include "loop/loop.h"
#include "lua/lua_vm.h"
#include "probe/event.h"
#include "probe/window.h"
#include "program.h"

#define ROOM 170 /* of 4,096 octets, an event and its header take 24 */

/* Every packet sends its source, as an event of 16 octets. */
static const char source[] =
	"#include <perilune.h>\n"
	"struct seen { __u64 source; __u64 twice; };\n"
	"struct seen *const type_is_kept = 0;\n"
	"RING(events, 4096);\n"
	"static __always_inline void send(struct packet *p, void *ctx)\n"
	"{\n"
	"	__u32 source = p->src.octets[14] << 8 | p->src.octets[15];\n"
	"	struct seen event = {source, 2 * source}, *room;\n"
	"	if (source & 1) {\n"
	"		ring__send(&events, &events_lost, p->half, &event, sizeof(event));\n"
	"		return;\n"
	"	}\n"
	"	room = ring__room(&events, &events_lost, p->half, sizeof(event));\n"
	"	if (!room)\n"
	"		return;\n"
	"	*room = event;\n"
	"	bpf_ringbuf_submit(room, 0);\n"
	"}\n"
	"LEVEL_XDP(xdp_level_base, NEED_BASE, send)\n"
	"SEC(\"xdp.frags\") int xdp_root(struct xdp_md *ctx)\n"
	"{\n"
	"	union ctl_state state = hook__state();\n"
	"	LEVEL(xdp_level_base, ctx, state, ingress);\n"
	"	return XDP_PASS;\n"
	"}\n"
	"char LICENSE[] SEC(\"license\") = \"Dual BSD/GPL\";\n";

static unsigned char *object;
static size_t object_len;

struct fixture {
	struct loop *loop;
	struct probe *probe;
	int program;
	struct event_ring *ring;
	uint64_t next; /* source of the next event */
	int events, goes;
};

static int setup_group(void **state)
{
	(void)state;
	object = program__compile(source, &object_len);
	return object ? 0 : -1;
}

static int teardown_group(void **state)
{
	(void)state;
	free(object);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error error = {0};

	*state = f;
	if (!f || loop__new(&f->loop) ||
	    probe__open(object, object_len, "test", &f->probe, &error) ||
	    probe__load(f->probe, &error)) {
		fprintf(stderr, "%s\n", error.message);
		return -1;
	}
	f->program = probe__program(f->probe, "xdp_root");
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	event__free(f->ring);
	probe__free(f->probe);
	loop__free(f->loop);
	free(f);
	return 0;
}

static void send(int program, uint16_t from, int count)
{
	unsigned char frame[PROGRAM_FRAME];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame));

	while (count--) {
		program__frame(from++, frame);
		assert_int_equal(bpf_prog_test_run_opts(program, &opts), 0);
	}
}

static void on_event(const void *event, size_t size, void *arg)
{
	struct fixture *f = arg;
	const uint64_t *seen = event;

	assert_int_equal(size, 16);
	assert_int_equal(seen[0], f->next);
	assert_int_equal(seen[1], 2 * f->next);
	f->next++;
	f->events++;
}

static void after_events(void *arg)
{
	struct fixture *f = arg;

	f->goes++;
	loop__stop(f->loop);
}

static void open_ring(struct fixture *f)
{
	struct error error;

	if (event__open(f->loop, f->probe, "events", on_event, after_events, f, &f->ring, &error))
		fail_msg("%s", error.message);
}

static void never(void *arg)
{
	(void)arg;
	fail_msg("no event has woken the loop");
}

/* Runs the loop until events come. */
static void wait(struct fixture *f)
{
	struct loop_timer *timer;

	assert_int_equal(loop_timer__new(f->loop, never, NULL, &timer), 0);
	assert_int_equal(loop_timer__start(timer, loop__now() + 20 * 1000000000ULL), 0);
	assert_int_equal(loop__run(f->loop), 0);
	loop_timer__free(timer);
}

static void events_wake_the_loop(void **state)
{
	struct fixture *f = *state;

	open_ring(f);
	assert_int_equal(event__consume(f->ring), 0);
	assert_int_equal(f->goes, 0);
	for (int i = 1; i <= 3; i++) {
		send(f->program, (uint16_t)f->next, 10 * i);
		wait(f);
		assert_int_equal(f->goes, i);
	}
	assert_int_equal(f->events, 60);
	send(f->program, (uint16_t)f->next, 5);
	assert_int_equal(event__consume(f->ring), 5); /* at once */
	assert_int_equal(f->events, 65);
}

static void what_finds_no_room_is_counted(void **state)
{
	static const struct window_spec lost = {.map = "events_lost",
						.kind = WINDOW_ARRAY,
						.entries = 1};
	struct fixture *f = *state;
	struct window *window;
	struct batch batch;
	struct error error;
	uint64_t count;

	if (window__new(f->probe, &lost, 1, &window, &error))
		fail_msg("%s", error.message);
	batch__init(&batch, window__layout(window, 0));
	open_ring(f);
	send(f->program, 0, ROOM + 33);
	assert_int_equal(event__consume(f->ring), ROOM);
	assert_int_equal(window__flip(window, &(struct window_state){0}, NULL), 0);
	assert_int_equal(window__drain(window, 1, false, &batch, NULL, NULL), 0);
	memcpy(&count, batch.records + layout__field(batch.layout, "events")->offset,
	       sizeof(count));
	assert_int_equal(count, 33);
	/* There is room again. */
	f->next = 7;
	send(f->program, 7, 1);
	assert_int_equal(event__consume(f->ring), 1);
	batch__free(&batch);
	window__free(window);
}

static void what_is_no_ring_is_refused(void **state)
{
	struct fixture *f = *state;
	struct event_batch *events = NULL;
	struct error error;

	assert_int_equal(event__open(f->loop, f->probe, "events_lost", on_event, NULL, f, &f->ring,
				     &error),
			 -ENOENT);
	assert_null(f->ring);
	assert_int_equal(event_batch__open(f->loop, f->probe, "events", "nothing", NULL, NULL,
					   &events, &error),
			 -ENOENT);
	assert_string_equal(error.message, "there is no struct nothing");
	assert_null(events);
	event__free(NULL);
	event_batch__free(NULL);
}

/* The frames of a capture one by one; its addresses say what the events must be. */
static const char chunk[] =
	"local loop, view = require 'perilune.core.loop', require 'perilune.records.view'\n"
	"local p = assert(require('perilune.core.probe').open(object, 'test'))\n"
	"local capture = assert(require('perilune.core.capture').open(file))\n"
	"assert(not pcall(p.events, p, 'events', 'seen', print))\n"
	"p:load(function(...) assert(...) loop.stop() end)\n"
	"loop.run()\n"
	"assert(p:windows { { map = 'events_lost', kind = 'array', entries = 1 } })\n"
	"local none, message, code = p:events('events', 'nothing', print)\n"
	"assert(none == nil and message == 'there is no struct nothing' and code == 'ENOENT')\n"
	"local function run()\n"
	"  assert(capture:next())\n"
	"  assert(p:run('xdp_root', capture))\n"
	"  local a, b = capture:peek_addresses():match '(%d+)%.(%d+)$'\n"
	"  return a * 256 + b\n"
	"end\n"
	"local kept, seen, events = {}, {}, nil\n"
	"events = assert(p:events('events', 'seen', function(batch)\n"
	"  for _, row in view.new(batch, {}):rows() do\n"
	"    assert(row.twice == 2 * row.source)\n"
	"    seen[#seen + 1] = row.source\n"
	"  end\n"
	"  kept[#kept + 1] = batch\n"
	"  if #kept == 3 then events:close() end\n"
	"  loop.stop()\n"
	"end))\n"
	"local sent = {}\n"
	"local function check(batches)\n"
	"  assert(#kept == batches and table.concat(sent, ' ') == table.concat(seen, ' '))\n"
	"end\n"
	"local limit = loop.timer(function() error 'no event has woken the loop' end)\n"
	"limit:start(loop.now() + 20)\n" /* events alone do not keep the loop running */
	"for i = 1, 2 do sent[i] = run() loop.run() check(i) end\n"
	"sent[3], sent[4] = run(), run()\n"
	"assert(events:consume() == 2)\n"
	"check(3)\n"
	"run()\n"
	"assert(events:consume() == 0)\n" /* closed */
	"check(3)\n"
	"p, events = nil\n"
	"collectgarbage() collectgarbage()\n"
	"assert(view.new(kept[3], {})[2].source == sent[4])\n";

static void lua_gets_records(void **state)
{
	const char *root = getenv("PERILUNE_SOURCE");
	struct lua_vm_paths paths = {.share = root ? root : "."};
	struct fixture *f = *state;
	struct error error = {0};
	struct lua_vm *vm;
	lua_State *L;
	int failed;

	assert_int_equal(lua_vm__new(f->loop, &paths, &vm, &error), 0);
	L = lua_vm__state(vm);
	lua_pushlstring(L, (const char *)object, object_len);
	lua_setglobal(L, "object");
	lua_pushfstring(L, "%s/tests/pcaps/http_get.pcap", paths.share);
	lua_setglobal(L, "file");
	failed = luaL_dostring(L, chunk);
	if (failed)
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
	loop__settle(f->loop);
	lua_vm__free(vm);
	assert_false(failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(events_wake_the_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(what_finds_no_room_is_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_ring_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(lua_gets_records, setup, teardown),
	};

	return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
