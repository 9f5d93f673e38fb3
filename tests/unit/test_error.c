/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static void set_returns_the_code_and_clears_the_hint(void **state)
{
	struct error error = {0};

	(void)state;
	assert_int_equal(error__set(&error, -ENOENT, "%s: no such file", "x.pcap"), -ENOENT);
	assert_string_equal(error.message, "x.pcap: no such file");
	assert_int_equal(error__hint(&error, -ENOENT, "look in %s", "tests/pcaps"), -ENOENT);
	assert_string_equal(error.hint, "look in tests/pcaps");
	error__set(&error, -EPERM, "not permitted");
	assert_string_equal(error.message, "not permitted");
	assert_string_equal(error.hint, "");
}

static void nobody_listening_is_allowed(void **state)
{
	(void)state;
	assert_int_equal(error__set(NULL, -EIO, "%d", 1), -EIO);
	assert_int_equal(error__hint(NULL, -EIO, "%d", 1), -EIO);
}

static void long_texts_are_cut_and_terminated(void **state)
{
	struct error error;
	char text[4096];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error__set(&error, -EINVAL, "%s", text);
	assert_int_equal(strlen(error.message), sizeof(error.message) - 1);
	error__hint(&error, -EINVAL, "%s", text);
	assert_int_equal(strlen(error.hint), sizeof(error.hint) - 1);
}

static void names_are_symbolic_for_both_signs(void **state)
{
	(void)state;
	assert_string_equal(error__name(ENOENT), "ENOENT");
	assert_string_equal(error__name(-ENOENT), "ENOENT");
	assert_string_equal(error__name(-EAGAIN), "EAGAIN");
	assert_string_equal(error__name(99999), "E?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_returns_the_code_and_clears_the_hint),
		cmocka_unit_test(nobody_listening_is_allowed),
		cmocka_unit_test(long_texts_are_cut_and_terminated),
		cmocka_unit_test(names_are_symbolic_for_both_signs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
