/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one description of a record, made from BTF.
 *
 * A record is a map entry as extract lays it out: the key, padded to 8 bytes, then the value, padded to 8 bytes. From
 * its field table come the Lua views, the JSON writer and every other reader.
 */
#ifndef PERILUNE_LAYOUT_H
#define PERILUNE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "error.h"

struct btf;

enum field_kind {
	FIELD_UINT,    /* unsigned integer of 1, 2, 4 or 8 bytes */
	FIELD_INT,     /* signed integer */
	FIELD_BE_UINT, /* unsigned integer in network order: typedef __be16, __be32, __be64 */
	FIELD_BOOL,
	FIELD_ENUM,    /* an integer with names */
	FIELD_ADDRESS, /* struct ip_addr: 16 bytes, IPv4 as ::ffff:a.b.c.d */
	FIELD_TIME,    /* typedef wall_ns: ns since the epoch */
	FIELD_TEXT,    /* char[size], ends at the first NUL */
	FIELD_BYTES,   /* anything else, as it lies */
};

struct field {
	const char *name; /* nested ones as "outer.inner" */
	enum field_kind kind;
	uint32_t offset; /* bytes from the record's start */
	uint32_t size;	 /* bytes of one element */
	uint32_t count;	 /* elements; 1 for a scalar, otherwise an array of that many */
	bool key;	 /* lies in the key */
	uint32_t type;	 /* BTF type id, for enum names */
};

struct layout {
	const struct field
		*fields; /* key first, in declaration order; padding (pad…, _…) left out */
	size_t nfields;
	uint32_t key_size;     /* bytes of the map's key */
	uint32_t value_size;   /* bytes of the map's value */
	uint32_t value_offset; /* key_size rounded up to 8 */
	uint32_t stride;       /* bytes of a record */
	uint64_t hash;	       /* of everything above: equal layouts have equal hashes */
	const struct btf *btf; /* borrowed; must outlive the layout */
};

/*
 * A key type of 0 means "an index": a field `index` of 4 bytes. A key or value that is no struct is one field,
 * `key` or `value`; a value field that has the name of a key's is called "value.<name>"; a value type of 0 is
 * bytes. A type that has no kind of its own is FIELD_BYTES, never an error. -EINVAL when the types do not have
 * those sizes, -E2BIG for too many fields.
 */
int layout__new(const struct btf *btf, uint32_t key_type, uint32_t key_size, uint32_t value_type,
		uint32_t value_size, struct layout **out, struct error *error);
void layout__free(struct layout *layout);

/* The field of this name, or NULL. */
const struct field *layout__field(const struct layout *layout, const char *name);

/* The name an enum's value has, or NULL. */
const char *layout__enum_name(const struct layout *layout, const struct field *field,
			      int64_t value);

/* Whether an enum's values are signed. */
bool layout__enum_signed(const struct layout *layout, const struct field *field);

/* The value an enum's name has. -ENOENT when there is no such name. */
int layout__enum_value(const struct layout *layout, const struct field *field, const char *name,
		       int64_t *out);

/*
 * LuaJIT cdef of a packed struct `perilune_<hash>` that holds every scalar integer field at its offset under the name
 * "f<n>" (n: index in `fields`, from 0), bytes and addresses as `uint8_t f<n>[size*count]`, with explicit padding between;
 * its size is `stride`. A field that lies over an earlier one (bitfields) is left out.
 */
int layout__cdef(const struct layout *layout, struct buf *out);

/* Adds each integer field in host order that is not part of the key from `value` into `into` (both start at the value, as the map
 * holds it, per-CPU values apart): the fold of per-CPU values. Other fields: the first value that is not zero wins;
 * FIELD_TIME: the latest, but the earliest that is not zero for a field named "first". */
void layout__fold(const struct layout *layout, void *into, const void *value);

/* Text of an address field (16 bytes) into `out` of at least 46 bytes; of a time into at least 36. */
void layout__address_text(const uint8_t *octets, char *out);
void layout__time_text(uint64_t wall_ns, char *out);

/* The value of an integer element, extended, in host order; 0 for the kinds that are not numbers. */
uint64_t layout__number(const struct layout *layout, const struct field *field,
			const unsigned char *bytes);

/* Appends a field's value (size × count bytes) as people read it; elements of an array with spaces between. */
int layout__text(const struct layout *layout, const struct field *field, const unsigned char *bytes,
		 struct buf *out);

/* The other way, for addresses, bytes, text and names of enums: writes size bytes. -EINVAL when `text` is no
 * such value or the field is another kind or an array. */
int layout__parse(const struct layout *layout, const struct field *field, const char *text,
		  unsigned char *bytes);

#endif
