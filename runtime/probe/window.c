/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/window.h"

#include <errno.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "bpf/ctl.h"
#include "loop/loop.h"
#include "probe/window_grace.h"

#define ACCOUNT_WAIT 10000000 /* ns */

struct windowed_map {
	struct layout *layout;
	struct extract *half[2];
	bool taken; /* its records go as they are read */
};

struct window {
	struct ctl *ctl;
	struct windowed_map maps[WINDOW_MAPS_MAX];
	size_t count;
	union ctl_state began; /* what the window that goes on began with */
	bool quiet;	       /* a half waits to be drained */
	struct ledger *ledger; /* borrowed; NULL: none */
	struct grace grace;
};

/* After the grace period nobody else writes to a half. */
static const struct extract_options options = {.quiet = true};

static struct bpf_map *half_of(struct bpf_object *object, const char *name, int half)
{
	char full[128];

	snprintf(full, sizeof(full), "%s_%d", name, half);
	return bpf_object__find_map_by_name(object, full);
}

static int refuse_taken(const char *name, struct error *error)
{
	return error__set(
		error, -EOPNOTSUPP,
		"windowed map %s: its records are taken as they are read, so it cannot be "
		"pinned",
		name);
}

static int add_map(struct windowed_map *map, struct bpf_object *object,
		   const struct window_spec *spec, bool keeps, struct error *error)
{
	const struct window_shape shape = {.folds = spec->folds,
					   .nfolds = spec->nfolds,
					   .keep = spec->keep};
	int err = 0;

	for (int i = 0; !err && i < 2; i++) {
		const struct bpf_map *half = half_of(object, spec->map, i);
		struct extract_map what;

		if (!half)
			return error__set(error, -ENOENT, "there is no windowed map %s", spec->map);
		if (window_map__is_lru(half))
			return error__set(error, -EINVAL,
					  "windowed map %s: an LRU map loses rows, so it cannot be "
					  "a window's",
					  spec->map);
		map->taken = window_map__is_taken(half);
		if (keeps && map->taken)
			return refuse_taken(spec->map, error);
		if (!i)
			err = window_map__layout(object, half, &shape, &map->layout, error);
		window_map__describe(half, &what);
		if (!err)
			err = extract__open(&what, map->layout, &options, &map->half[i], error);
	}
	return err;
}

static int add_array(struct windowed_map *map, struct bpf_object *object,
		     const struct window_spec *spec, struct error *error)
{
	const struct bpf_map *array = bpf_object__find_map_by_name(object, spec->map);
	const struct window_shape shape = {.index = spec->index,
					   .folds = spec->folds,
					   .nfolds = spec->nfolds,
					   .keep = spec->keep};
	int err;

	if (!array || !window_map__is_array(array) ||
	    bpf_map__max_entries(array) < 2 * (uint64_t)spec->entries)
		return error__set(error, -ENOENT, "there is no windowed array %s of %u entries",
				  spec->map, spec->entries);
	err = window_map__layout(object, array, &shape, &map->layout, error);
	for (uint32_t i = 0; !err && i < 2; i++) {
		struct extract_map what;

		window_map__describe(array, &what);
		what.first = i * spec->entries;
		what.entries = spec->entries;
		err = extract__open(&what, map->layout, &options, &map->half[i], error);
	}
	return err;
}

static union ctl_state load_state(const struct window *window)
{
	return (union ctl_state){
		.both = __atomic_load_n(&window->ctl->state.both, __ATOMIC_SEQ_CST)};
}

/* A trigger may flip from now on: the half that it would begin with is clean. */
static void set_ready(struct window *window)
{
	__atomic_store_n(&window->ctl->ready, window->began.epoch + 1, __ATOMIC_RELEASE);
}

/* Enters into the ledger with what the next window begins, or has begun, at this time (CLOCK_MONOTONIC ns). */
static void enter(const struct window *window, union ctl_state state, uint64_t time)
{
	uint64_t age = grace__now() - time;

	if (window->ledger)
		ledger__intend(window->ledger, state.epoch, (loop__wall() - age) / 1000, time,
			       state.both);
}

/* Whether a trigger says that it has begun the window that goes on. */
static bool began_by_trigger(const struct window *window)
{
	const struct ctl *ctl = window->ctl;

	return __atomic_load_n(&ctl->flipped, __ATOMIC_ACQUIRE) == window->began.epoch &&
	       ctl->flipped_at;
}

