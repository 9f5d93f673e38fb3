/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load for the test of conservation: a sender on every CPU, and sums of what windows have counted.
 *
 * What runs in a thread says what went wrong in `failed`: cmocka's assertions are for the main one.
 */
#ifndef PERILUNE_TESTS_LOAD_H
#define PERILUNE_TESTS_LOAD_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE first"
#endif
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "extract/extract.h"

#define LOAD_SENDERS 8 /* at most; one for each CPU */

/* So many windows, or PERILUNE_TEST_WINDOWS times as many for a longer run. */
static inline int load__windows(int count)
{
	const char *text = getenv("PERILUNE_TEST_WINDOWS");
	int times = text ? atoi(text) : 1;

	return times > 1 && times <= 10000 ? count * times : count;
}

struct load_sender {
	pthread_t thread;
	int cpu;
	int (*send)(void *arg, int sender, uint64_t number);
	void *arg;
	const atomic_bool *enough;
	uint64_t sent;
	int error;
};

struct load {
	struct load_sender senders[LOAD_SENDERS];
	int count;
	atomic_bool enough;
};

static inline void *load__run(void *arg)
{
	struct load_sender *sender = arg;
	int index = sender->cpu;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)sender->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set); /* where it cannot be, it runs elsewhere */
	while (!sender->error && !atomic_load(sender->enough)) {
		sender->error = sender->send(sender->arg, index, sender->sent);
		sender->sent += !sender->error;
	}
	return NULL;
}

/* Calls `send` on every CPU, over and over, until load__stop. */
static inline int load__start(struct load *load,
			      int (*send)(void *arg, int sender, uint64_t number), void *arg)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	load->count = 0;
	atomic_store(&load->enough, false);
	for (int i = 0; i < LOAD_SENDERS && i < (cpus < 2 ? 2 : cpus); i++) {
		struct load_sender *sender = &load->senders[i];

		*sender = (struct load_sender){.cpu = i,
					       .send = send,
					       .arg = arg,
					       .enough = &load->enough};
		if (pthread_create(&sender->thread, NULL, load__run, sender))
			return -1;
		load->count++;
	}
	return 0;
}

/* How many were sent in all; 0 when sending failed. */
static inline uint64_t load__stop(struct load *load)
{
	uint64_t sent = 0;
	int error = 0;

	atomic_store(&load->enough, true);
	for (int i = 0; i < load->count; i++) {
		pthread_join(load->senders[i].thread, NULL);
		sent += load->senders[i].sent;
		error = load->senders[i].error ? load->senders[i].error : error;
	}
	if (error)
		fprintf(stderr, "sending failed: %s\n", strerror(-error));
	return error ? 0 : sent;
}

static inline uint64_t load__sum(const struct batch *batch, const char *name, int64_t index)
{
	const struct field *field = layout__field(batch->layout, name);
	const struct field *first = &batch->layout->fields[0];
	uint64_t sum = 0;

	for (size_t i = 0; field && i < batch->count; i++) {
		const unsigned char *record = batch->records + i * batch->layout->stride;

		if (index < 0 || layout__number(first, record + first->offset) == (uint64_t)index)
			sum += layout__number(field, record + field->offset);
	}
	return sum;
}

static inline void load__failed(char *failed, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static inline void load__failed(char *failed, size_t size, const char *format, ...)
{
	va_list args;

	if (failed[0])
		return; /* the first is the one to know */
	va_start(args, format);
	vsnprintf(failed, size, format, args);
	va_end(args);
}

#endif
