/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the generated readers (NUMBER.host.c) and the harness share.
 *
 * A reader prints each value of a key or value, as the compiler reads it, in a line `C PATH KIND VALUE`, by tabs. Text and octets are
 * printed as hex, so that how they are shown is left to who compares.
 */
#ifndef PERILUNE_TESTS_LAYOUT_READER_H
#define PERILUNE_TESTS_LAYOUT_READER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <linux/types.h>

#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif

struct reader {
	FILE *out;
	const char *prefix; /* of every path: "key", "value", "values[3]" */
};

struct layout_case {
	const char *map;
	int per_cpu;
	size_t key_size;
	void (*fill_key)(void *); /* NULL: an array's index */
	void (*print_key)(struct reader *, const void *);
	size_t value_size;
	void (*fill_value[2])(void *); /* on CPUs of even, of odd number */
	void (*print_value)(struct reader *, const void *);
};

static inline void reader__start(struct reader *r, const char *kind, const char *path, va_list args)
{
	fprintf(r->out, "C\t%s", r->prefix);
	vfprintf(r->out, path, args);
	fprintf(r->out, "\t%s\t", kind);
}

#define READER__START(kind)                                                                        \
	do {                                                                                       \
		va_list args;                                                                      \
		va_start(args, path);                                                              \
		reader__start(r, kind, path, args);                                                \
		va_end(args);                                                                      \
	} while (0)

static inline void reader__digits(struct reader *r, unsigned __int128 value)
{
	fprintf(r->out, "0x%llx%016llx\n", (unsigned long long)(value >> 64),
		(unsigned long long)value);
}

__attribute__((format(printf, 3, 4))) static inline void reader__uint(struct reader *r,
								      unsigned __int128 value,
								      const char *path, ...)
{
	READER__START("int");
	reader__digits(r, value);
}

__attribute__((format(printf, 3, 4))) static inline void reader__int(struct reader *r,
								     __int128 value,
								     const char *path, ...)
{
	READER__START("int");
	if (value < 0)
		fputc('-', r->out);
	reader__digits(r, value < 0 ? -(unsigned __int128)value : (unsigned __int128)value);
}

__attribute__((format(printf, 4, 5))) static inline void reader__enum(struct reader *r,
								      __int128 value,
								      const char *name,
								      const char *path, ...)
{
	READER__START(name ? "name" : "int");
	if (name) {
		fprintf(r->out, "%s\n", name);
		return;
	}
	if (value < 0)
		fputc('-', r->out);
	reader__digits(r, value < 0 ? -(unsigned __int128)value : (unsigned __int128)value);
}

#define READER__NUMBER(word)                                                                       \
	__attribute__((format(printf, 3, 4))) static inline void reader__##word(                   \
		struct reader *r, unsigned long value, const char *path, ...)                      \
	{                                                                                          \
		READER__START(#word);                                                              \
		reader__digits(r, value);                                                          \
	}
READER__NUMBER(bool)
READER__NUMBER(pointer)
READER__NUMBER(time)
READER__NUMBER(proto)
READER__NUMBER(flags8) /* of one octet */
READER__NUMBER(flags)
READER__NUMBER(ifindex)

static inline void reader__hex(struct reader *r, const unsigned char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		fprintf(r->out, "%02x", bytes[i]);
	fputc('\n', r->out);
}

#define READER__BYTES(word)                                                                        \
	__attribute__((format(printf, 4, 5))) static inline void reader__##word(                   \
		struct reader *r, const void *bytes, size_t size, const char *path, ...)           \
	{                                                                                          \
		READER__START(#word);                                                              \
		reader__hex(r, bytes, size);                                                       \
	}
READER__BYTES(text)
READER__BYTES(bytes)

#define READER__OCTETS(word, size)                                                                 \
	__attribute__((format(printf, 3, 4))) static inline void reader__##word(struct reader *r,  \
										const void *bytes, \
										const char *path,  \
										...)               \
	{                                                                                          \
		READER__START(#word);                                                              \
		reader__hex(r, bytes, size);                                                       \
	}
READER__OCTETS(address, 16)
READER__OCTETS(ipv4, 4)
READER__OCTETS(mac, 6)

/* Its bits: what number they are is for who compares. */
__attribute__((format(printf, 4, 5))) static inline void reader__float(struct reader *r,
								       const void *bytes, int bits,
								       const char *path, ...)
{
	READER__START(bits == 32 ? "float" : "double");
	reader__hex(r, bytes, (size_t)bits / 8);
}

#endif