/* With what the window that goes on has begun: as it is entered, or as a trigger says that has begun it. */
static void find_beginning(struct window *window)
{
	const struct ctl *ctl = window->ctl;
	uint32_t epoch = window->began.epoch;
	bool by_trigger = began_by_trigger(window);
	struct ledger_window entry;

	if (!by_trigger && ledger__window(window->ledger, epoch, &entry)) {
		window->began.level = ((union ctl_state){.both = entry.state}).level;
		return;
	}
	if (by_trigger)
		window->began.level = ctl->flipped_to;
	enter(window, window->began, by_trigger ? ctl->flipped_at : grace__now());
}

/* Goes on where the ledger says. */
static int resume(struct window *window, struct error *error)
{
	int half = LEDGER_CLEAN;

	if (window->ledger) {
		half = ledger__half(window->ledger, window->began.epoch);
		if (half >= 0)
			find_beginning(window);
	}
	if (half < 0)
		return error__set(error, half, "the ledger of windows is not at epoch %u",
				  window->began.epoch);
	window->quiet = half != LEDGER_CLEAN;
	if (!window->quiet)
		set_ready(window);
	return 0;
}

int window__new(struct probe *probe, const struct window_spec *specs, size_t count,
		struct window **out, struct error *error)
{
	struct bpf_object *object = probe__object(probe);
	struct window *window;
	int err;

	if (count > WINDOW_MAPS_MAX)
		return error__set(error, -E2BIG, "%zu windowed maps are more than %d", count,
				  WINDOW_MAPS_MAX);
	window = calloc(1, sizeof(*window));
	if (!window)
		return error__set(error, -ENOMEM, "out of memory");
	window->ctl = probe__ctl(probe);
	window->ledger = probe__ledger(probe);
	window->began = load_state(window);
	err = grace__open(&window->grace, error);
	for (size_t i = 0; !err && i < count; i++) {
		struct windowed_map *map = &window->maps[window->count++];

		err = specs[i].kind == WINDOW_MAP
			      ? add_map(map, object, &specs[i], window->ledger, error)
			      : add_array(map, object, &specs[i], error);
	}
	if (!err)
		err = resume(window, error);
	if (err) {
		window__free(window);
		return err;
	}
	*out = window;
	return 0;
}

void window__free(struct window *window)
{
	if (!window)
		return;
	for (size_t i = 0; i < window->count; i++) {
		extract__free(window->maps[i].half[0]);
		extract__free(window->maps[i].half[1]);
		layout__free(window->maps[i].layout);
	}
	grace__close(&window->grace);
	free(window);
}

size_t window__count(const struct window *window)
{
	return window->count;
}

const struct layout *window__layout(const struct window *window, size_t map)
{
	return window->maps[map].layout;
}

enum extract_way window__way(const struct window *window, size_t map)
{
	return extract__way(window->maps[map].half[0]);
}

/* Test builds show what it is for that triggers wait for a clean half. */
static bool is_ready_too_early(void)
{
#ifdef PERILUNE_FAULTS
	return getenv("PERILUNE_FAULT_READY") != NULL;
#else
	return false;
#endif
}

bool window__is_raised(const struct window *window)
{
	return load_state(window).both != window->began.both;
}

/* What the next window shall begin with when the one that ends is in the state `now`. */
static union ctl_state state_after(const struct window *window, union ctl_state now,
				   const struct window_state *next)
{
	bool raised = now.level != window->began.level;

	return (union ctl_state){.epoch = now.epoch + 1,
				 .level = raised && now.level > next->level ? now.level
									    : next->level,
				 .thin = next->thin,
				 .shed = next->shed};
}

/*
 * Waits until a trigger says how it has begun this epoch: it does so right after. Should its CPU have been taken away just then, after a
 * while the epoch counts as begun now, with the level that it has.
 */
static void wait_for_account(const struct window *window, union ctl_state *state, uint64_t *time)
{
	const struct ctl *ctl = window->ctl;
	uint64_t until = grace__now() + ACCOUNT_WAIT;

	while (__atomic_load_n(&ctl->flipped, __ATOMIC_ACQUIRE) != state->epoch)
		if (grace__now() > until)
			return;
	*time = ctl->flipped_at;
	state->level = ctl->flipped_to;
}

