/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a server share, and nobody else includes: http.c has its begin and end, http_turn.c runs it on the loop,
 * http_events.c is called by the library, http_request.c and http_peer.c are what is asked of a request.
 */
#ifndef PERILUNE_HTTP_IMPL_H
#define PERILUNE_HTTP_IMPL_H

#include <microhttpd.h>

#include "base/buf.h"
#include "http/http.h"

#define NS_PER_S 1000000000ULL
#define NS_PER_MS 1000000ULL

/* What a connection is at, which says how long it may take. */
enum http_stage {
	HTTP_RECEIVING, /* also between two requests */
	HTTP_WAITING,	/* for our answer */
	HTTP_SENDING,
	HTTP_STREAMING,
};

struct http_connection {
	struct http_connection *next, **link; /* in the server's list */
	struct http_request *request;	      /* the one under way, or NULL */
	struct http_server *server;
	int fd;
	enum http_stage stage;
	uint64_t since; /* loop__now() when the stage began */
};

struct http_server {
	struct loop *loop;
	struct MHD_Daemon *daemon;
	struct loop_watch *watch; /* the library's epoll descriptor */
	struct loop_timer *timer; /* when the library wants to be run again */
	struct loop_timer *sweep; /* looks for connections that take too long */
	bool running;		  /* in MHD_run() */
	bool closed;		  /* a connection, in MHD_run() */
	struct http_limits limits;
	http_request_fn head, request, gone;
	http_log_fn log;
	void *arg;
	char *path; /* of the Unix socket, or NULL */
	char *certificate, *key, *clients;
	uint16_t port;
	struct http_connection *connections;
	unsigned int count;
};

struct http_request {
	struct http_server *server;
	struct http_connection *connection;
	struct MHD_Connection *mhd;
	char *target, *method;
	struct buf body;
	size_t body_len; /* as far as it has come, also what was not kept */
	bool headed, whole, queued, suspended;
	bool left; /* its client has: whatever is asked next for it is its end */
	unsigned int status;
	struct MHD_Response *response; /* ours until it is queued */
	void *data;
	/* A stream: queue.data + sent are the bytes that wait. */
	struct buf queue;
	size_t sent;
	bool streaming, finished, full;
	http_drained_fn drained;
};

/* Runs the library: it has something to do. arg: the server */
void http__run(void *arg);
/* Ends what takes too long, or has no one left; comes again as long as there are connections. arg: the server */
void http__sweep(void *arg);

#define HTTP_EVENTS 5

/* What the library is to call, besides the handler of requests. */
void http__listen_to(struct http_server *server, struct MHD_OptionItem items[HTTP_EVENTS + 1]);
enum MHD_Result http__on_request(void *cls, struct MHD_Connection *mhd, const char *url,
				 const char *method, const char *version, const char *upload,
				 size_t *upload_len, void **context);

void http__stage(struct http_connection *connection, enum http_stage stage);
/* Has the library run soon, on the loop. */
void http__schedule(struct http_server *server);
/* Goes on with a request that waits for us. */
void http__resume(struct http_request *request);
void http__suspend(struct http_request *request);
/* Shuts its connection, also while it waits for us. */
void http__hang_up(struct http_request *request);

#endif
