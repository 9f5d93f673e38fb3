/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/netns.h"
#include "kernel/links.h"
#include "netns.h"

#define SEEN_MAX 1024

struct seen {
	int count;
	struct netlink_link link[SEEN_MAX];
};

static void note(const struct netlink_link *link, void *arg)
{
	struct seen *seen = arg;

	assert_true(seen->count < SEEN_MAX);
	seen->link[seen->count++] = *link;
}

static struct links *watch(int netns, int buffer)
{
	struct error error = {0};
	struct links *links;

	if (links__open(netns, buffer, &links, &error))
		fail_msg("%s", error.message);
	return links;
}

/* All that is there: netlink tells before the call that changes something returns. */
static int read_all(struct links *links, struct seen *seen)
{
	struct pollfd p = {.fd = links__fd(links), .events = POLLIN};
	int err = 0;

	seen->count = 0;
	while (!err && poll(&p, 1, 0) > 0)
		err = links__read(links, note, seen);
	return err;
}

static const struct netlink_link *last_of(const struct seen *seen, const char *name)
{
	const struct netlink_link *found = NULL;

	for (int i = 0; i < seen->count; i++)
		if (!strcmp(seen->link[i].name, name))
			found = &seen->link[i];
	return found;
}

static bool listed(struct links *links, const char *name)
{
	struct netlink_link *list;
	struct error error = {0};
	size_t count;
	bool found = false;

	assert_int_equal(links__list(links, &list, &count, &error), 0);
	for (size_t i = 0; i < count; i++)
		found = found || !strcmp(list[i].name, name);
	free(list);
	return found;
}

static void tells_what_comes_changes_and_goes(void **state)
{
	struct links *links = watch(NETNS_OWN, 0);
	struct seen seen;
	int index;

	(void)state;
	assert_int_equal(read_all(links, &seen), 0);
	assert_int_equal(netns__run("ip link add da mtu 1400 type veth peer name peer"), 0);
	assert_int_equal(read_all(links, &seen), 0);
	assert_non_null(last_of(&seen, "da"));
	assert_int_equal(last_of(&seen, "da")->mtu, 1400);
	assert_false(last_of(&seen, "da")->gone);
	assert_false(last_of(&seen, "da")->flags & IFF_UP);
	index = last_of(&seen, "da")->index;
	assert_true(listed(links, "da"));
	assert_int_equal(netns__run("ip link set da up && ip link set da down"), 0);
	assert_int_equal(netns__run("ip link set da name db"), 0);
	assert_int_equal(read_all(links, &seen), 0);
	assert_int_equal(last_of(&seen, "db")->index, index);
	assert_int_equal(netns__run("ip link del db"), 0);
	assert_int_equal(read_all(links, &seen), 0);
	assert_true(last_of(&seen, "db")->gone);
	assert_int_equal(last_of(&seen, "db")->index, index);
	assert_false(listed(links, "db"));
	links__close(links);
}

/* A bridge deletes "the link" of a port that leaves it. */
static void a_port_that_leaves_its_bridge_has_not_gone(void **state)
{
	struct links *links = watch(NETNS_OWN, 0);
	struct seen seen;

	(void)state;
	assert_int_equal(
		netns__run(
			"ip link add bridge0 type bridge && ip link add port0 type veth peer name peer && "
			"ip link set port0 master bridge0 && ip link set port0 nomaster"),
		0);
	assert_int_equal(read_all(links, &seen), 0);
	for (int i = 0; i < seen.count; i++)
		assert_false(seen.link[i].gone);
	assert_int_equal(netns__run("ip link del port0 && ip link del bridge0"), 0);
	links__close(links);
}

/* What the kernel had kept before the loss must not be told after it. */
static void says_what_was_lost(void **state)
{
	struct links *links = watch(NETNS_OWN, 4096);
	struct seen seen;

	(void)state;
	for (int i = 0; i < 20; i++)
		assert_int_equal(
			netns__run("ip link add da type veth peer name peer && ip link del da"), 0);
	assert_int_equal(netns__run("ip link add da type veth peer name peer"), 0);
	assert_int_equal(read_all(links, &seen), -ENOBUFS);
	assert_int_equal(seen.count, 0);
	assert_true(listed(links, "da"));
	assert_int_equal(read_all(links, &seen), 0);
	assert_int_equal(seen.count, 0);
	assert_int_equal(netns__run("ip link del da"), 0);
	assert_int_equal(read_all(links, &seen), 0);
	assert_true(last_of(&seen, "da")->gone);
	links__close(links);
}

static void watches_another_namespace(void **state)
{
	struct links *links;
	struct error error = {0};
	struct seen seen;
	int fd;

	(void)state;
	assert_int_equal(netns__run("ip netns add there"), 0);
	assert_int_equal(netns__open("there", &fd, &error), 0);
	links = watch(fd, 0);
	assert_int_equal(netns__run("ip link add here type veth peer name peer && "
				    "ip -n there link add there type veth peer name peer"),
			 0);
	assert_int_equal(read_all(links, &seen), 0);
	assert_null(last_of(&seen, "here"));
	assert_non_null(last_of(&seen, "there"));
	assert_true(listed(links, "there"));
	assert_false(listed(links, "here"));
	assert_int_equal(netns__run("ip link del here && ip netns del there"), 0);
	links__close(links);
	close(fd);
}

static int setup(void **state)
{
	(void)state;
	return netns__enter();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_what_comes_changes_and_goes),
		cmocka_unit_test(a_port_that_leaves_its_bridge_has_not_gone),
		cmocka_unit_test(says_what_was_lost),
		cmocka_unit_test(watches_another_namespace),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
