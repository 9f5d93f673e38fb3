/* SPDX-License-Identifier: Apache-2.0 */
/* Captures under a flood: who ends one takes what came before, and not what comes as long as packets are faster than they are taken. */
#include <linux/types.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../bpf/tap_format.h"
#include "capture/pcapng.h"
#include "capture/tap.h"
#include "loop/loop.h"
#include "probe/event.h"
#include "program.h"

#define LONGEST 20000 /* runs of the flood, some seconds: then it ends by itself */
/* Packets that the ring can hold at a time, in whole goes. */
#define ROOM (TAP_RING / (sizeof(struct tap_event) + BPF_RINGBUF_HDR_SZ) + EVENT_AT_ONCE)

/* Every packet is as many as a burst, whatever captures there are. */
static const char source[] =
	"#define HOOK_XDP\n"
	"#define HOOK_TAP\n"
	"#include <perilune.h>\n"
	"static int again(__u32 i, struct packet **p) { tap__send(*p, 1); return 0; }\n"
	"static __always_inline void send(struct packet *p, void *ctx)\n"
	"{\n"
	"	bpf_loop(2000, again, &p, 0);\n"
	"}\n"
	"LEVEL_XDP(xdp_level_base, NEED_BASE, send)\n"
	"SEC(\"xdp.frags\") int xdp_root(struct xdp_md *ctx)\n"
	"{\n"
	"	union ctl_state state = hook__state();\n"
	"	LEVEL(xdp_level_base, ctx, state, ingress);\n"
	"	return XDP_PASS;\n"
	"}\n"
	"char LICENSE[] SEC(\"license\") = \"Dual BSD/GPL\";\n";

struct flood {
	int program;
	atomic_int runs;
	atomic_bool stop;
};

static void *flood(void *arg)
{
	struct flood *flood = arg;
	unsigned char frame[PROGRAM_FRAME];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame));

	program__frame(1, frame);
	while (!flood->stop && flood->runs++ < LONGEST)
		bpf_prog_test_run_opts(flood->program, &opts);
	return NULL;
}

static void ends_under_a_flood(void **state)
{
	char directory[] = "/tmp/perilune-test-tap-XXXXXX", path[64];
	struct tap_spec spec = {.comment = "",
				.snap = 14,
				.packets = UINT64_MAX,
				.bytes = UINT64_MAX,
				.until = UINT64_MAX,
				.everything = true,
				.set = -1};
	struct flood flooding = {.runs = 0};
	struct tap_result result;
	struct error error = {0};
	struct probe *probe;
	unsigned char *object;
	struct loop *loop;
	pthread_t thread;
	struct pcapng *file;
	struct tap *tap;
	size_t len = 0;
	int slot;

	(void)state;
	object = program__compile(source, &len);
	assert_non_null(object);
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/a.pcapng", directory);
	spec.path = path;
	assert_int_equal(loop__new(&loop), 0);
	if (probe__open(object, len, "test", &probe, &error) || probe__load(probe, &error) ||
	    tap__open(loop, probe, &tap, &error) || tap__start(tap, &spec, &slot, &error))
		fail_msg("%s %s", error.message, error.hint);
	assert_int_equal(slot, 0); /* as the program has it */
	flooding.program = probe__program(probe, "xdp_root");
	assert_int_equal(pthread_create(&thread, NULL, flood, &flooding), 0);
	while (flooding.runs < 100)
		usleep(1000);
	tap__stop(tap, slot, &result, &file);
	flooding.stop = true;
	pthread_join(thread, NULL);
	assert_in_range(result.packets, 1, ROOM);
	assert_int_equal(pcapng__close(file), 0);
	unlink(path);
	rmdir(directory);
	tap__close(tap);
	probe__free(probe);
	loop__free(loop);
	free(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(ends_under_a_flood)};

	return cmocka_run_group_tests_name("tap", tests, NULL, NULL);
}
