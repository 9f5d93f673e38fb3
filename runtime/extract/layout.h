/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one description of a record, made from BTF.
 *
 * A record is a map entry as extract lays it out: the key, padded to 8 bytes, then the value, padded to 8 bytes; of a per-CPU
 * map that is not folded, all CPUs' values one after the other, each padded to 8 bytes. From its field table come the Lua
 * views, the JSON writer and every other reader.
 *
 * Structs and unions are flattened: each member that is no struct is a field, called by its path ("outer.inner"); every member
 * of a union is one. An array gives its field a dimension; an array of structs gives one to every field in it.
 */
#ifndef PERILUNE_LAYOUT_H
#define PERILUNE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct btf;

enum field_kind {
	FIELD_UINT,	/* unsigned integer of 1, 2, 4, 8 or 16 bytes, or a bitfield */
	FIELD_INT,	/* signed integer, or a bitfield */
	FIELD_BE_UINT,	/* unsigned integer in network order: typedef __be16, __be32, __be64 */
	FIELD_BOOL,	/* also a bitfield */
	FIELD_FLOAT,	/* IEEE 754 of 4 or 8 bytes */
	FIELD_ENUM,	/* an integer of 1 to 8 bytes with names, or a bitfield */
	FIELD_POINTER,	/* an address in memory, 8 bytes */
	FIELD_ADDRESS,	/* 16 bytes: an IPv6 address, or IPv4 as ::ffff:a.b.c.d */
	FIELD_IPV4,	/* 4 bytes in network order */
	FIELD_PROTOCOL, /* an unsigned integer: IANA protocol number */
	FIELD_FLAGS,	/* an unsigned integer whose bits are what it says */
	FIELD_IFINDEX,	/* an unsigned integer of 4 bytes: interface index */
	FIELD_TIME,	/* 8 bytes: ns since the epoch */
	FIELD_TEXT,	/* char[size], ends at the first NUL */
	FIELD_BYTES,	/* u8[size] (a MAC address is six), and anything else, as it lies */
};

/* How the values of several CPUs become one. A CPU whose whole value is zero has nothing to say. */
enum field_fold {
	FOLD_SUM, /* integers in host order, floats: wraps as the type does */
	FOLD_MIN, /* integers, floats, times; a time of 0 is none */
	FOLD_MAX,
	FOLD_LAST, /* what the last CPU says whose field is not zero; the only one for names, addresses, text, bytes */
};

#define LAYOUT_DIMS 8 /* most dimensions of a field; what is deeper is bytes */

struct field_dim {
	uint32_t count;
	uint32_t stride; /* bytes from one element to the next */
	uint32_t
		level; /* how many parts of the path come before it: x[4].y → 1; all CPUs' values → 0 */
};

struct field {
	const char *
		name; /* path; unique in the layout: "value.x" for an x of the value when the key has one too */
	const char *
		path; /* as declared: names of members with dots between; "" when key or value is no struct */
	enum field_kind kind;
	enum field_fold fold;
	bool key;	 /* lies in the key */
	bool is_signed;	 /* FIELD_INT, and enums with negative values */
	bool alias;	 /* a member of a union that is not its first; folds leave it alone */
	uint8_t bit;	 /* bitfields: the lowest bit, of the byte at `offset`, 0 to 7 */
	uint8_t bits;	 /* bitfields: how many, 1 to 64; 0: not a bitfield */
	uint32_t offset; /* bytes from the record's start to the first element */
	uint32_t size;	 /* bytes of one element; of a bitfield, those it touches, 1 to 9 */
	uint32_t count;	 /* elements in all dimensions together; 1 for a scalar */
	uint32_t ndims;
	struct field_dim dims[LAYOUT_DIMS]; /* outermost first */
	const struct layout_names *names;   /* of an enum's values */
};

