/* SPDX-License-Identifier: Apache-2.0 */
#include "http/http_impl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* How much of a stream the library asks for at once. */
#define BLOCK_BYTES (32 << 10)

const char *http_request__method(const struct http_request *request)
{
	return request->method;
}

const char *http_request__target(const struct http_request *request)
{
	return request->target;
}

const char *http_request__header(const struct http_request *request, const char *name)
{
	return MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);
}

const char *http_request__body(const struct http_request *request, size_t *len)
{
	*len = request->body.len;
	return request->body.data ? request->body.data : "";
}

/* A length that is no number is the library's to refuse. */
bool http_request__is_too_long(const struct http_request *request)
{
	const char *text = http_request__header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
	size_t digits = text ? strspn(text, "0123456789") : 0, len = 0;

	if (request->body_len > request->body.ceiling)
		return true;
	if (!digits || request->whole)
		return false;
	for (size_t i = 0; i < digits && len <= request->body.ceiling; i++)
		len = len * 10 + (size_t)(text[i] - '0');
	return len > request->body.ceiling;
}

bool http_request__has_long_head(const struct http_request *request)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	return info && info->header_size > request->server->limits.head_bytes;
}

void http_request__set_data(struct http_request *request, void *data)
{
	request->data = data;
}

void *http_request__data(const struct http_request *request)
{
	return request->data;
}

/* Takes over the response, also when it fails. */
static int set_response(struct http_request *request, unsigned int status,
			const struct http_header *headers, struct MHD_Response *response)
{
	int err = response ? 0 : -ENOMEM;

	for (; !err && headers && headers->name; headers++)
		if (MHD_add_response_header(response, headers->name, headers->value) != MHD_YES)
			err = -EINVAL;
	if (err) {
		if (response)
			MHD_destroy_response(response);
		return err;
	}
	request->status = status;
	request->response = response;
	http__resume(request);
	return 0;
}

static bool is_answered(const struct http_request *request)
{
	return request->response || request->queued;
}

int http_request__answer(struct http_request *request, unsigned int status,
			 const struct http_header *headers, const void *body, size_t len)
{
	if (is_answered(request))
		return -EALREADY;
	return set_response(request, status, headers,
			    MHD_create_response_from_buffer(len, (void *)body,
							    MHD_RESPMEM_MUST_COPY));
}

/* ---------------------------------------------------------------- streams */

static size_t waiting(const struct http_request *request)
{
	return request->queue.len - request->sent;
}

/* Bytes that are sent go when they are half of what is kept, so that each is moved once at most. */
static void compact(struct http_request *request)
{
	size_t left = waiting(request);

	if (request->sent < left)
		return;
	if (left)
		memmove(request->queue.data, request->queue.data + request->sent, left);
	request->queue.len = left;
	request->sent = 0;
}

static ssize_t on_read(void *cls, uint64_t at, char *bytes, size_t room)
{
	struct http_request *request = cls;
	size_t len = waiting(request);

	(void)at;
	if (request->left)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (!len && request->finished)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (!len) {
		http__suspend(request);
		return 0;
	}
	if (len > room)
		len = room;
	memcpy(bytes, request->queue.data + request->sent, len);
	request->sent += len;
	compact(request);
	if (request->full && waiting(request) <= request->queue.ceiling / 4) {
		request->full = false;
		if (request->drained && !request->finished)
			request->drained(request, request->server->arg);
	}
	return (ssize_t)len;
}

int http_request__stream(struct http_request *request, unsigned int status,
			 const struct http_header *headers, size_t ceiling, http_drained_fn drained)
{
	struct MHD_Response *response;
	int err;

	if (is_answered(request))
		return -EALREADY;
	if (!request->whole)
		return -EINVAL;
	/* Twice: what is sent stays in front until it is as much as what is not. */
	buf__init(&request->queue, 2 * ceiling);
	request->drained = drained;
	request->streaming = true;
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read,
						     request, NULL);
	err = set_response(request, status, headers, response);
	if (err)
		request->streaming = false;
	return err;
}

int http_request__write(struct http_request *request, const void *bytes, size_t len)
{
	int err;

	if (!request->streaming || request->finished)
		return -EPIPE;
	if (waiting(request) + len > request->queue.ceiling / 2) {
		request->full = true;
		return -ENOBUFS;
	}
	err = buf__append(&request->queue, bytes, len);
	if (!err && request->queued)
		http__resume(request);
	return err;
}

void http_request__finish(struct http_request *request)
{
	request->finished = true;
	if (request->queued)
		http__resume(request);
}

void http_request__abort(struct http_request *request)
{
	http__hang_up(request);
}
