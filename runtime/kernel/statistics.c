/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/statistics.h"

#include <errno.h>
#include <linux/types.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

/* Between looks at the counters within a span: rarer and rarer where nothing runs. */
#define LOOK_NS 500000L
#define LOOK_MOST_NS 10000000L
#define ROUNDS 10    /* of calibration; the least disturbed one counts */
#define REPEATS 1000 /* runs in each */

struct counters {
	uint64_t runs;
	uint64_t ns;
};

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double seconds_of(const struct rusage *usage)
{
	return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
	       (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

static double seconds_used(void)
{
	struct rusage self, children;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	return seconds_of(&self) + seconds_of(&children);
}

static int turn_on(struct error *error)
{
	int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);

	if (fd >= 0)
		return fd;
	error__set(error, fd, "run-time statistics of BPF programs cannot be turned on: %s",
		   strerror(-fd));
	if (fd == -EPERM)
		error__hint(error, fd, "run as root or with CAP_SYS_ADMIN");
	return fd;
}

static int count(const int *programs, size_t n, struct counters *out)
{
	*out = (struct counters){0};
	for (size_t i = 0; i < n; i++) {
		struct bpf_prog_info info = {0};
		__u32 len = sizeof(info);
		int err = bpf_obj_get_info_by_fd(programs[i], &info, &len);

		if (err)
			return err;
		out->runs += info.run_cnt;
		out->ns += info.run_time_ns;
	}
	return 0;
}

/* Runs the program in rounds: of a run, how long it took in all and by the statistics, each at its least. */
static int run_rounds(int program, double *took_ns, double *measured_ns)
{
	char frame[64] = {0};

	*took_ns = *measured_ns = 0;
	for (int i = 0; i < ROUNDS; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
			    .data_size_in = sizeof(frame), .repeat = REPEATS);
		struct counters before, after;
		double measured;
		int err = count(&program, 1, &before);

		if (!err)
			err = bpf_prog_test_run_opts(program, &opts);
		if (!err)
			err = count(&program, 1, &after);
		if (err)
			return err;
		measured = (double)(after.ns - before.ns) / REPEATS;
		if (!i || opts.duration < *took_ns)
			*took_ns = opts.duration;
		if (!i || measured < *measured_ns)
			*measured_ns = measured;
	}
	return 0;
}

static int calibrate(int program, struct statistics_own *out, struct error *error)
{
	double off, on, none;
	int err = run_rounds(program, &off, &none), fd;

	if (!err) {
		fd = turn_on(error);
		if (fd < 0)
			return fd;
		err = run_rounds(program, &on, &out->measured_ns);
		close(fd);
	}
	if (err)
		return error__set(error, err, "an empty program cannot be run: %s", strerror(-err));
	out->added_ns = on > off ? on - off : 0;
	return 0;
}

int statistics__calibrate(struct statistics_own *out, struct error *error)
{
	static const struct bpf_insn nothing[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int program = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "perilune_nothing", "GPL", nothing,
				    sizeof(nothing) / sizeof(*nothing), NULL);
	int err;

	if (program < 0)
		return error__set(error, program, "an empty program does not load: %s",
				  strerror(-program));
	err = calibrate(program, out, error);
	close(program);
	return err;
}

static bool is_over(const struct statistics_until *until, const struct statistics_span *span)
{
	if (span->seconds >= until->most_s || (until->stop && *until->stop))
		return true;
	return span->seconds >= until->least_s && span->runs >= until->runs;
}

int statistics__span(const int *programs, size_t n, const struct statistics_until *until,
		     const struct statistics_own *own, struct statistics_span *out,
		     struct error *error)
{
	struct timespec look = {.tv_nsec = LOOK_NS};
	struct counters first, now = {0};
	double start, own_ns, quiet_s = 0;
	int fd, err;

	*out = (struct statistics_span){0};
	fd = turn_on(error);
	if (fd < 0)
		return fd;
	start = seconds_now();
	err = count(programs, n, &first);
	while (!err && !is_over(until, out)) {
		nanosleep(&look, NULL);
		err = count(programs, n, &now);
		if (!out->runs)
			quiet_s = out->seconds;
		out->now_s = seconds_now();
		out->seconds = out->now_s - start;
		out->runs = now.runs - first.runs;
		if (!out->runs && look.tv_nsec < LOOK_MOST_NS)
			look.tv_nsec += look.tv_nsec / 4;
	}
	out->busy_s = out->seconds - quiet_s;
	close(fd);
	if (err)
		return error__set(error, err, "reading a program's statistics failed: %s",
				  strerror(-err));
	own_ns = own->measured_ns * (double)out->runs;
	out->ns = (double)(now.ns - first.ns);
	out->ns = out->ns > own_ns ? out->ns - own_ns : 0;
	out->used_s = seconds_used();
	return 0;
}
