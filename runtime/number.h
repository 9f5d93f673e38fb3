/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as text without printf: exact for 64 bits, in no locale, and fast enough for millions of rows.
 */
#ifndef PERILUNE_NUMBER_H
#define PERILUNE_NUMBER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define NUMBER_MAX 20 /* most characters of a 64-bit number, with its sign */

/* Writes the decimal digits of `value` without a NUL; returns how many. */
static inline size_t number__u64(char *out, uint64_t value)
{
	char digits[NUMBER_MAX];
	size_t n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	memcpy(out, digits + n, sizeof(digits) - n);
	return sizeof(digits) - n;
}

static inline size_t number__i64(char *out, int64_t value)
{
	if (value >= 0)
		return number__u64(out, (uint64_t)value);
	*out = '-';
	return 1 + number__u64(out + 1, -(uint64_t)value);
}

/* Exactly `width` digits, with leading zeros; higher digits are dropped. Returns `width`. */
static inline size_t number__digits(char *out, uint64_t value, size_t width)
{
	for (size_t i = width; i > 0; i--) {
		out[i - 1] = (char)('0' + value % 10);
		value /= 10;
	}
	return width;
}

/* Bytes as hex pairs with colons between, 3 × len - 1 characters; returns how many. */
static inline size_t number__hex(char *out, const unsigned char *bytes, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	char *p = out;

	for (size_t i = 0; i < len; i++) {
		if (i)
			*p++ = ':';
		*p++ = hex[bytes[i] >> 4];
		*p++ = hex[bytes[i] & 15];
	}
	return (size_t)(p - out);
}

#endif
