/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/spool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"

#define CHUNK 65536

struct chunk {
	struct chunk *next;
	size_t len;
	unsigned char bytes[CHUNK];
};

struct spool {
	int fd;
	size_t most;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct chunk *filling;	    /* its owner's alone */
	struct chunk *first, *last; /* to be written; under the lock, as all below */
	size_t waiting;		    /* bytes in these and in what is being written */
	int err;      /* the first that a write has met; from then on nothing is written */
	bool closing; /* nothing more comes */
	bool closed; /* the file is, and the thread takes the lock no more once it has let go of it */
};

static int write_all(int fd, const unsigned char *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

static void *run(void *arg)
{
	struct spool *spool = arg;
	int failed;

	pthread_mutex_lock(&spool->lock);
	while (spool->first || !spool->closing) {
		struct chunk *chunk = spool->first;
		int err = spool->err;

		if (!chunk) {
			pthread_cond_wait(&spool->changed, &spool->lock);
			continue;
		}
		spool->first = chunk->next;
		pthread_mutex_unlock(&spool->lock);
		if (!err)
			err = write_all(spool->fd, chunk->bytes, chunk->len);
		pthread_mutex_lock(&spool->lock);
		spool->err = err;
		spool->waiting -= chunk->len;
		free(chunk);
		pthread_cond_broadcast(&spool->changed);
	}
	pthread_mutex_unlock(&spool->lock);
	/* Closing may wait for the disk as a write does. */
	failed = close(spool->fd) ? -errno : 0;
	pthread_mutex_lock(&spool->lock);
	if (!spool->err)
		spool->err = failed;
	spool->closed = true;
	pthread_mutex_unlock(&spool->lock);
	return NULL;
}

int spool__open(int fd, size_t most, struct spool **out)
{
	struct spool *spool = calloc(1, sizeof(*spool));
	int err = spool ? 0 : -ENOMEM;

	if (!err) {
		spool->fd = fd;
		spool->most = most;
		pthread_mutex_init(&spool->lock, NULL);
		pthread_cond_init(&spool->changed, NULL);
		err = thread__start(run, spool, &spool->thread);
	}
	if (err) {
		close(fd);
		free(spool);
		return err;
	}
	*out = spool;
	return 0;
}

bool spool__has_room(struct spool *spool, size_t len, bool patient)
{
	size_t own = spool->filling ? spool->filling->len : 0;
	bool has;

	pthread_mutex_lock(&spool->lock);
	while (patient && spool->waiting && spool->waiting + own + len > spool->most)
		pthread_cond_wait(&spool->changed, &spool->lock);
	has = patient || spool->waiting + own + len <= spool->most;
	pthread_mutex_unlock(&spool->lock);
	return has;
}

/* What was handed over last is for the thread. Returns the error met so far. */
static int hand_over(struct spool *spool)
{
	struct chunk *chunk = spool->filling;
	int err;

	spool->filling = NULL;
	pthread_mutex_lock(&spool->lock);
	if (chunk) {
		if (spool->first)
			spool->last->next = chunk;
		else
			spool->first = chunk;
		spool->last = chunk;
		spool->waiting += chunk->len;
		pthread_cond_broadcast(&spool->changed);
	}
	err = spool->err;
	pthread_mutex_unlock(&spool->lock);
	return err;
}

int spool__write(struct spool *spool, const void *bytes, size_t len)
{
	const unsigned char *from = bytes;

	while (len) {
		size_t part;
		int err;

		if (!spool->filling) {
			spool->filling = malloc(sizeof(*spool->filling));
			if (!spool->filling)
				return -ENOMEM;
			spool->filling->next = NULL;
			spool->filling->len = 0;
		}
		part = CHUNK - spool->filling->len;
		if (part > len)
			part = len;
		memcpy(spool->filling->bytes + spool->filling->len, from, part);
		spool->filling->len += part;
		from += part;
		len -= part;
		if (spool->filling->len < CHUNK)
			continue;
		err = hand_over(spool);
		if (err)
			return err;
	}
	return 0;
}

void spool__end(struct spool *spool)
{
	hand_over(spool);
	pthread_mutex_lock(&spool->lock);
	spool->closing = true;
	pthread_cond_broadcast(&spool->changed);
	pthread_mutex_unlock(&spool->lock);
}

bool spool__has_ended(struct spool *spool)
{
	bool closed;

	pthread_mutex_lock(&spool->lock);
	closed = spool->closed;
	pthread_mutex_unlock(&spool->lock);
	return closed;
}

int spool__close(struct spool *spool)
{
	int err;

	if (!spool)
		return 0;
	spool__end(spool);
	pthread_join(spool->thread, NULL);
	err = spool->err;
	pthread_cond_destroy(&spool->changed);
	pthread_mutex_destroy(&spool->lock);
	free(spool);
	return err;
}
