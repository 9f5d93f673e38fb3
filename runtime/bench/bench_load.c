/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* CPU_SET */
#include "bench/bench_load.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SENDERS_MAX 64
#define TURN 1000000L /* ns */
#define PORT 2000     /* of packets that are not marked */

struct sender {
	pthread_t thread;
	struct bench_load *load;
	size_t cpu;
	uint64_t sent;
};

struct bench_load {
	struct bench_net *net;
	struct bench_load_pace pace;
	struct sender senders[SENDERS_MAX];
	size_t count;
	atomic_bool enough;
};

/* Until the next turn; one that is late has been missed. */
static void wait_for_turn(struct timespec *next)
{
	struct timespec now;

	next->tv_nsec += TURN;
	if (next->tv_nsec >= 1000000000L) {
		next->tv_nsec -= 1000000000L;
		next->tv_sec++;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec > next->tv_sec ||
	    (now.tv_sec == next->tv_sec && now.tv_nsec > next->tv_nsec))
		*next = now;
	else
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL);
}

static void *run(void *arg)
{
	struct sender *sender = arg;
	struct bench_load *load = sender->load;
	uint32_t each = load->pace.packets / 1000, turn = 0;
	struct timespec next;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sender->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set); /* where it cannot be, it runs elsewhere */
	clock_gettime(CLOCK_MONOTONIC, &next);
	while (!atomic_load(&load->enough)) {
		if (bench_net__send_to(load->net, PORT, each))
			break;
		sender->sent += each;
		if (!sender->cpu && load->pace.milliseconds &&
		    ++turn % load->pace.milliseconds == 0) {
			if (bench_net__send_to(load->net, BENCH_LOAD_MARK, load->pace.marked))
				break;
			sender->sent += load->pace.marked;
		}
		wait_for_turn(&next);
	}
	return NULL;
}

int bench_load__start(struct bench_net *net, const struct bench_load_pace *pace,
		      struct bench_load **out, struct error *error)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct bench_load *load = calloc(1, sizeof(*load));

	if (!load)
		return error__set(error, -ENOMEM, "out of memory");
	load->net = net;
	load->pace = *pace;
	while (load->count < SENDERS_MAX && (long)load->count < cpus) {
		struct sender *sender = &load->senders[load->count];
		int err;

		*sender = (struct sender){.load = load, .cpu = load->count};
		err = pthread_create(&sender->thread, NULL, run, sender);
		if (err) {
			bench_load__stop(load);
			return error__set(error, -err, "cannot start a thread: %s", strerror(err));
		}
		load->count++;
	}
	*out = load;
	return 0;
}

uint64_t bench_load__stop(struct bench_load *load)
{
	uint64_t sent = 0;

	if (!load)
		return 0;
	atomic_store(&load->enough, true);
	for (size_t i = 0; i < load->count; i++) {
		pthread_join(load->senders[i].thread, NULL);
		sent += load->senders[i].sent;
	}
	free(load);
	return sent;
}
