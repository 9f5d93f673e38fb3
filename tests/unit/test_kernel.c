/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/interface.h"
#include "kernel/kernel.h"
#include "netns.h"

static const struct capability *find(const struct capability *list, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i].name, name))
			return &list[i];
	fail_msg("there is no capability %s", name);
	abort();
}

static void test_everything_required_is_found_here(void **state)
{
	struct capability list[KERNEL_CAPABILITIES_MAX];
	size_t count = kernel__probe(list, KERNEL_CAPABILITIES_MAX);

	(void)state;
	assert_in_range(count, 15, KERNEL_CAPABILITIES_MAX);
	for (size_t i = 0; i < count; i++) {
		if (list[i].required && list[i].result)
			fail_msg("%s: %s", list[i].what, error__name(list[i].result));
		assert_true(list[i].costs[0] && list[i].remedy[0]);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(list[i].name, list[j].name);
	}
	assert_non_null(strstr(find(list, count, "grace-period")->detail, " ms"));
	assert_int_equal(find(list, count, "xdp")->result, 0);
	assert_int_equal(find(list, count, "gather")->result, 0);
	assert_int_equal(find(list, count, "clsact")->result, 0);
	assert_string_equal(find(list, count, "clsact")->detail, "");
}

static void test_fills_no_more_than_asked(void **state)
{
	struct capability list[3];

	(void)state;
	memset(list, 0x5a, sizeof(list));
	assert_in_range(kernel__probe(list, 2), 15, KERNEL_CAPABILITIES_MAX);
	assert_int_equal(((unsigned char *)&list[2])[0], 0x5a);
}

static void test_nothing_is_left_behind(void **state)
{
	struct capability list[KERNEL_CAPABILITIES_MAX];
	int before, after;

	(void)state;
	before = dup(0);
	kernel__probe(list, KERNEL_CAPABILITIES_MAX);
	after = dup(0);
	assert_int_equal(after, before + 1); /* no descriptor */
	close(before);
	close(after);
	assert_int_equal(netns__run("! tc qdisc show dev lo | grep -q clsact"), 0);
}

/* The test in a child without privileges; it returns its number of failures. */
static int unprivileged(void)
{
	struct capability list[KERNEL_CAPABILITIES_MAX];
	struct kernel_rights rights;
	size_t count;

	if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
		return 1;
	count = kernel__probe(list, KERNEL_CAPABILITIES_MAX);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(list[i].name, "bpf") && strcmp(list[i].name, "tcx") &&
		    strcmp(list[i].name, "grace-period"))
			continue;
		if (list[i].result != -EPERM ||
		    !strstr(list[i].remedy, "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON"))
			return 2;
	}
	if (kernel__rights(&rights) || rights.root || rights.enough || rights.bpf)
		return 3;
	return 0;
}

static void test_says_when_it_is_not_permitted(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (!pid)
		_exit(unprivileged());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_rights_of_root(void **state)
{
	struct kernel_rights rights;

	(void)state;
	assert_int_equal(kernel__rights(&rights), 0);
	assert_true(rights.root && rights.enough && rights.net_admin);
}

static void test_finds_an_interface(void **state)
{
	struct interface found;

	(void)state;
	assert_int_equal(interface__find("eth0", &found, NULL), 0);
	assert_string_equal(found.name, "eth0");
	assert_int_equal(found.index, if_nametoindex("eth0"));
	assert_int_equal(found.mtu, 1400);
	assert_true(found.up);
	assert_int_equal(interface__find("eth1", &found, NULL), 0);
	assert_false(found.up);
}

static void expect_hint(const char *name, const char *message, const char *hint)
{
	struct interface found;
	struct error error;

	assert_int_equal(interface__find(name, &found, &error), -ENODEV);
	assert_string_equal(error.message, message);
	assert_string_equal(error.hint, hint);
}

static void test_names_the_nearest_interface(void **state)
{
	(void)state;
	expect_hint("eht0", "there is no interface eht0",
		    "did you mean eth0? interfaces: lo, eth1, eth0");
	expect_hint("eth2", "there is no interface eth2",
		    "did you mean eth1 or eth0? interfaces: lo, eth1, eth0");
	expect_hint("wlan0", "there is no interface wlan0", "interfaces: lo, eth1, eth0");
	expect_hint("", "there is no interface ", "interfaces: lo, eth1, eth0");
	expect_hint("a-name-longer-than-any-interface",
		    "there is no interface a-name-longer-than-any-interface",
		    "interfaces: lo, eth1, eth0");
}

static void test_default_interface(void **state)
{
	struct interface found;
	struct error error;

	(void)state;
	assert_int_equal(interface__default(&found, &error), -ENODEV);
	assert_string_equal(error.message, "there is no default route, so no default interface");

	assert_int_equal(netns__run("ip link set eth1 up && ip -6 route add default dev eth1"), 0);
	assert_int_equal(interface__default(&found, &error), 0);
	assert_string_equal(found.name, "eth1");

	assert_int_equal(
		netns__run(
			"ip route add default dev eth1 metric 20 && ip route add default dev eth0 metric 10 && "
			"ip route add default dev lo metric 1 table 77"),
		0);
	assert_int_equal(interface__default(&found, &error), 0);
	assert_string_equal(found.name, "eth0");
}

static int setup(void **state)
{
	(void)state;
	if (netns__enter())
		return -1;
	return netns__run(
		"ip link add eth0 mtu 1400 type veth peer name eth1 && ip link set eth0 up");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_required_is_found_here),
		cmocka_unit_test(test_fills_no_more_than_asked),
		cmocka_unit_test(test_nothing_is_left_behind),
		cmocka_unit_test(test_says_when_it_is_not_permitted),
		cmocka_unit_test(test_rights_of_root),
		cmocka_unit_test(test_finds_an_interface),
		cmocka_unit_test(test_names_the_nearest_interface),
		cmocka_unit_test(test_default_interface),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
