/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/types.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/libbpf.h>
#include <net/if.h>

#include "../../bpf/ctl.h"
#include "base/netns.h"
#include "netns.h"
#include "probe/probe.h"
#include "program.h"

static unsigned char *object;
static size_t object_len;

static int setup(void **state)
{
	(void)state;
	object = program__compile(program_source, &object_len);
	return object ? netns__enter() : -1;
}

static int teardown(void **state)
{
	(void)state;
	free(object);
	return 0;
}

static struct probe *opened(void)
{
	struct error error = {0};
	struct probe *probe = NULL;

	if (probe__open(object, object_len, "test", &probe, &error))
		fail_msg("%s", error.message);
	return probe;
}

static struct probe *loaded(void)
{
	struct error error = {0};
	struct probe *probe = opened();

	if (probe__load(probe, &error))
		fail_msg("%s (run the tests as root)", error.message);
	return probe;
}

static void opens_objects_only(void **state)
{
	static const unsigned char garbage[256] = "this is no object";
	struct error error = {0};
	struct probe *probe = NULL;

	(void)state;
	assert_true(probe__open(garbage, sizeof(garbage), "junk", &probe, &error) < 0);
	assert_null(probe);
	assert_non_null(strstr(error.message, "junk"));
	for (size_t len = 0; len < object_len; len += object_len / 13 + 1) { /* cut short */
		error = (struct error){0};
		assert_true(probe__open(object, len, "cut", &probe, &error) < 0);
		assert_null(probe);
		assert_true(*error.message);
	}
	probe__free(NULL);
}

static void keeps_no_reference_to_the_bytes(void **state)
{
	unsigned char *copy = malloc(object_len);
	struct error error = {0};
	struct probe *probe;

	(void)state;
	memcpy(copy, object, object_len);
	assert_int_equal(probe__open(copy, object_len, "copied", &probe, &error), 0);
	memset(copy, 0xa5, object_len);
	free(copy);
	assert_int_equal(probe__load(probe, &error), 0);
	probe__free(probe);
}

static uint32_t entries_of(struct probe *probe, const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(probe__object(probe), name);

	assert_non_null(map);
	return bpf_map__max_entries(map);
}

static void sets_entries_of_both_halves(void **state)
{
	struct error error = {0};
	struct probe *probe = opened();

	(void)state;
	assert_int_equal(probe__set_entries(probe, "all_rows", 77, &error), 0);
	assert_int_equal(probe__set_entries(probe, "no_such", 77, &error), -ENOENT);
	assert_non_null(strstr(error.message, "no_such"));
	assert_int_equal(probe__load(probe, &error), 0);
	assert_int_equal(entries_of(probe, "all_rows_0"), 77);
	assert_int_equal(entries_of(probe, "all_rows_1"), 77);
	assert_int_equal(entries_of(probe, "all_rows"), 2);
	assert_true(probe__set_entries(probe, "all_rows", 78, &error) < 0); /* too late */
	probe__free(probe);
}

static void says_what_the_kernel_cannot_create(void **state)
{
	struct error error = {0};
	struct probe *probe = opened();

	(void)state;
	assert_int_equal(probe__set_entries(probe, "all_rows", 0, &error), 0);
	assert_true(probe__load(probe, &error) < 0);
	assert_non_null(strstr(error.message, "test"));
	probe__free(probe);
}

static void shares_the_control_block(void **state)
{
	struct probe *probe = loaded();
	struct ctl *ctl = probe__ctl(probe), seen;
	struct bpf_map *map = bpf_object__find_map_by_name(probe__object(probe), ".data.ctl");
	uint32_t zero = 0;

	(void)state;
	ctl->state.epoch = 41;
	ctl->renewed = 42;
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(map), &zero, &seen), 0);
	assert_int_equal(seen.state.epoch, 41);
	assert_int_equal(seen.renewed, 42);
	assert_true(probe__program(probe, "xdp_root") >= 0);
	assert_int_equal(probe__program(probe, "no_root"), -ENOENT);
	probe__free(probe);
}

