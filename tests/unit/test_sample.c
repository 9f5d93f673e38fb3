/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sampler that packets meet (bpf/sample.h), run here on a million packets: whether what it counts stands for all of them.
 */
#define _GNU_SOURCE
#include <linux/types.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* What of the other headers it takes. */
#define SEC(NAME)
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_PSH = 8, TCP_ACK = 16 };
struct packet {
	__u8 tcp_flags;
	__u32 weight;
};
static inline void *scratch__value(void *map)
{
	return map;
}
#include "../../bpf/sample.h"

#define PACKETS 1000000

static const struct packet plain = {.tcp_flags = TCP_ACK};

/* The estimate of `packets` packets at a rate. */
static uint64_t estimate(struct sampler *sampler, uint32_t one_in, uint32_t packets, bool fixed)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < packets; i++)
		sum += sample__weight(sampler, &plain, one_in, fixed);
	return sum;
}

static void is_right_on_average(void **state)
{
	static const uint32_t rates[] = {1, 2, 3, 10, 64, 1000, 10000};

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
		struct sampler fixed = {.seed = 1}, live = {.seed = 2};
		double taken = (double)PACKETS / rates[i];
		/* The deviation of a count of renewals is that of its gaps: a third of their square. Five of it is one in two
		 * million. */
		double bound = 5 * sqrt(taken / 3) / taken + 1 / taken;

		assert_true(fabs((double)estimate(&fixed, rates[i], PACKETS, true) / PACKETS - 1) <
			    bound);
		assert_true(fabs((double)estimate(&live, rates[i], PACKETS, false) / PACKETS - 1) <
			    bound);
	}
}

/* At one in one, nothing is left out and nothing counted twice. */
static void is_exact_when_it_takes_all(void **state)
{
	struct sampler sampler = {0};

	(void)state;
	assert_int_equal(estimate(&sampler, 1, PACKETS, false), PACKETS);
	estimate(&sampler, 1024, 10000, false);
	assert_int_equal(estimate(&sampler, 1, PACKETS, false), PACKETS);
}

/* Also right behind a change: over many samplers, each of them asked for a short while only. */
static void has_no_bias_behind_a_change(void **state)
{
	static const uint32_t steps[][2] = {{1, 64}, {4, 64}, {64, 4}, {1024, 8}, {8, 1024}};

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		uint32_t before = steps[i][0], after = steps[i][1], rounds = 200000;
		struct sampler sampler = {.seed = 7};
		double sum = 0, packets = 0, squares = 0;

		for (uint32_t r = 0; r < rounds; r++) {
			double got;

			estimate(&sampler, before, 1 + r % (2 * before), false);
			got = (double)estimate(&sampler, after, 20, false);
			sum += got;
			squares += got * got;
			packets += 20;
		}
		squares = sqrt((squares / rounds - (sum / rounds) * (sum / rounds)) / rounds);
		assert_true(fabs((sum - packets) / rounds) < 5 * squares);
	}
}

static void has_no_bias_at_its_begin(void **state)
{
	double sum = 0, packets = 0;

	(void)state;
	for (uint32_t seed = 0; seed < 200000; seed++) {
		struct sampler sampler = {.seed = seed * 2654435761U};

		sum += (double)estimate(&sampler, 100, 50, seed & 1);
		packets += 50;
	}
	assert_true(fabs(sum / packets - 1) < 0.02);
}

static void keeps_how_connections_begin_and_end(void **state)
{
	static const __u8 kept[] = {TCP_SYN, TCP_SYN | TCP_ACK, TCP_FIN | TCP_ACK, TCP_RST,
				    TCP_FIN | TCP_PSH | TCP_ACK};
	struct sampler sampler = {0};

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		const struct packet p = {.tcp_flags = kept[i % sizeof(kept)]};

		assert_int_equal(sample__weight(&sampler, &p, 1000, i & 1), 1);
	}
	assert_int_equal(sampler.seed, 0); /* and they do not move the others */
}

static void is_thinned_up_to_its_most(void **state)
{
	(void)state;
	assert_int_equal(sample__rate(10, 0, 3), 10);
	assert_int_equal(sample__rate(10, 2, 3), 40);
	assert_int_equal(sample__rate(10, 3, 3), 80);
	assert_int_equal(sample__rate(10, 9, 3), 80);
	assert_int_equal(sample__rate(1000000, 31, 10), 1024000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_right_on_average),
		cmocka_unit_test(is_exact_when_it_takes_all),
		cmocka_unit_test(has_no_bias_behind_a_change),
		cmocka_unit_test(has_no_bias_at_its_begin),
		cmocka_unit_test(keeps_how_connections_begin_and_end),
		cmocka_unit_test(is_thinned_up_to_its_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
