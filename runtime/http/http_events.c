/* SPDX-License-Identifier: Apache-2.0 */
/* What the library calls: of connections that come and go, of requests as they come in, and of what it has to say. */
#include "http/http_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a body that is too long, this many times the limit is read and thrown away, so that the client hears why. */
#define BODY_PATIENCE 4

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

enum MHD_Result http__on_request(void *cls, struct MHD_Connection *mhd, const char *url,
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

static struct MHD_OptionItem callback(enum MHD_OPTION option, intptr_t fn,
				      struct http_server *server)
{
	return (struct MHD_OptionItem){option, fn, server};
}

void http__listen_to(struct http_server *server, struct MHD_OptionItem items[HTTP_EVENTS + 1])
{
	items[0] = callback(MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_log, server);
	items[1] = callback(MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, server);
	items[2] = callback(MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, server);
	items[3] = callback(MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, server);
	items[4] = callback(MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escapes, server);
	items[HTTP_EVENTS] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
}
