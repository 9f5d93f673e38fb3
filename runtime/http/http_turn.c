/* SPDX-License-Identifier: Apache-2.0 */
/* The library as the loop runs it, and an end for those who let it wait. */
#include "http/http_impl.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

void http__run(void *arg)
{
	struct http_server *server = arg;
	MHD_UNSIGNED_LONG_LONG ms;

	server->running = true;
	server->closed = false;
	MHD_run(server->daemon);
	server->running = false;
	/* The library listens again, after it had too many connections, only when it is run once more. */
	if (server->closed)
		loop_timer__start(server->timer, loop__now());
	else if (MHD_get_timeout(server->daemon, &ms) == MHD_YES)
		loop_timer__start(server->timer, loop__now() + ms * NS_PER_MS);
	else
		loop_timer__stop(server->timer);
}

void http__schedule(struct http_server *server)
{
	if (!server->running)
		loop_timer__start(server->timer, loop__now());
}

void http__resume(struct http_request *request)
{
	if (!request->suspended)
		return;
	request->suspended = false;
	MHD_resume_connection(request->mhd);
	http__schedule(request->server);
}

void http__suspend(struct http_request *request)
{
	request->suspended = true;
	MHD_suspend_connection(request->mhd);
}

void http__hang_up(struct http_request *request)
{
	request->left = true;
	shutdown(request->connection->fd, SHUT_RDWR);
	http__resume(request);
}

void http__stage(struct http_connection *connection, enum http_stage stage)
{
	connection->stage = stage;
	connection->since = loop__now();
}

static uint64_t patience(const struct http_connection *connection)
{
	const struct http_limits *limits = &connection->server->limits;

	if (connection->stage == HTTP_RECEIVING)
		return limits->request_seconds * NS_PER_S;
	return connection->stage == HTTP_SENDING ? limits->answer_seconds * NS_PER_S : UINT64_MAX;
}

static bool has_left(const struct http_connection *connection)
{
	struct pollfd p = {.fd = connection->fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) > 0;
}

/* Whoever closes its end while it waits for an answer has lost interest, and what is not whole by then will never be. */
static void let_go(struct http_connection *connection)
{
	int unread = 0;

	if (connection->request && connection->request->suspended)
		http__hang_up(connection->request);
	else if (connection->stage == HTTP_RECEIVING && !ioctl(connection->fd, FIONREAD, &unread) &&
		 !unread)
		shutdown(connection->fd, SHUT_RDWR);
}

/*
 * The library itself only ends connections on which nothing moves, and one byte a second does; it does not look at those whose
 * request waits for us, and it may miss that half a request was the last of it.
 */
void http__sweep(void *arg)
{
	struct http_server *server = arg;
	uint64_t now = loop__now();

	for (struct http_connection *c = server->connections; c; c = c->next) {
		if (now - c->since > patience(c))
			shutdown(c->fd, SHUT_RDWR);
		else if (has_left(c))
			let_go(c);
	}
	if (server->connections)
		loop_timer__start(server->sweep, now + NS_PER_S);
}