int window__flip(struct window *window, const struct window_state *next, struct window_flip *flip)
{
	union ctl_state now = load_state(window), then;
	struct window_flip unwanted;

	if (window->quiet)
		return -EBUSY;
	if (!flip)
		flip = &unwanted;
	enter(window, state_after(window, window->began, next), grace__now());
	ledger__may_die(began_by_trigger(window) ? "triggered" : "intended");
	do {
		then = now;
		if (now.epoch != window->began.epoch)
			break;
		then = state_after(window, now, next);
	} while (!__atomic_compare_exchange_n(&window->ctl->state.both, &now.both, then.both, false,
					      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	*flip = (struct window_flip){.time = grace__now(),
				     .by_trigger = now.level != window->began.level,
				     .deepest = now.level};
	if (now.epoch != window->began.epoch) {
		wait_for_account(window, &then, &flip->time);
		/* It may have gone over levels in between before, without a flip. */
		flip->by_trigger = true;
		flip->deepest = then.level > window->began.level + 1 ? then.level - 1
								     : window->began.level;
	}
	ledger__may_die("flipped");
	enter(window, then, flip->time);
	flip->began = (struct window_state){then.level, then.thin, then.shed};
	window->began = then;
	window->quiet = true;
	if (is_ready_too_early())
		set_ready(window);
	return 0;
}

int window__grace(struct window *window, double *seconds, struct error *error)
{
	uint64_t start = grace__now();
	int err = grace__wait(&window->grace, error);

	*seconds = grace__seconds(start);
	return err;
}

/* The half that is not counted in, of these maps. */
static int read_half(struct window *window, uint64_t maps, bool clear, bool sorted,
		     struct batch *batches, struct error *error)
{
	uint32_t half = (window->began.epoch & 1) ^ 1;
	int err = 0;

	for (size_t i = 0; i < window->count; i++) {
		int one;

		if (!(maps & (1ULL << i)))
			continue;
		one = extract__read(window->maps[i].half[half], clear, &batches[i]);
		if (one && !err)
			err = error__set(error, one, "reading a window's records failed: %s",
					 strerror(-one));
		if (!one && sorted && batches[i].layout->key_size) /* a queue has its own order */
			batch__sort(&batches[i]);
	}
	return err;
}

int window__drain(struct window *window, uint64_t maps, bool sorted, struct batch *batches,
		  double *seconds, struct error *error)
{
	uint64_t start = grace__now();
	int err = read_half(window, maps, true, sorted, batches, error);

	window->quiet = false;
	set_ready(window);
	if (seconds)
		*seconds = grace__seconds(start);
	return err;
}

/* Builds for tests can be short of memory for so many reads. */
static bool is_short(void)
{
#ifdef PERILUNE_FAULTS
	static int times;
	const char *text = getenv("PERILUNE_FAULT_READS");

	return text && times++ < strtol(text, NULL, 10);
#else
	return false;
#endif
}

enum ledger_half window__half(const struct window *window)
{
	return window->ledger ? (enum ledger_half)ledger__half(window->ledger, window->began.epoch)
			      : LEDGER_CLEAN;
}

int window__read(struct window *window, uint64_t maps, bool sorted, struct batch *batches,
		 double *seconds, struct error *error)
{
	uint64_t start = grace__now();
	int err;

	ledger__may_die("quiet");
	err = is_short() ? error__set(error, -ENOMEM, "reading a window's records failed: %s",
				      strerror(ENOMEM))
			 : read_half(window, maps, false, sorted, batches, error);
	if (seconds)
		*seconds = grace__seconds(start);
	ledger__may_die("read");
	return err;
}

int window__clear(struct window *window, uint64_t maps, struct error *error)
{
	uint32_t half = (window->began.epoch & 1) ^ 1;
	int err = 0;

	for (size_t i = 0; !err && i < window->count; i++) {
		struct batch unwanted;

		if (!(maps & (1ULL << i)))
			continue;
		batch__init(&unwanted, window->maps[i].layout);
		err = extract__read(window->maps[i].half[half], true, &unwanted);
		batch__free(&unwanted);
		ledger__may_die("cleared");
	}
	if (err)
		return error__set(error, err, "clearing a window's records failed: %s",
				  strerror(-err));
	ledger__cleaned(window->ledger, window->began.epoch - 1);
	ledger__may_die("cleaned");
	window->quiet = false;
	set_ready(window);
	return 0;
}

int window__account(struct window *window, struct ledger *ledger, struct error *error)
{
	for (size_t i = 0; i < window->count; i++)
		if (window->maps[i].taken)
			return refuse_taken("of its own", error);
	window->ledger = ledger;
	window->quiet = true;
	__atomic_store_n(&window->ctl->ready, window->began.epoch, __ATOMIC_RELEASE);
	return 0;
}

void window__told(struct window *window)
{
	window->quiet = false;
	set_ready(window);
}

int window__look(struct window *window, size_t map, struct batch *batch)
{
	if (load_state(window).epoch != window->began.epoch)
		return -EAGAIN;
	return extract__read(window->maps[map].half[window->began.epoch & 1], false, batch);
}
