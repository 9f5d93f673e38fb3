/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as text without printf: exact for 64 bits, in no locale, and fast enough for millions of rows.
 */
#ifndef PERILUNE_NUMBER_H
#define PERILUNE_NUMBER_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 20	   /* most characters of a 64-bit number, with its sign */
#define NUMBER_WIDE_MAX 40 /* of any number here */

/* How many decimal digits it has. */
static inline size_t number__length(uint64_t value)
{
	static const uint64_t powers[] = {
		1ULL,
		10ULL,
		100ULL,
		1000ULL,
		10000ULL,
		100000ULL,
		1000000ULL,
		10000000ULL,
		100000000ULL,
		1000000000ULL,
		10000000000ULL,
		100000000000ULL,
		1000000000000ULL,
		10000000000000ULL,
		100000000000000ULL,
		1000000000000000ULL,
		10000000000000000ULL,
		100000000000000000ULL,
		1000000000000000000ULL,
		10000000000000000000ULL,
	};
	size_t least = (size_t)(64 - __builtin_clzll(value | 1)) * 1233 >> 12; /* log 2 */

	return least + (value >= powers[least] || !least);
}

/* Writes the decimal digits of `value` without a NUL; returns how many. */
static inline size_t number__u64(char *out, uint64_t value)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324"
				    "25262728293031323334353637383940414243444546474849"
				    "50515253545556575859606162636465666768697071727374"
				    "75767778798081828384858687888990919293949596979899";
	size_t len = number__length(value), n = len;

	while (value >= 100) {
		n -= 2;
		memcpy(out + n, pairs + value % 100 * 2, 2);
		value /= 100;
	}
	if (value >= 10)
		memcpy(out, pairs + value * 2, 2);
	else
		*out = (char)('0' + value);
	return len;
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

/* 128 bits: 19 digits at a time. */
static inline size_t number__wide(char *out, unsigned __int128 value, bool is_signed)
{
	const uint64_t step = 10000000000000000000ULL; /* 10^19 */
	size_t n = 0;

	if (is_signed && (__int128)value < 0) {
		*out = '-';
		return 1 + number__wide(out + 1, -value, false);
	}
	if (value >= step) {
		n = number__wide(out, value / step, false);
		return n + number__digits(out + n, (uint64_t)(value % step), 19);
	}
	return number__u64(out, (uint64_t)value);
}

/* The fewest digits that read back the same; "nan", "inf", "-inf" for what is no number. */
static inline size_t number__float(char *out, double value, bool narrow)
{
	int digits = narrow ? 6 : 15, most = narrow ? 9 : 17, len;
	char text[NUMBER_WIDE_MAX];

	if (isnan(value)) /* in C, its sign may show */
		return (size_t)(stpcpy(out, "nan") - out);
	if (fabs(value) < (narrow ? (double)FLT_MIN : DBL_MIN))
		digits = 1; /* subnormal: has fewer digits than others */
	do {
		double back;

		len = snprintf(text, sizeof(text), "%.*g", digits, value);
		back = narrow ? (double)strtof(text, NULL) : strtod(text, NULL);
		if (back == value)
			break;
	} while (++digits <= most);
	memcpy(out, text, (size_t)len);
	return (size_t)len;
}

/* An address in memory: 0x and hex digits. */
static inline size_t number__pointer(char *out, uint64_t value)
{
	char text[NUMBER_WIDE_MAX];
	int len = snprintf(text, sizeof(text), "0x%llx", (unsigned long long)value);

	memcpy(out, text, (size_t)len);
	return (size_t)len;
}

/* Flags, as tshark has them: 0x and at least two hex digits of one byte, at least four of more. */
static inline size_t number__flags(char *out, uint64_t value, size_t size)
{
	static const char hex[] = "0123456789abcdef";
	size_t digits = size == 1 ? 2 : 4;

	while (digits < 16 && value >> (4 * digits))
		digits++;
	out[0] = '0';
	out[1] = 'x';
	for (size_t i = 0; i < digits; i++)
		out[2 + i] = hex[value >> (4 * (digits - 1 - i)) & 15];
	return 2 + digits;
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