static void needs_a_control_block(void **state)
{
	static const char source[] = "#include <kernel_types.h>\n#include <bpf/bpf_helpers.h>\n"
				     "SEC(\"xdp\") int alone(struct xdp_md *ctx) { return 2; }\n"
				     "char LICENSE[] SEC(\"license\") = \"GPL\";\n";
	struct error error = {0};
	struct probe *probe;
	size_t len;
	unsigned char *bytes = program__compile(source, &len);

	(void)state;
	assert_non_null(bytes);
	assert_int_equal(probe__open(bytes, len, "alone", &probe, &error), 0);
	assert_int_equal(probe__load(probe, &error), -ENOENT);
	assert_non_null(strstr(error.message, "control block"));
	probe__free(probe);
	free(bytes);
}

/* Loads a program whose level 1 has this body, from line 4242 of mine.bpf.h on. */
static void load_refused(const char *body, struct error *error)
{
	const char *cut = strstr(program_source, "static __always_inline void level_deep");
	const char *rest = strchr(cut, '\n') + 1;
	unsigned char *bytes;
	struct probe *probe;
	char source[4096];
	size_t len;

	snprintf(
		source, sizeof(source),
		"%.*s"
		"struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64);"
		" __uint(max_entries, 1); } few SEC(\".maps\");\n"
		"static __always_inline void level_deep(struct packet *p, void *ctx)\n{\n"
		"	__u32 zero = 0;\n"
		"	bpf_map_update_elem(&few, &zero, &(__u64){0}, 0);\n"
		"#line 4242 \"mine.bpf.h\"\n%s}\n%s",
		(int)(cut - program_source), program_source, body, rest);
	bytes = program__compile(source, &len);
	assert_non_null(bytes);
	assert_int_equal(probe__open(bytes, len, "refused", &probe, error), 0);
	assert_int_equal(probe__load(probe, error), -ENOEXEC);
	probe__free(probe);
	free(bytes);
}

/* What the verifier refuses is named: the level's function, the source line, why, and the end of its log. */
static void names_what_was_refused(void **state)
{
	static const char *const parts[] = {"mine.bpf.h:4242: ", " in xdp_level_deep_plain: ",
					    "invalid mem access 'map_value_or_null'\n"};
	struct error error = {0};

	(void)state;
	load_refused("	*(volatile __u64 *)bpf_map_lookup_elem(&few, &zero) = p->wire;\n", &error);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (!strstr(error.message, parts[i]))
			fail_msg("\"%s\" is missing in: %s", parts[i], error.message);
}

/* The log of a program that never ends is longer than any buffer; why it was refused still comes first. */
static void says_that_a_program_is_too_large(void **state)
{
	struct error error = {0};

	(void)state;
	load_refused("	for (volatile __u64 i = 0; i < 1ULL << 40; i++) p->wire += i;\n", &error);
	assert_non_null(strstr(error.message, "too large"));
	assert_true(strcspn(error.message, "\n") < 200);
}

static int attach_to(struct probe *probe, const char *program, enum hook hook, int index,
		     const char *name, struct error *error)
{
	const struct probe_place place = {.hook = hook, .ifindex = index, .name = name};
	const char *mode = NULL;

	return probe__attach(probe, program, &place, &mode, error);
}

