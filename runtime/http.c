/* SPDX-License-Identifier: Apache-2.0 */
#include "http_impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of a body that is too long, this many times the limit is read and thrown away, so that the client hears why. */
#define BODY_PATIENCE 4
#define TLS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

static const struct http_limits DEFAULTS = {
	.head_bytes = 16 << 10,
	.body_bytes = 1 << 20,
	.connections = 256,
	.per_address = 64,
	.request_seconds = 30,
	.idle_seconds = 30,
	.answer_seconds = 300,
};

/* ---------------------------------------------------------------- running on the loop */

static void run(void *arg)
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
static void sweep(void *arg)
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

/* ---------------------------------------------------------------- what the library calls */

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct http_server *server = cls;
	struct http_connection *c = *context;
	const union MHD_ConnectionInfo *info;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		c = calloc(1, sizeof(*c));
		*context = c;
		if (!c)
			return; /* its requests are refused */
		info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
		c->fd = info ? info->connect_fd : -1;
		c->server = server;
		http__stage(c, HTTP_RECEIVING);
		c->next = server->connections;
		c->link = &server->connections;
		if (c->next)
			c->next->link = &c->next;
		if (!server->connections)
			loop_timer__start(server->sweep, c->since + NS_PER_S);
		server->connections = c;
		server->count++;
	} else if (c) {
		*c->link = c->next;
		if (c->next)
			c->next->link = c->link;
		server->count--;
		server->closed = true;
		free(c);
	}
}

/* The first that is known of a request; what it returns comes back as *context of the others. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct http_server *server = cls;
	struct http_request *request;

	if (!info || !info->socket_context)
		return NULL;
	request = calloc(1, sizeof(*request));
	if (!request)
		return NULL;
	request->target = strdup(target);
	if (!request->target) {
		free(request);
		return NULL;
	}
	request->server = server;
	request->mhd = mhd;
	request->connection = info->socket_context;
	request->connection->request = request;
	buf__init(&request->body, server->limits.body_bytes);
	return request;
}

static enum MHD_Result queue(struct http_request *request)
{
	enum MHD_Result result = MHD_queue_response(request->mhd, request->status,
						    request->response);

	MHD_destroy_response(request->response);
	request->response = NULL;
	request->queued = true;
	http__stage(request->connection, request->streaming ? HTTP_STREAMING : HTTP_SENDING);
	return result;
}

static enum MHD_Result take_body(struct http_request *request, const char *bytes, size_t len)
{
	request->body_len += len;
	if (request->body_len <= request->body.ceiling)
		return buf__append(&request->body, bytes, len) ? MHD_NO : MHD_YES;
	buf__clear(&request->body);
	return request->body_len / BODY_PATIENCE <= request->body.ceiling ? MHD_YES : MHD_NO;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_len, void **context)
{
	struct http_server *server = cls;
	struct http_request *request = *context;

	(void)mhd;
	(void)url;
	(void)version;
	if (!request)
		return MHD_NO;
	if (!request->headed) {
		request->method = strdup(method);
		if (!request->method)
			return MHD_NO;
		request->headed = true;
		server->head(request, server->arg);
		return request->response ? queue(request) : MHD_YES;
	}
	if (*upload_len) {
		size_t len = *upload_len;

		*upload_len = 0;
		return take_body(request, upload, len);
	}
	if (!request->whole) {
		request->whole = true;
		http__stage(request->connection, HTTP_WAITING);
		server->request(request, server->arg);
	}
	if (request->left)
		return MHD_NO;
	if (request->response)
		return queue(request);
	http__suspend(request);
	return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context,
			 enum MHD_RequestTerminationCode why)
{
	struct http_server *server = cls;
	struct http_request *request = *context;

	(void)mhd;
	(void)why;
	*context = NULL;
	if (!request)
		return;
	if (request->headed)
		server->gone(request, server->arg);
	request->connection->request = NULL;
	http__stage(request->connection, HTTP_RECEIVING);
	if (request->response)
		MHD_destroy_response(request->response);
	buf__free(&request->body);
	buf__free(&request->queue);
	free(request->target);
	free(request->method);
	free(request);
}

/* Escapes are for whoever takes targets apart: a decoded slash is no slash of the path. */
static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *text)
{
	(void)cls;
	(void)mhd;
	return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void on_log(void *cls, const char *format,
							 va_list args)
{
	struct http_server *server = cls;
	char text[512];

	if (!server->log)
		return;
	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	server->log(text, server->arg);
}

/* ---------------------------------------------------------------- begin and end */

static void set_limits(struct http_limits *limits)
{
	if (!limits->head_bytes)
		limits->head_bytes = DEFAULTS.head_bytes;
	if (!limits->body_bytes)
		limits->body_bytes = DEFAULTS.body_bytes;
	if (!limits->connections)
		limits->connections = DEFAULTS.connections;
	if (!limits->per_address)
		limits->per_address = DEFAULTS.per_address;
	if (!limits->request_seconds)
		limits->request_seconds = DEFAULTS.request_seconds;
	if (!limits->idle_seconds)
		limits->idle_seconds = DEFAULTS.idle_seconds;
	if (!limits->answer_seconds)
		limits->answer_seconds = DEFAULTS.answer_seconds;
}

static int copy_texts(struct http_server *server, const struct http_spec *spec)
{
	if (spec->listen.path) {
		server->path = strdup(spec->listen.path);
		if (!server->path)
			return -ENOMEM;
	}
	if (!spec->tls)
		return 0;
	server->certificate = strdup(spec->tls->certificate);
	server->key = strdup(spec->tls->key);
	if (spec->tls->clients)
		server->clients = strdup(spec->tls->clients);
	return server->certificate && server->key && (!spec->tls->clients || server->clients)
		       ? 0
		       : -ENOMEM;
}

static int start(struct http_server *server, int fd, struct error *error)
{
	/* Twice the head: the library keeps in this the text of it, and what it has found in the text. */
	size_t memory = 2 * server->limits.head_bytes;
	struct MHD_OptionItem tls[5] = {{MHD_OPTION_END, 0, NULL}};
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, n = 0;

	if (server->certificate) {
		flags |= MHD_USE_TLS;
		tls[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0,
						   server->certificate};
		tls[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, server->key};
		tls[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, TLS_PRIORITIES};
		if (server->clients)
			tls[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0,
							   server->clients};
		tls[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
	}
	server->daemon = MHD_start_daemon(
		flags, 0, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER, on_log,
		server, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory,
		MHD_OPTION_CONNECTION_LIMIT, server->limits.connections,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, server->limits.per_address,
		MHD_OPTION_CONNECTION_TIMEOUT, server->limits.idle_seconds,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, server, MHD_OPTION_URI_LOG_CALLBACK, on_target, server,
		MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, server, MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
	if (server->daemon)
		return 0;
	if (!server->certificate)
		return error__set(error, -EIO, "cannot start the HTTP server");
	error__set(error, -EINVAL, "cannot start the HTTP server with this certificate and key");
	return error__hint(error, -EINVAL,
			   "both as PEM, and the key the one that the certificate is of");
}

static int attach_loop(struct http_server *server, struct error *error)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon,
							       MHD_DAEMON_INFO_EPOLL_FD);
	int err = info ? 0 : -EIO;

	if (!err)
		err = loop_watch__new(server->loop, info->epoll_fd, run, server, &server->watch);
	if (!err)
		err = loop_timer__new(server->loop, run, server, &server->timer);
	if (!err)
		err = loop_timer__new(server->loop, sweep, server, &server->sweep);
	if (err)
		return error__set(error, err, "cannot watch the HTTP server: %s", strerror(-err));
	return 0;
}

static uint16_t port_of(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} address = {.any.sa_family = AF_UNSPEC};
	socklen_t len = sizeof(address);

	if (getsockname(fd, &address.any, &len))
		return 0;
	if (address.any.sa_family == AF_INET)
		return ntohs(address.in4.sin_port);
	return address.any.sa_family == AF_INET6 ? ntohs(address.in6.sin6_port) : 0;
}

