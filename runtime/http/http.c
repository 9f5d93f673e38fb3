/* SPDX-License-Identifier: Apache-2.0 */
/* A server's begin and end. */
#include "http/http_impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of a head that is too long, about half this many times the limit is read, so that the client hears why. */
#define HEAD_PATIENCE 4
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
	/* The library keeps in this the text of a head, and what it has found in the text: of one that is too long as well, so that we say so. */
	size_t memory = HEAD_PATIENCE * server->limits.head_bytes;
	struct MHD_OptionItem events[HTTP_EVENTS + 1], tls[5] = {{MHD_OPTION_END, 0, NULL}};
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
	http__listen_to(server, events);
	server->daemon = MHD_start_daemon(flags, 0, NULL, NULL, http__on_request, server,
					  MHD_OPTION_ARRAY, events, MHD_OPTION_LISTEN_SOCKET, fd,
					  MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory,
					  MHD_OPTION_CONNECTION_LIMIT, server->limits.connections,
					  MHD_OPTION_PER_IP_CONNECTION_LIMIT,
					  server->limits.per_address, MHD_OPTION_CONNECTION_TIMEOUT,
					  server->limits.idle_seconds, MHD_OPTION_STRICT_FOR_CLIENT,
					  1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY,
					  tls, MHD_OPTION_END);
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
		err = loop_watch__new(server->loop, info->epoll_fd, http__run, server,
				      &server->watch);
	if (!err)
		err = loop_timer__new(server->loop, http__run, server, &server->timer);
	if (!err)
		err = loop_timer__new(server->loop, http__sweep, server, &server->sweep);
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
