/* SPDX-License-Identifier: Apache-2.0 */
/* Servers on the loop, asked by a client on a thread of its own that speaks through plain sockets. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "http/http.h"

#define MS 1000000ULL
#define PATIENCE_MS 20000

struct world;
typedef void (*client_fn)(struct world *world);

struct world {
	struct loop *loop;
	struct http_server *server;
	struct http_spec spec;
	char path[64];
	/* The client's thread. */
	client_fn client;
	pthread_t thread;
	int ended[2];
	struct loop_watch *watch;
	char reply[1 << 16];
	/* What the owner saw. */
	int heads, requests, gones, drains, refused;
	char seen[4096], target[256];
	bool too_long, long_head;
	struct http_peer peer;
	struct http_request *pending;
	struct loop_timer *timer;
	size_t written;
};

static const struct http_header TEXT[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};

static void answer(struct http_request *request, unsigned int status, const char *text)
{
	assert_int_equal(http_request__answer(request, status, TEXT, text, strlen(text)), 0);
	assert_int_equal(http_request__answer(request, status, TEXT, "", 0), -EALREADY);
}

static void on_head(struct http_request *request, void *arg)
{
	struct world *w = arg;

	w->heads++;
	snprintf(w->target, sizeof(w->target), "%s", http_request__target(request));
	w->too_long = http_request__is_too_long(request);
	w->long_head = http_request__has_long_head(request);
	http_request__peer(request, &w->peer);
	if (strstr(w->target, "refuse") || w->too_long)
		answer(request, w->too_long ? 413 : 403, "no");
}

#define BLOCK 1000

/* As much as there is room for. */
static void fill(struct http_request *request, struct world *w)
{
	char block[BLOCK];

	memset(block, 'x', sizeof(block));
	while (w->written < 1000 * BLOCK) {
		int err = http_request__write(request, block, sizeof(block));

		if (err == -ENOBUFS) {
			w->refused++;
			return;
		}
		assert_int_equal(err, 0);
		w->written += sizeof(block);
	}
	http_request__finish(request);
	assert_int_equal(http_request__write(request, "x", 1), -EPIPE);
}

static void on_drained(struct http_request *request, void *arg)
{
	struct world *w = arg;

	w->drains++;
	fill(request, w);
}

static void on_later(void *arg)
{
	struct world *w = arg;
	struct http_request *request = w->pending;

	if (!request)
		return;
	if (strstr(w->target, "events")) {
		if (http_request__write(request, "tick\n", 5))
			return;
		loop_timer__start(w->timer, loop__now() + 5 * MS);
	} else {
		answer(request, 200, "later");
	}
}

static void on_request(struct http_request *request, void *arg)
{
	struct world *w = arg;
	size_t len;
	const char *body = http_request__body(request, &len);

	w->requests++;
	w->too_long = http_request__is_too_long(request);
	snprintf(w->seen, sizeof(w->seen), "%s %s", http_request__method(request), body);
	if (w->too_long) {
		answer(request, 413, "too long");
	} else if (strstr(w->target, "later") || strstr(w->target, "events")) {
		w->pending = request;
		loop_timer__start(w->timer, loop__now() + 5 * MS);
		if (strstr(w->target, "events"))
			assert_int_equal(http_request__stream(request, 200, TEXT, 4096, NULL), 0);
	} else if (strstr(w->target, "quiet")) {
		assert_int_equal(http_request__stream(request, 200, TEXT, 4096, NULL), 0);
	} else if (strstr(w->target, "never")) {
		w->pending = request;
	} else if (strstr(w->target, "large")) {
		assert_int_equal(http_request__stream(request, 200, TEXT, 64 << 10, on_drained), 0);
		fill(request, w);
	} else {
		answer(request, 200, "hello");
	}
}

static void on_gone(struct http_request *request, void *arg)
{
	struct world *w = arg;

	w->gones++;
	if (w->pending == request)
		w->pending = NULL;
}

/* ---------------------------------------------------------------- the client */

static int dial(struct world *w)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, w->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0)
			return; /* it was hung up on us, which some tests want */
		text += n;
		len -= (size_t)n;
	}
}

