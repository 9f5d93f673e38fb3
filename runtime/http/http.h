/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP servers on the loop, and the only place that knows libmicrohttpd.
 *
 *	a request's head is in ──▶ head()      may answer at once: then its body is never read
 *	its body is in         ──▶ request()   answers now or later, whole or as a stream
 *	it is over             ──▶ gone()      however it ended: the request does not exist any more
 *
 * Nothing that a client does makes anybody wait: bodies, headers, connections and times have limits, a stream that is not read
 * is full (-ENOBUFS) and then its writer's problem, and a connection that has not delivered a whole request in time is shut.
 * A client that closes its end while its request waits for an answer is taken for gone, within a second or two.
 *
 * What is no HTTP at all (a malformed line, headers that are several times too long) the library answers by itself, with 400, 431 and the
 * like and a page of HTML, before there is a request: it has no way for us to word that.
 * Requests are on the loop's thread throughout.
 */
#ifndef PERILUNE_HTTP_H
#define PERILUNE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "http/http_listen.h"
#include "loop/loop.h"

struct http_server;
struct http_request;

/* 0 stands for the default in brackets. */
struct http_limits {
	size_t head_bytes;	  /* of a request's line and headers (16 KiB) */
	size_t body_bytes;	  /* (1 MiB) */
	unsigned int connections; /* at a time (256) */
	unsigned int per_address; /* of them from one address; a Unix socket has none (64) */
	unsigned int
		request_seconds;     /* for a whole request, and between two of a connection (30) */
	unsigned int idle_seconds;   /* without a byte that moves, while an answer is sent (30) */
	unsigned int answer_seconds; /* for a whole answer that is no stream (300) */
};

/* PEM texts. */
struct http_tls {
	const char *certificate; /* with the chain that leads to a root */
	const char *key;
	const char *clients; /* authorities whose certificates clients may show; may be NULL */
};

typedef void (*http_request_fn)(struct http_request *request, void *arg);
typedef void (*http_log_fn)(const char *text, void *arg);

struct http_spec {
	struct http_listen listen;
	const struct http_tls *tls; /* NULL: none. Copied, like all of this */
	struct http_limits limits;
	http_request_fn head, request, gone;
	http_log_fn log; /* what the library says of clients that do not speak HTTP; may be NULL */
	void *arg;
};

/* Listens from then on. -EADDRINUSE when another does already. */
int http_server__new(struct loop *loop, const struct http_spec *spec, struct http_server **out,
		     struct error *error);

/*
 * Ends all requests (gone() is called for each) and connections, and removes the Unix socket. Not from within head(), request()
 * or gone(). NULL-safe.
 */
void http_server__free(struct http_server *server);

/* The port, also when it was chosen by the kernel; 0 for a Unix socket. */
uint16_t http_server__port(const struct http_server *server);
unsigned int http_server__connections(const struct http_server *server);

/* What was asked; valid as long as the request. The target is as it came, with query and escapes. */
const char *http_request__method(const struct http_request *request);
const char *http_request__target(const struct http_request *request);
/* The first header of this name, in any case; NULL when there is none. */
const char *http_request__header(const struct http_request *request, const char *name);
/* NUL-terminated behind *len; complete once request() is called. */
const char *http_request__body(const struct http_request *request, size_t *len);
/* The body is longer than the limit, or says in head() that it will be; there is none to read then. */
bool http_request__is_too_long(const struct http_request *request);
/* Line and headers are longer than the limit: for head() to refuse. */
bool http_request__has_long_head(const struct http_request *request);

/* Who asks, as far as the connection tells. */
struct http_peer {
	bool local; /* by a Unix socket: uid, gid and pid are the kernel's word */
	uid_t uid;
	gid_t gid;
	pid_t pid;
	char address[64]; /* "192.0.2.1:4711", or empty */
	char subject
		[256]; /* common name of a client certificate that the authorities vouch for, or empty */
};

void http_request__peer(const struct http_request *request, struct http_peer *out);

struct http_header {
	const char *name, *value;
};

/* The owner's own; NULL at first. */
void http_request__set_data(struct http_request *request, void *data);
void *http_request__data(const struct http_request *request);

/* Answers. Once for each request, from head() on; -EALREADY after that, -ENOMEM. `headers` ends with one without a name. */
int http_request__answer(struct http_request *request, unsigned int status,
			 const struct http_header *headers, const void *body, size_t len);

typedef void (*http_drained_fn)(struct http_request *request, void *arg);

/*
 * Answers with a stream: what is written until http_request__finish(). At most `ceiling` bytes wait for the client; after a
 * write that has found no room, `drained` (may be NULL) is called once when half of it is free again. Not from head().
 */
int http_request__stream(struct http_request *request, unsigned int status,
			 const struct http_header *headers, size_t ceiling,
			 http_drained_fn drained);
/* All of it, or -ENOBUFS and nothing. */
int http_request__write(struct http_request *request, const void *bytes, size_t len);
/* The stream ends when what waits is sent; nothing can be written any more. */
void http_request__finish(struct http_request *request);
/* Shuts the connection: for a stream that has broken off, so that the client does not take it for whole. */
void http_request__abort(struct http_request *request);

#endif
