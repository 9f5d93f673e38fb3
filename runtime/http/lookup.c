/* SPDX-License-Identifier: Apache-2.0 */
#include "http/lookup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/thread.h"

/*
 * What the thread and the loop share. The thread alone writes to `found` and `err`, before it writes to `told`; the loop looks at them only
 * after it has read from that. Whoever lets go of it last frees it.
 */
struct question {
	int holders;
	int told; /* an eventfd */
	char *host;
	char port[8];
	struct addrinfo *found;
	int err; /* EAI_… */
};

struct lookup {
	struct question *question;
	struct loop_watch *watch;
	lookup_fn fn;
	void *arg;
};

static void let_go(struct question *question)
{
	if (__atomic_sub_fetch(&question->holders, 1, __ATOMIC_ACQ_REL))
		return;
	if (question->found)
		freeaddrinfo(question->found);
	if (question->told >= 0)
		close(question->told);
	free(question->host);
	free(question);
}

static void *ask(void *arg)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct question *question = arg;

	question->err = getaddrinfo(question->host, question->port, &hints, &question->found);
	eventfd_write(question->told, 1);
	let_go(question);
	return NULL;
}

static void on_told(void *arg)
{
	struct lookup *lookup = arg;
	struct question *question = lookup->question;
	struct addrinfo *found;
	eventfd_t count;

	if (eventfd_read(question->told, &count))
		return;
	loop_watch__want(lookup->watch, false, false);
	found = question->found;
	question->found = NULL;
	lookup->fn(found, found ? NULL : gai_strerror(question->err), lookup->arg);
}

static int question__new(const char *host, uint16_t port, struct question **out)
{
	struct question *question = calloc(1, sizeof(*question));
	int err = 0;

	if (!question)
		return -ENOMEM;
	question->holders = 1;
	snprintf(question->port, sizeof(question->port), "%u", port);
	question->host = strdup(host);
	question->told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!question->host)
		err = -ENOMEM;
	else if (question->told < 0)
		err = -errno;
	if (err)
		let_go(question);
	else
		*out = question;
	return err;
}

int lookup__start(struct loop *loop, const char *host, uint16_t port, lookup_fn fn, void *arg,
		  struct lookup **out)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	int err;

	if (!lookup)
		return -ENOMEM;
	lookup->fn = fn;
	lookup->arg = arg;
	err = question__new(host, port, &lookup->question);
	if (!err)
		err = loop_watch__new(loop, lookup->question->told, on_told, lookup,
				      &lookup->watch);
	if (!err) {
		lookup->question->holders++; /* the thread's, which does not run yet */
		err = thread__start(ask, lookup->question, NULL);
		if (err)
			lookup->question->holders--;
	}
	if (err)
		lookup__free(lookup);
	else
		*out = lookup;
	return err;
}

void lookup__free(struct lookup *lookup)
{
	if (!lookup)
		return;
	loop_watch__free(lookup->watch);
	if (lookup->question)
		let_go(lookup->question);
	free(lookup);
}