/* Everything until the server closes, at most the buffer; how much it was. */
static size_t hear(struct world *w, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t len = 0;
	ssize_t n;

	while (poll(&p, 1, PATIENCE_MS) > 0) {
		n = read(fd, w->reply + len, sizeof(w->reply) - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
		w->reply[len] = '\0';
	}
	close(fd);
	return len;
}

static size_t ask(struct world *w, const char *text)
{
	int fd = dial(w);

	w->reply[0] = '\0';
	say(fd, text);
	return hear(w, fd);
}

static void *on_thread(void *arg)
{
	struct world *w = arg;

	w->client(w);
	assert_int_equal(write(w->ended[1], "", 1), 1);
	return NULL;
}

static void on_ended(void *arg)
{
	struct world *w = arg;
	char byte;

	assert_int_equal(read(w->ended[0], &byte, 1), 1);
	loop__stop(w->loop);
}

static void serve(struct world *w)
{
	struct error error;
	int err = http_server__new(w->loop, &w->spec, &w->server, &error);

	if (err)
		fail_msg("%s", error.message);
}

/* Runs the loop until the client's function has returned. */
static void run(struct world *w, client_fn client)
{
	struct loop_timer *keep;

	w->client = client;
	assert_int_equal(pthread_create(&w->thread, NULL, on_thread, w), 0);
	/* Nothing else keeps the loop running. */
	assert_int_equal(loop_timer__new(w->loop, on_later, w, &keep), 0);
	assert_int_equal(loop_timer__start(keep, loop__now() + 3600 * 1000 * MS), 0);
	loop__run(w->loop);
	loop_timer__free(keep);
	pthread_join(w->thread, NULL);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_int_equal(loop__new(&w->loop), 0);
	assert_int_equal(pipe(w->ended), 0);
	assert_int_equal(loop_watch__new(w->loop, w->ended[0], on_ended, w, &w->watch), 0);
	assert_int_equal(loop_timer__new(w->loop, on_later, w, &w->timer), 0);
	snprintf(w->path, sizeof(w->path), "/tmp/perilune-http-%d", getpid());
	w->spec = (struct http_spec){
		.listen = {.path = w->path},
		.limits = {.body_bytes = 1000},
		.head = on_head,
		.request = on_request,
		.gone = on_gone,
		.arg = w,
	};
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	http_server__free(w->server);
	loop_watch__free(w->watch);
	loop_timer__free(w->timer);
	loop__free(w->loop);
	close(w->ended[0]);
	close(w->ended[1]);
	assert_int_not_equal(access(w->path, F_OK), 0);
	free(w);
	return 0;
}

/* ---------------------------------------------------------------- what is asked, what is answered */

static void two_requests(struct world *w)
{
	ask(w, "GET /a%2Fb?x=%20 HTTP/1.1\r\nHost: x\r\n\r\n"
	       "POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody");
}

static void requests_are_answered_one_after_the_other(void **state)
{
	struct world *w = *state;

	serve(w);
	run(w, two_requests);
	assert_int_equal(w->heads, 2);
	assert_int_equal(w->requests, 2);
	assert_int_equal(w->gones, 2);
	assert_string_equal(w->seen, "POST body");
	assert_string_equal(w->target, "/c");
	assert_non_null(strstr(w->reply, "HTTP/1.1 200"));
	assert_non_null(strstr(w->reply, "Content-Type: text/plain"));
	assert_non_null(strstr(strstr(w->reply, "hello") + 5, "hello"));
	assert_true(w->peer.local);
	assert_int_equal(w->peer.uid, getuid());
	assert_int_equal(w->peer.pid, getpid());
}

static void escaped(struct world *w)
{
	ask(w, "GET /a%2Fb/../%2e%2e?x=%20&y HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

static void targets_come_as_they_are(void **state)
{
	struct world *w = *state;

	serve(w);
	run(w, escaped);
	assert_string_equal(w->target, "/a%2Fb/../%2e%2e?x=%20&y");
}

static void with_refusal(struct world *w)
{
	ask(w, "POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\nonly a part");
}

static void head_can_refuse_before_the_body_is_there(void **state)
{
	struct world *w = *state;

	serve(w);
	run(w, with_refusal);
	assert_int_equal(w->heads, 1);
	assert_int_equal(w->requests, 0);
	assert_int_equal(w->gones, 1);
	assert_non_null(strstr(w->reply, "HTTP/1.1 403"));
}

static void with_long_body(struct world *w)
{
	ask(w, "POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999\r\n\r\n");
}

static void a_body_that_says_it_is_too_long_is_not_read(void **state)
{
	struct world *w = *state;

	serve(w);
	run(w, with_long_body);
	assert_non_null(strstr(w->reply, "HTTP/1.1 413"));
	assert_int_equal(w->requests, 0);
}

/* Asks with a header that makes a head of this length. */
static void ask_with_head(struct world *w, size_t len)
{
	static const char before[] = "GET /head HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: ";
	char *head = malloc(len + 1);

	assert_non_null(head);
	memset(head, 'a', len);
	memcpy(head, before, sizeof(before) - 1);
	memcpy(head + len - 4, "\r\n\r\n", 5);
	ask(w, head);
	free(head);
}

static void with_longest_head(struct world *w)
{
	ask_with_head(w, 16 << 10);
}

static void with_long_head(struct world *w)
{
	ask_with_head(w, (16 << 10) + 1);
}

static void with_very_long_head(struct world *w)
{
	ask_with_head(w, 30000);
}

static void a_long_head_is_for_head_to_refuse(void **state)
{
	static const client_fn clients[] = {with_longest_head, with_long_head, with_very_long_head};
	struct world *w = *state;

	serve(w);
	for (size_t i = 0; i < sizeof(clients) / sizeof(*clients); i++) {
		strcpy(w->target, "");
		run(w, clients[i]);
		assert_string_equal(w->target, "/head");
		assert_int_equal(w->long_head, i > 0);
	}
}

static void in_chunks(struct world *w)
{
	int fd = dial(w);

	say(fd,
	    "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
	for (int i = 0; i < 12; i++)
		say(fd,
		    "64\r\n0123456789012345678901234567890123456789012345678901234567890123456789"
		    "012345678901234567890123456789\r\n");
	say(fd, "0\r\n\r\n");
	hear(w, fd);
}

static void a_body_in_chunks_that_is_too_long_is_thrown_away(void **state)
{
	struct world *w = *state;

	serve(w);
	run(w, in_chunks);
	assert_int_equal(w->requests, 1);
	assert_string_equal(w->seen, "POST ");
	assert_non_null(strstr(w->reply, "HTTP/1.1 413"));
}

static void without_end(struct world *w)
{
	int fd = dial(w);

	say(fd, "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 1000; i++)
		say(fd, "10\r\n0123456789012345\r\n");
	hear(w, fd);
}

static void a_body_without_end_is_hung_up_on(void **state)
{
	struct world *w = *state;

	serve(w);
	run(w, without_end);
	assert_int_equal(w->requests, 0);
	assert_int_equal(w->gones, 1);
}

static void for_later(struct world *w)
{
	ask(w, "GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

static void an_answer_may_come_later(void **state)
{
	struct world *w = *state;

	serve(w);
	run(w, for_later);
	assert_non_null(strstr(w->reply, "later"));
	assert_int_equal(w->gones, 1);
}

static void garbage(struct world *w)
{
	static const char *const texts[] = {
		"\r\n\r\n\r\n",
		"GET\r\n\r\n",
		"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	};
	char *head = malloc(100000);

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		int fd = dial(w);

		say(fd, texts[i]);
		shutdown(fd, SHUT_WR);
		hear(w, fd);
	}
	memset(head, 'a', 99999);
	memcpy(head, "GET /", 5);
	head[99999] = '\0';
	ask(w, head);
	free(head);
	ask(w, "GET /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

static void what_is_not_http_does_no_harm(void **state)
{
	struct world *w = *state;

	serve(w);
	run(w, garbage);
	assert_string_equal(w->target, "/ok");
	assert_non_null(strstr(w->reply, "hello"));
	assert_int_equal(w->heads, w->gones);
}

/* ---------------------------------------------------------------- streams and time */

static void read_large(struct world *w)
{
	int fd = dial(w);
	size_t total = 0;
	ssize_t n;

	say(fd,
	    "GET /large HTTP/1.0\r\nHost: x\r\n\r\n"); /* no chunks in 1.0: what comes is what was written */
	while ((n = read(fd, w->reply, sizeof(w->reply))) > 0)
		total += (size_t)n;
	close(fd);
	snprintf(w->reply, sizeof(w->reply), "%zu", total);
}

static void a_stream_is_as_long_as_its_reader_allows(void **state)
{
	struct world *w = *state;
	unsigned long total;

	serve(w);
	run(w, read_large);
	total = strtoul(w->reply, NULL, 10);
	assert_true(total > 1000 * BLOCK && total < 1000 * BLOCK + 500); /* and the head */
	assert_true(w->refused > 0);
	assert_int_equal(w->drains, w->refused);
}

static void read_some(struct world *w)
{
	int fd = dial(w);
	size_t len = 0;

	say(fd, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
	while (len < 400) {
		ssize_t n = read(fd, w->reply + len, sizeof(w->reply) - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	w->reply[len] = '\0';
	close(fd);
	while (__atomic_load_n(&w->gones, __ATOMIC_RELAXED) < 1)
		usleep(1000);
}

static void a_stream_whose_reader_goes_is_over(void **state)
{
	struct world *w = *state;

	serve(w);
	run(w, read_some);
	assert_non_null(strstr(w->reply, "tick"));
	assert_int_equal(w->gones, 1);
	assert_null(w->pending);
}

/* A byte every now and then: something moves all the time. */
static void drip(struct world *w)
{
	int fd = dial(w);
	struct pollfd p = {.fd = fd, .events = POLLIN};

	say(fd, "GET / HTTP/1.1\r\nHost: x\r\n");
	while (!poll(&p, 1, 100))
		say(fd, "A");
	hear(w, fd);
}

static void a_request_that_takes_too_long_is_hung_up_on(void **state)
{
	struct world *w = *state;

	w->spec.limits.request_seconds = 1;
	serve(w);
	run(w, drip);
	assert_int_equal(w->heads, 0);
	assert_int_equal(http_server__connections(w->server), 0);
}

/* Those beyond the limit wait or are hung up on; when others have gone, there is room again. */
static void crowd(struct world *w)
{
	int fds[20];

	for (int i = 0; i < 20; i++) {
		fds[i] = dial(w);
		say(fds[i], "GET / HTTP/1.1\r\n");
	}
	for (int i = 0; i < 20000 && http_server__connections(w->server) < 4; i++)
		usleep(1000);
	assert_int_equal(http_server__connections(w->server), 4);
	for (int i = 0; i < 20; i++)
		close(fds[i]);
	for (int i = 0; i < 1000 && !strstr(w->reply, "hello"); i++)
		ask(w, "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

static void connections_are_limited_and_come_back(void **state)
{
	struct world *w = *state;

	w->spec.limits.connections = 4;
	serve(w);
	run(w, crowd);
	assert_string_equal(w->target, "/last");
	assert_non_null(strstr(w->reply, "hello"));
}

static void unanswered(struct world *w)
{
	int fd = dial(w);

	say(fd, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!__atomic_load_n(&w->pending, __ATOMIC_RELAXED))
		usleep(1000);
	close(fd);
}

static void leave_unanswered(struct world *w)
{
	unanswered(w);
	while (!__atomic_load_n(&w->gones, __ATOMIC_RELAXED))
		usleep(1000);
}

static void who_leaves_before_the_answer_is_gone(void **state)
{
	struct world *w = *state;

	serve(w);
	run(w, leave_unanswered);
	assert_null(w->pending);
	assert_int_equal(w->gones, 1);
	assert_int_equal(http_server__connections(w->server), 0);
}

static void leave_half(struct world *w)
{
	int fd = dial(w);

	say(fd, "PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
	while (!__atomic_load_n(&w->heads, __ATOMIC_RELAXED))
		usleep(1000);
	shutdown(fd, SHUT_WR);
	hear(w, fd);
}

static void half_a_request_without_more_is_gone(void **state)
{
	struct world *w = *state;

	serve(w);
	run(w, leave_half);
	assert_int_equal(w->requests, 0);
	assert_int_equal(w->gones, 1);
	assert_int_equal(http_server__connections(w->server), 0);
}

/* A stream in which nothing is said. */
static void leave_a_silent_stream(struct world *w)
{
	int fd = dial(w);
	size_t len = 0;

	say(fd, "GET /quiet HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!strstr(w->reply, "\r\n\r\n")) {
		ssize_t n = read(fd, w->reply + len, sizeof(w->reply) - len - 1);

		assert_true(n > 0);
		len += (size_t)n;
		w->reply[len] = '\0';
	}
	close(fd);
	while (!__atomic_load_n(&w->gones, __ATOMIC_RELAXED))
		usleep(1000);
}

static void who_leaves_a_silent_stream_is_gone(void **state)
{
	struct world *w = *state;

	serve(w);
	run(w, leave_a_silent_stream);
	assert_int_equal(w->gones, 1);
	assert_int_equal(http_server__connections(w->server), 0);
}

static void the_end_of_a_server_ends_what_waits(void **state)
{
	struct world *w = *state;

	serve(w);
	run(w, unanswered);
	assert_non_null(w->pending);
	http_server__free(w->server);
	w->server = NULL;
	assert_int_equal(w->gones, 1);
	assert_null(w->pending);
}

/* ---------------------------------------------------------------- where it listens */

static void sockets_have_their_mode_and_one_owner(void **state)
{
	struct world *w = *state;
	struct http_server *second;
	struct error error = {{0}, {0}};
	struct stat st;

	w->spec.listen.mode = 0640;
	serve(w);
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(http_server__new(w->loop, &w->spec, &second, &error), -EADDRINUSE);
	assert_non_null(strstr(error.message, "another process"));
	assert_int_equal(stat(w->path, &st), 0);
}

static void a_socket_left_behind_is_replaced_and_a_file_is_not(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct world *w = *state;
	struct error error = {{0}, {0}};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	FILE *file = fopen(w->path, "w");

	assert_non_null(file);
	fclose(file);
	assert_int_equal(http_server__new(w->loop, &w->spec, &w->server, &error), -EEXIST);
	unlink(w->path);
	strcpy(address.sun_path, w->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	serve(w);
	run(w, for_later);
	assert_non_null(strstr(w->reply, "later"));
}

static void addresses_are_numbers(void **state)
{
	struct world *w = *state;
	struct error error = {{0}, {0}};

	assert_true(http_listen__is_loopback("127.0.0.1"));
	assert_true(http_listen__is_loopback("127.9.9.9"));
	assert_true(http_listen__is_loopback("::1"));
	assert_false(http_listen__is_loopback("0.0.0.0"));
	assert_false(http_listen__is_loopback("::"));
	assert_false(http_listen__is_loopback("128.0.0.1"));
	assert_false(http_listen__is_loopback("::ffff:127.0.0.1"));
	assert_false(http_listen__is_loopback("localhost"));
	w->spec.listen = (struct http_listen){.host = "localhost"};
	assert_int_equal(http_server__new(w->loop, &w->spec, &w->server, &error), -EINVAL);
	w->spec.listen.host = "127.0.0.1";
	serve(w);
	assert_int_not_equal(http_server__port(w->server), 0);
	w->spec.listen.group = "no-such-group";
	w->spec.listen.path = w->path;
	http_server__free(w->server);
	w->server = NULL;
	assert_int_equal(http_server__new(w->loop, &w->spec, &w->server, &error), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(requests_are_answered_one_after_the_other),
		TEST(targets_come_as_they_are),
		TEST(head_can_refuse_before_the_body_is_there),
		TEST(a_body_that_says_it_is_too_long_is_not_read),
		TEST(a_long_head_is_for_head_to_refuse),
		TEST(a_body_in_chunks_that_is_too_long_is_thrown_away),
		TEST(a_body_without_end_is_hung_up_on),
		TEST(an_answer_may_come_later),
		TEST(what_is_not_http_does_no_harm),
		TEST(a_stream_is_as_long_as_its_reader_allows),
		TEST(a_stream_whose_reader_goes_is_over),
		TEST(a_request_that_takes_too_long_is_hung_up_on),
		TEST(connections_are_limited_and_come_back),
		TEST(who_leaves_before_the_answer_is_gone),
		TEST(half_a_request_without_more_is_gone),
		TEST(who_leaves_a_silent_stream_is_gone),
		TEST(the_end_of_a_server_ends_what_waits),
		TEST(sockets_have_their_mode_and_one_owner),
		TEST(a_socket_left_behind_is_replaced_and_a_file_is_not),
		TEST(addresses_are_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
