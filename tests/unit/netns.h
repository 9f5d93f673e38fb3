/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network and mount namespace of the test's own, with an empty /run: nothing a test does can be seen outside.
 */
#ifndef PERILUNE_TESTS_NETNS_H
#define PERILUNE_TESTS_NETNS_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE first"
#endif
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>

/* Runs a command; 0 when it ended well. */
static inline int netns__run(const char *command)
{
	int status = system(command);

	if (status)
		fprintf(stderr, "%s: status %d\n", command, status);
	return status ? -1 : 0;
}

static inline int netns__enter(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS)) {
		perror("a private network namespace (run the tests as root)");
		return -1;
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("run", "/run", "tmpfs", 0, NULL)) {
		perror("a private /run");
		return -1;
	}
	return netns__run("ip link set lo up");
}

#endif