struct layout {
	const struct field *
		fields; /* key first, in declaration order; padding (pad, _pad2, __padding …) left out */
	size_t nfields;
	uint32_t key_size;	    /* bytes of the map's key; 0 when it has none */
	uint32_t value_size;	    /* bytes of the map's value, of one CPU */
	uint32_t value_offset;	    /* key_size rounded up to 8 */
	uint32_t cpus;		    /* values in a record; 1 unless per-CPU values are kept apart */
	uint32_t stride;	    /* bytes of a record */
	uint64_t hash;		    /* of everything above: equal layouts have equal hashes */
	struct layout_names *names; /* what the fields' `names` point to */
	struct json_plan **json;    /* json.c's, one of each form, made at its first use */
};

/* What a map says about its entries. */
struct layout_spec {
	const struct btf *btf; /* needed only during the call; may be NULL when both types are 0 */
	uint32_t
		key_type; /* 0: "an index" when the key has 4 bytes and `index` is set, bytes otherwise */
	uint32_t key_size;   /* 0: there is no key */
	uint32_t value_type; /* 0: bytes */
	uint32_t value_size;
	bool index; /* the key of an array: a field `index` */
	uint32_t
		cpus; /* values in a record, when per-CPU values are kept apart; 0 or 1: one value */
};

/*
 * A key or value that is no struct is one field, `key` or `value`. A type that has no kind of its own is FIELD_BYTES, never an
 * error. -EINVAL when the types do not have those sizes, -E2BIG for too many fields (4096).
 */
int layout__new(const struct layout_spec *spec, struct layout **out, struct error *error);
void layout__free(struct layout *layout);

/* The field of this name, or NULL. */
const struct field *layout__field(const struct layout *layout, const char *name);

/* -ENOENT: there is no such field; -EINVAL: that fold makes no sense for its kind, or it is part of the key. */
int layout__set_fold(struct layout *layout, const char *name, enum field_fold fold);
/* "sum", "min", "max", "last"; -EINVAL for another word. */
int layout__fold_by_name(const char *name, enum field_fold *out);

/* Bytes from the record's start to element number `index` of `count`. */
size_t layout__element(const struct field *field, uint32_t index);

/* The name an enum's value has, or NULL. `len` may be NULL. */
const char *layout__enum_name(const struct field *field, int64_t value, size_t *len);
/* The value an enum's name has. -ENOENT when there is no such name. */
int layout__enum_value(const struct field *field, const char *name, int64_t *out);

/*
 * Folds the values of `cpus` CPUs, each `slot` bytes after the one before, into one of value_size bytes at `into`.
 */
void layout__fold(const struct layout *layout, void *into, const void *values, size_t slot,
		  size_t cpus);

/* The same of two whole records of one key, with all the CPUs' values that are in them: folds `more` into `record`. */
void layout__fold_record(const struct layout *layout, unsigned char *record,
			 const unsigned char *more);

/* The value of an integer element of at most 8 bytes, extended, in host order; 0 for the kinds that are not integers. */
uint64_t layout__number(const struct field *field, const unsigned char *element);
/* The same of any integer, also of 16 bytes. */
unsigned __int128 layout__wide_number(const struct field *field, const unsigned char *element);
double layout__float(const struct field *field, const unsigned char *element);

/* Text of an address (16 bytes) into `out` of at least 46 bytes; of a time into at least 36. */
void layout__address_text(const uint8_t *octets, char *out);
void layout__time_text(uint64_t wall_ns, char *out);
/* The IANA keyword of a protocol in lower case ("tcp"), or NULL. */
const char *layout__protocol_name(uint64_t protocol);

/* Appends a field of a record as people read it; elements of an array with spaces between. */
int layout__text(const struct field *field, const unsigned char *record, struct buf *out);
/* The same of an element that lies elsewhere. */
int layout__element_text(const struct field *field, const unsigned char *element, struct buf *out);

/*
 * The other way, for addresses, bytes, text, flags and names of enums, protocols and interfaces: writes `size` bytes. -EINVAL when `text`
 * is no such value or the field is another kind, a bitfield or an array.
 */
int layout__parse(const struct field *field, const char *text, unsigned char *bytes);

#endif
