/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads beside the loop's, which alone takes signals.
 */
#ifndef PERILUNE_THREAD_H
#define PERILUNE_THREAD_H

#include <pthread.h>

/* Runs fn(arg) with every signal blocked. `out` is to be joined; NULL: nobody joins it. -errno. */
int thread__start(void *(*fn)(void *arg), void *arg, pthread_t *out);

#endif