static void attaches_and_detaches(void **state)
{
	struct probe_place place = {.hook = HOOK_XDP};
	struct error error = {0};
	const char *mode = NULL;
	struct probe *probe = loaded();
	int index;

	(void)state;
	assert_int_equal(
		netns__run(
			"ip link add pa type veth peer name pb && ip link set pa up && ip link set pb up"),
		0);
	index = (int)if_nametoindex("pa");
	assert_int_equal(probe__detach(probe), 0);
	assert_int_equal(attach_to(probe, "no_root", HOOK_XDP, index, NULL, &error), -ENOENT);
	assert_true(attach_to(probe, "xdp_root", HOOK_XDP, 999999, NULL, &error) < 0);
	assert_true(*error.message);
	/* An index that has another name by now is another interface. */
	assert_int_equal(attach_to(probe, "xdp_root", HOOK_XDP, index, "pb", &error), -ENODEV);
	assert_int_equal(probe__detach(probe), 0); /* what failed is not attached */

	place.ifindex = index;
	place.name = "pa";
	assert_int_equal(probe__attach(probe, "xdp_root", &place, &mode, &error), 0);
	assert_string_equal(mode, "native");
	assert_int_equal(attach_to(probe, "tc_root", HOOK_TC_INGRESS, index, "pa", &error), 0);
	assert_int_equal(attach_to(probe, "tc_root", HOOK_TC_EGRESS, index, "pa", &error), 0);
	/* More than one interface has hooks. */
	for (int i = 0; i < 10; i++) {
		char name[IF_NAMESIZE], command[128];

		snprintf(name, sizeof(name), "more%d", i);
		snprintf(command, sizeof(command), "ip link add %s type veth peer name peer%d",
			 name, i);
		assert_int_equal(netns__run(command), 0);
		assert_int_equal(attach_to(probe, "tc_root", HOOK_TC_INGRESS,
					   (int)if_nametoindex(name), name, &error),
				 0);
	}
	assert_int_equal(probe__set_netns(probe, NETNS_OWN, &error), -EBUSY);
	assert_true(probe__alive(probe, index));
	assert_int_equal(probe__release(probe, index), 3);
	assert_int_equal(probe__release(probe, index), 0);
	assert_int_equal(probe__detach(probe), 10);
	assert_int_equal(probe__detach(probe), 0);

	assert_int_equal(attach_to(probe, "xdp_root", HOOK_XDP, index, NULL, &error), 0);
	probe__free(probe); /* detaches */
	probe = loaded();
	assert_int_equal(attach_to(probe, "xdp_root", HOOK_XDP, index, NULL, &error), 0);
	/* A new interface in its place is not what we are attached to. */
	assert_int_equal(netns__run("ip link del pa"), 0);
	assert_false(probe__alive(probe, index));
	assert_int_equal(probe__release(probe, index), 1);
	probe__free(probe);
}

/* The index of `lo` is 1 everywhere, so only the namespace tells which one is meant. */
static void attaches_in_another_namespace(void **state)
{
	struct probe *probe = loaded();
	struct error error = {0};
	int fd, err;

	(void)state;
	assert_int_equal(netns__open("no-such-namespace", &fd, &error), -ENOENT);
	assert_int_equal(netns__open("/dev/null", &fd, &error), -EINVAL);
	assert_int_equal(netns__run("ip netns add there && ip -n there link set lo up && "
				    "ip -n there link add only-there type veth peer name peer"),
			 0);
	assert_int_equal(netns__open("there", &fd, &error), 0);
	assert_true(netns__is("there", fd));
	assert_int_equal(probe__set_netns(probe, fd, &error), 0);
	for (int clsact = 0; clsact < 2; clsact++) {
		struct probe_place place = {.hook = HOOK_TC_INGRESS,
					    .ifindex = 1,
					    .name = "lo",
					    .mode = clsact ? ATTACH_CLSACT : ATTACH_AUTO};
		const char *mode;

		err = probe__attach(probe, "tc_root", &place, &mode, &error);
		assert_int_equal(err, 0);
		assert_true(probe__alive(probe, 1));
		if (clsact) {
			assert_int_equal(netns__run(
						 "tc -n there qdisc show dev lo | grep -q clsact"),
					 0);
			assert_int_equal(netns__run("! tc qdisc show dev lo | grep -q clsact"), 0);
		}
		assert_int_equal(probe__detach(probe), 1);
	}
	assert_int_equal(netns__run("! tc -n there qdisc show dev lo | grep -q clsact"), 0);
	assert_int_equal(if_nametoindex("only-there"), 0); /* this thread has not moved */
	assert_int_equal(netns__run("ip netns del there"), 0);
	assert_false(netns__is("there", fd));
	close(fd);
	probe__free(probe);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_objects_only),
		cmocka_unit_test(keeps_no_reference_to_the_bytes),
		cmocka_unit_test(sets_entries_of_both_halves),
		cmocka_unit_test(says_what_the_kernel_cannot_create),
		cmocka_unit_test(shares_the_control_block),
		cmocka_unit_test(needs_a_control_block),
		cmocka_unit_test(names_what_was_refused),
		cmocka_unit_test(says_that_a_program_is_too_large),
		cmocka_unit_test(attaches_and_detaches),
		cmocka_unit_test(attaches_in_another_namespace),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