int http_server__new(struct loop *loop, const struct http_spec *spec, struct http_server **out,
		     struct error *error)
{
	struct http_server *server = calloc(1, sizeof(*server));
	int fd, err;

	if (!server)
		return error__set(error, -ENOMEM, "out of memory");
	server->loop = loop;
	server->limits = spec->limits;
	server->head = spec->head;
	server->request = spec->request;
	server->gone = spec->gone;
	server->log = spec->log;
	server->arg = spec->arg;
	set_limits(&server->limits);
	err = http_listen__open(&spec->listen, &fd, error);
	if (err) {
		free(server);
		return err;
	}
	server->port = port_of(fd);
	err = copy_texts(server, spec);
	if (err)
		error__set(error, err, "out of memory");
	else
		err = start(server, fd, error);
	if (!server->daemon)
		close(fd);
	if (!err)
		err = attach_loop(server, error);
	if (err)
		http_server__free(server);
	else
		*out = server;
	return err;
}

static void forget(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void http_server__free(struct http_server *server)
{
	if (!server)
		return;
	server->running = true; /* nothing is scheduled any more */
	for (struct http_connection *c = server->connections; c; c = c->next)
		if (c->request)
			http__resume(c->request); /* the library cannot end with one suspended */
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	loop_watch__free(server->watch);
	loop_timer__free(server->timer);
	loop_timer__free(server->sweep);
	if (server->path)
		unlink(server->path);
	free(server->path);
	free(server->certificate);
	forget(server->key);
	free(server->clients);
	free(server);
}

uint16_t http_server__port(const struct http_server *server)
{
	return server->port;
}

unsigned int http_server__connections(const struct http_server *server)
{
	return server->count;
}
