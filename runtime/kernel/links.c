/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "kernel/links.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/netns.h"

#define RECEIVE_SIZE 32768
#define BUFFER (4 << 20)  /* a change takes some 2 kB of it */
#define READS_AT_ONCE 256 /* so that a flood of changes does not hold the loop */
#define LINKS_MAX 65536

struct links {
	int netns;
	struct mnl_socket *socket;
};

struct subscription {
	int buffer;
	struct mnl_socket *socket;
	struct error *error;
};

static int no_watch(int err, struct error *error)
{
	return error__set(error, err, "cannot watch the interfaces: %s", strerror(-err));
}

static int subscribe(void *arg)
{
	struct subscription *s = arg;
	int err, fd;

	s->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!s->socket)
		return no_watch(-errno, s->error);
	fd = mnl_socket_get_fd(s->socket);
	/* Beyond the limit for everybody if we may, up to it if not. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &s->buffer, sizeof(s->buffer)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &s->buffer, sizeof(s->buffer));
	if (mnl_socket_bind(s->socket, RTMGRP_LINK, MNL_SOCKET_AUTOPID) >= 0)
		return 0;
	err = no_watch(-errno, s->error);
	mnl_socket_close(s->socket);
	return err;
}

int links__open(int netns, int buffer, struct links **out, struct error *error)
{
	struct subscription s = {.buffer = buffer ? buffer : BUFFER, .error = error};
	struct links *links = calloc(1, sizeof(*links));
	int err = 0;

	if (!links)
		return error__set(error, -ENOMEM, "out of memory");
	links->netns = netns == NETNS_OWN ? NETNS_OWN : fcntl(netns, F_DUPFD_CLOEXEC, 3);
	if (links->netns < 0 && netns != NETNS_OWN)
		err = no_watch(-errno, error);
	if (!err)
		err = netns__call(links->netns, subscribe, &s, error);
	if (err) {
		if (links->netns >= 0)
			close(links->netns);
		free(links);
		return err;
	}
	links->socket = s.socket;
	*out = links;
	return 0;
}

void links__close(struct links *links)
{
	if (!links)
		return;
	mnl_socket_close(links->socket);
	if (links->netns >= 0)
		close(links->netns);
	free(links);
}

int links__fd(const struct links *links)
{
	return mnl_socket_get_fd(links->socket);
}

int links__netns(const struct links *links)
{
	return links->netns;
}

struct reader {
	netlink_link_fn fn;
	void *arg;
};

static int read_change(const struct nlmsghdr *nlh, void *arg)
{
	const struct reader *reader = arg;
	struct netlink_link link;

	if (netlink__parse_link(nlh, &link))
		reader->fn(&link, reader->arg);
	return MNL_CB_OK;
}

/*
 * The kernel reports a loss before what it had kept until then. That is of no use any more: it would undo what a list tells, and what
 * would set it right again may be what was lost.
 */
static int discard(struct links *links)
{
	char buf[RECEIVE_SIZE];

	while (mnl_socket_recvfrom(links->socket, buf, sizeof(buf)) >= 0 || errno == ENOBUFS ||
	       errno == ENOSPC || errno == EINTR)
		;
	return -ENOBUFS;
}

int links__read(struct links *links, netlink_link_fn fn, void *arg)
{
	struct reader reader = {fn, arg};
	char buf[RECEIVE_SIZE];

	for (int i = 0; i < READS_AT_ONCE; i++) {
		ssize_t len = mnl_socket_recvfrom(links->socket, buf, sizeof(buf));

		if (len < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (len < 0 && (errno == ENOBUFS || errno == ENOSPC)) /* ENOSPC: too long for us */
			return discard(links);
		if (len < 0)
			return -errno;
		mnl_cb_run(buf, (size_t)len, 0, 0, read_change, &reader);
	}
	return 0;
}

struct listing {
	struct netlink_link *list;
	size_t count, room;
	struct error *error;
};

static int append(const struct netlink_link *link, void *arg)
{
	struct listing *listing = arg;

	if (listing->count == LINKS_MAX)
		return -E2BIG;
	if (listing->count == listing->room) {
		size_t room = listing->room ? 2 * listing->room : 64;
		struct netlink_link *list = reallocarray(listing->list, room,
							 sizeof(*listing->list));

		if (!list)
			return -ENOMEM;
		listing->list = list;
		listing->room = room;
	}
	listing->list[listing->count++] = *link;
	return 0;
}

static void forget(void *arg)
{
	struct listing *listing = arg;

	listing->count = 0;
}

static int list_all(void *arg)
{
	struct listing *listing = arg;
	int err = netlink__links(append, forget, listing);

	return err ? error__set(listing->error, err, "cannot list the interfaces: %s",
				strerror(-err))
		   : 0;
}

int links__list(const struct links *links, struct netlink_link **list, size_t *count,
		struct error *error)
{
	struct listing listing = {.error = error};
	int err = netns__call(links->netns, list_all, &listing, error);

	if (err) {
		free(listing.list);
		return err;
	}
	*list = listing.list;
	*count = listing.count;
	return 0;
}
