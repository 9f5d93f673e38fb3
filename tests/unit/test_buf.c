/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void an_empty_buffer_owns_nothing(void **state)
{
	struct buf buf;

	(void)state;
	buf__init(&buf, 10);
	assert_null(buf.data);
	assert_int_equal(buf.len, 0);
	buf__clear(&buf);
	buf__free(&buf);
	buf__free(NULL);
}

static void what_is_appended_stays_terminated(void **state)
{
	struct buf buf;

	(void)state;
	buf__init(&buf, 100);
	assert_int_equal(buf__append(&buf, "", 0), 0);
	assert_string_equal(buf.data, "");
	assert_int_equal(buf__append(&buf, "ab\0c", 4), 0);
	assert_int_equal(buf.len, 4);
	assert_memory_equal(buf.data, "ab\0c", 5);
	buf__clear(&buf);
	assert_int_equal(buf__puts(&buf, "window "), 0);
	assert_int_equal(buf__printf(&buf, "%d of %s", 7, "nine"), 0);
	assert_string_equal(buf.data, "window 7 of nine");
	assert_int_equal(buf.len, strlen(buf.data));
	buf__free(&buf);
}

static void the_ceiling_holds_and_a_refusal_changes_nothing(void **state)
{
	struct buf buf;

	(void)state;
	buf__init(&buf, 8);
	assert_int_equal(buf__puts(&buf, "12345678"), 0);
	assert_int_equal(buf__puts(&buf, "9"), -EMSGSIZE);
	assert_int_equal(buf__printf(&buf, "%d", 9), -EMSGSIZE);
	assert_int_equal(buf__reserve(&buf, SIZE_MAX), -EMSGSIZE);
	assert_int_equal(buf__puts(&buf, ""), 0);
	assert_string_equal(buf.data, "12345678");
	buf__clear(&buf);
	assert_int_equal(buf__puts(&buf, "123456789"), -EMSGSIZE);
	assert_string_equal(buf.data, "");
	buf__free(&buf);
}

static void it_grows_as_far_as_it_has_to(void **state)
{
	struct buf buf;
	size_t i;

	(void)state;
	buf__init(&buf, 100000);
	for (i = 0; i < 100000; i++)
		assert_int_equal(buf__append(&buf, &(char){(char)('a' + i % 26)}, 1), 0);
	assert_int_equal(buf.len, 100000);
	assert_int_equal(strlen(buf.data), 100000);
	for (i = 0; i < 100000; i++)
		assert_int_equal(buf.data[i], 'a' + (int)(i % 26));
	assert_int_equal(buf__puts(&buf, "x"), -EMSGSIZE);
	buf__free(&buf);
}

static void reserved_room_can_be_written_by_the_caller(void **state)
{
	struct buf buf;

	(void)state;
	buf__init(&buf, 1000);
	assert_int_equal(buf__puts(&buf, "a"), 0);
	assert_int_equal(buf__reserve(&buf, 500), 0);
	assert_true(buf.cap > 501);
	memset(buf.data + buf.len, 'b', 500);
	buf.len += 500;
	assert_int_equal(buf__puts(&buf, "c"), 0);
	assert_int_equal(buf.len, 502);
	assert_int_equal(buf.data[500], 'b');
	assert_int_equal(buf.data[501], 'c');
	buf__free(&buf);
}

static void it_can_be_used_again(void **state)
{
	struct buf buf;

	(void)state;
	buf__init(&buf, 10);
	assert_int_equal(buf__puts(&buf, "one"), 0);
	buf__free(&buf);
	assert_null(buf.data);
	assert_int_equal(buf__puts(&buf, "0123456789"), 0);
	assert_int_equal(buf__puts(&buf, "x"), -EMSGSIZE);
	buf__free(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_buffer_owns_nothing),
		cmocka_unit_test(what_is_appended_stays_terminated),
		cmocka_unit_test(the_ceiling_holds_and_a_refusal_changes_nothing),
		cmocka_unit_test(it_grows_as_far_as_it_has_to),
		cmocka_unit_test(reserved_room_can_be_written_by_the_caller),
		cmocka_unit_test(it_can_be_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
