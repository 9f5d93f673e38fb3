/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * tls: ClientHellos of TLS over TCP (RFC 8446, 5246, 6101, and SSL 2's), on any port. A packet holds one when its payload begins with a
 * handshake record whose message is a ClientHello, or with a change_cipher_spec record in front of that. Nothing is put together: of a
 * hello that goes on in a later segment or record, what is here is read (`cut`); what is sent again counts again.
 *
 * rows + other = ClientHellos. One whose lengths cannot be is `broken`, and what stands behind that is not read.
 */

#define TLS_SNI 256	  /* bytes that are read; names have at most 255 */
#define TLS_ALPN 32	  /* of the first protocol */
#define TLS_SUITES 256	  /* cipher suites that are looked at; those behind count as offered */
#define TLS_LISTED 32	  /* of them listed by the feature `ciphers` */
#define TLS_VERSIONS 16	  /* of supported_versions that are looked at */
#define TLS_EXTENSIONS 64 /* extensions that are looked at */

#ifndef TLS_NAMES
#define TLS_NAMES
enum tls_version {
	no_version = 0,
	ssl2 = 0x0002,
	ssl3 = 0x0300,
	tls1_0 = 0x0301,
	tls1_1 = 0x0302,
	tls1_2 = 0x0303,
	tls1_3 = 0x0304,
};

enum {
	TLS_CHANGE_CIPHER_SPEC = 20, /* types of records */
	TLS_HANDSHAKE = 22,
	TLS_CLIENT_HELLO = 1, /* types of handshake messages */
	TLS_SERVER_HELLO = 2,
	TLS_SERVER_NAME = 0, /* extensions */
	TLS_PROTOCOLS = 16,
	TLS_SUPPORTED_VERSIONS = 43,
};

/* 0x0a0a, 0x1a1a … 0xfafa, which clients strew in so that servers learn to ignore what they do not know (RFC 8701). */
static __always_inline bool tls__grease(__u16 value)
{
	return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

/* Eight characters, those from A to Z in lower case. */
static __always_inline __u64 tls__lower(__u64 word)
{
	__u64 low = word & 0x7f7f7f7f7f7f7f7fULL;
	__u64 from_a = low + 0x3f3f3f3f3f3f3f3fULL, behind_z = low + 0x2525252525252525ULL;

	return word | (((from_a ^ behind_z) & ~word & 0x8080808080808080ULL) >> 2);
}

/* The lower four bits as a hex digit. */
static __always_inline char tls__hex(__u32 digit)
{
	digit &= 15;
	return digit + '0' + (((9 - digit) >> 31) * ('a' - '0' - 10));
}

static __always_inline bool tls__alphanumeric(__u8 c)
{
	return (__u8)(c - '0') < 10 || (__u8)((c | 0x20) - 'a') < 26;
}
#endif

struct NAME(key) {
#include <key_members.h>
#ifdef KEY_client
	struct ip_addr client;
#endif
#ifdef KEY_server
	struct ip_addr server;
#endif
#ifdef KEY_version
	enum tls_version version;
#endif
#ifdef KEY_legacy_version
	enum tls_version legacy_version;
#endif
#ifdef KEY_sni
	char sni[KNOB_sni_bytes];
#endif
#ifdef KEY_alpn
	char alpn[TLS_ALPN];
#endif
#ifdef KEY_ja4
	char ja4[12];
#endif
#ifdef KEY_ciphers
	__u16 ciphers;
#endif
#ifdef KEY_extensions
	__u16 extensions;
#endif
	__u8 ip_version;
} __attribute__((packed, aligned(4)));

struct NAME(value) {
	__u64 packets;
	__u64 cut;
	__u64 broken;
#if defined(FEATURE_hello) && !defined(KEY_sni)
	char sni[KNOB_sni_bytes];
#endif
#if defined(FEATURE_hello) && !defined(KEY_alpn)
	char alpn[TLS_ALPN];
#endif
#if defined(FEATURE_hello) && !defined(KEY_version)
	enum tls_version version;
#endif
#if defined(FEATURE_hello) && !defined(KEY_legacy_version)
	enum tls_version legacy_version;
#endif
#if defined(FEATURE_hello) && !defined(KEY_ciphers)
	__u16 ciphers;
#endif
#if defined(FEATURE_hello) && !defined(KEY_extensions)
	__u16 extensions;
#endif
#if defined(FEATURE_ja4) && !defined(KEY_ja4)
	char ja4[12];
#endif
#ifdef FEATURE_ciphers
	char cipher_list[TLS_LISTED][8];
#endif
#ifdef FEATURE_server
	__u64 answers;
	enum tls_version chosen_version;
	char chosen_cipher[8];
#endif
#ifdef FEATURE_timing
	wall_ns first;
	wall_ns last;
#endif
};

/* How a record begins, its message, and that one's body. */
struct NAME(start) {
	__u8 record; /* SSL 2: 0x80 and the length's upper bits */
	__u8 major;
	__u8 minor; /* SSL 2: the message's type */
	__u8 record_length[2];
	__u8 message;
	__u8 length[3];
	__u8 version[2];
};

/* Where an extension's content is in the frame, and how long; 0: there is no such extension. */
struct NAME(extension) {
	__u32 at;
	__u32 size;
};

/*
 * The message at hand. What was read is kept here and not in registers, so that the verifier, which does not follow the memory of
 * maps, sees one state for each step of a loop.
 */
struct NAME(hello) {
	struct NAME(key) key;
	struct NAME(value) fresh;
	__u32 at;	     /* in the frame: what is read next */
	__u32 message;	     /* where it ends, as its length says */
	__u32 end;	     /* where it ends in this packet */
	__u32 suites_length; /* bytes of `suites` that were read */
	__u32 block;	     /* where the extensions end */
	struct NAME(extension) names, protocols, supported;
	__u16 legacy_version;
	__u16 version;
	__u16 ciphers;
	__u16 extensions;
	__u8 alpn_last; /* the last byte of the first protocol */
	bool cut;
	bool broken;
	char alpn[TLS_ALPN];
	__u64 sni[TLS_SNI / 8];
	__u16 suites[TLS_SUITES];     /* as they are on the wire */
	__u16 versions[TLS_VERSIONS]; /* as they are on the wire */
};

WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);
SCRATCH(NAME(hello), struct NAME(hello));

/* The way through a message; `ctx` is the program's, for packet__load. */
struct NAME(walk) {
	struct NAME(hello) * m;
	void *ctx;
};

/* The next bytes of the message; false when it ends before. */
static __always_inline bool NAME(take)(struct NAME(hello) * m, const struct NAME(walk) * p,
				       void *to, const __u32 size)
{
	__u32 at = m->at;

	if (at + size > m->end) {
		if (!m->cut)
			m->broken = true;
		return false;
	}
	if (packet__load(p, at, to, size)) { /* a capture may have cut the frame */
		m->cut = true;
		return false;
	}
	m->at = at + size;
	return true;
}

/* A list of `size` bytes from m->at on: not longer than what it stands in. */
static __always_inline bool NAME(fits)(struct NAME(hello) * m, __u32 size, __u32 end)
{
	if (m->at + size <= end)
		return true;
	m->broken = true;
	return false;
}

/* As much of `size` bytes at `at` as is here and has room, a power of two; how much that is. */
static __always_inline __u32 NAME(copy)(const struct NAME(hello) * m, const struct NAME(walk) * p,
					__u32 at, void *to, __u32 size, const __u32 room)
{
	__u32 here = at < m->end ? m->end - at : 0;

	if (size > here)
		size = here;
	if (size > room)
		size = room;
	if (!size)
		return 0;
	size--;
	barrier_var(size); /* lest the compiler leaves out what the verifier needs */
	size = (size & (room - 1)) + 1;
	return packet__load(p, at, to, size) ? 0 : size;
}

static int NAME(count_suite)(__u32 i, struct NAME(hello) * *of)
{
	struct NAME(hello) *m = *of;

	if (i >= TLS_SUITES || i * 2 >= m->suites_length)
		return 1;
	if (!tls__grease(m->suites[i]))
		m->ciphers++;
	return 0;
}

static __always_inline bool NAME(read_suites)(struct NAME(hello) * m, const struct NAME(walk) * p)
{
	__u32 size, looked;
	__be16 length;

	if (!NAME(take)(m, p, &length, sizeof(length)))
		return false;
	size = bpf_ntohs(length);
	if (!NAME(fits)(m, size, m->message))
		return false;
	looked = NAME(copy)(m, p, m->at, m->suites, size, sizeof(m->suites));
	m->suites_length = looked & ~1U;
	if (size > sizeof(m->suites))
		m->ciphers = (size - sizeof(m->suites)) / 2;
	m->at += size;
	if (size & 1)
		m->broken = true;
	bpf_loop(TLS_SUITES, NAME(count_suite), &m, 0);
	return true;
}

/* Bytes at `at`, which this leaves where it is; false when they are not here. */
static __always_inline bool NAME(peek)(const struct NAME(hello) * m, const struct NAME(walk) * p,
				       __u32 at, void *to, const __u32 size)
{
	return at + size <= m->end && !packet__load(p, at, to, size);
}

/* server_name: a list of names, of which the first is the only one that there is (RFC 6066, 3). */
static __always_inline void NAME(read_name)(struct NAME(hello) * m, const struct NAME(walk) * p)
{
	struct {
		__u8 list[2];
		__u8 type;
		__u8 length[2];
	} name;
	__u32 at = m->names.at, size = m->names.size, length;

	if (size && size < sizeof(name))
		m->broken = true;
	if (size < sizeof(name) || !NAME(peek)(m, p, at, &name, sizeof(name)) || name.type)
		return;
	length = name.length[0] << 8 | name.length[1];
	at += sizeof(name);
	if (length > size - sizeof(name))
		m->broken = true;
	else if (at + length <= m->end)
		NAME(copy)(m, p, at, m->sni, length, sizeof(m->sni));
}

/* application_layer_protocol_negotiation: a list of protocols, the one liked best first (RFC 7301, 3.1). */
static __always_inline void NAME(read_protocol)(struct NAME(hello) * m, const struct NAME(walk) * p)
{
	__u32 at = m->protocols.at, size = m->protocols.size, length;
	__u8 start[3]; /* the list's length and the first protocol's */

	if (size < sizeof(start))
		m->broken = true;
	if (size < sizeof(start) || !NAME(peek)(m, p, at, start, sizeof(start)))
		return;
	length = start[2];
	at += sizeof(start);
	if (length > size - sizeof(start))
		m->broken = true;
	else if (length && NAME(peek)(m, p, at + length - 1, &m->alpn_last, 1))
		NAME(copy)(m, p, at, m->alpn, length, sizeof(m->alpn));
}

static int NAME(see_version)(__u32 i, struct NAME(hello) * *of)
{
	struct NAME(hello) *m = *of;
	__u16 version;

	if (i >= TLS_VERSIONS)
		return 1;
	version = bpf_ntohs(m->versions[i]);
	if (!tls__grease(version) && version > m->version)
		m->version = version;
	return 0;
}

/* supported_versions: a list, of which the highest counts (RFC 8446, 4.2.1). */
static __always_inline void NAME(read_versions)(struct NAME(hello) * m, const struct NAME(walk) * p)
{
	__u32 at = m->supported.at, size = m->supported.size;
	volatile __u16 *highest = &m->version;
	__u8 length;

	if (!size || !NAME(peek)(m, p, at, &length, 1))
		return;
	if (length > size - 1 || length & 1) {
		m->broken = true;
		return;
	}
	at++;
	__builtin_memset(m->versions, 0, sizeof(m->versions));
	if (at + length > m->end || !NAME(copy)(m, p, at, m->versions, length, sizeof(m->versions)))
		return;
	*highest = 0;
	bpf_loop(TLS_VERSIONS, NAME(see_version), &m, 0);
	if (!*highest)
		*highest = m->legacy_version;
}

static __always_inline void NAME(note)(struct NAME(extension) * extension, __u32 at, __u32 size)
{
	extension->at = at;
	extension->size = size;
}

/* Notes the extension at m->at; false behind the last. */
static __always_inline bool NAME(note_extension)(struct NAME(hello) * m,
						 const struct NAME(walk) * p)
{
	__be16 start[2];
	__u32 at, type, size;

	if (m->at == m->block || !NAME(fits)(m, sizeof(start), m->block) ||
	    !NAME(take)(m, p, start, sizeof(start)))
		return false;
	type = bpf_ntohs(start[0]);
	size = bpf_ntohs(start[1]);
	if (!NAME(fits)(m, size, m->block))
		return false;
	at = m->at;
	m->at = at + size;
	if (!tls__grease(type))
		m->extensions++;
	if (type == TLS_SERVER_NAME)
		NAME(note)(&m->names, at, size);
	else if (type == TLS_PROTOCOLS)
		NAME(note)(&m->protocols, at, size);
	else if (type == TLS_SUPPORTED_VERSIONS)
		NAME(note)(&m->supported, at, size);
	return true;
}

static int NAME(step)(__u32 i, struct NAME(walk) * walk)
{
	(void)i;
	return !NAME(note_extension)(walk->m, walk);
}

static __always_inline void NAME(note_extensions)(struct NAME(hello) * m,
						  const struct NAME(walk) * p)
{
	__be16 length;

	if (m->at == m->message || !NAME(take)(m, p, &length, sizeof(length)) ||
	    !NAME(fits)(m, bpf_ntohs(length), m->message))
		return;
	m->block = m->at + bpf_ntohs(length);
	bpf_loop(TLS_EXTENSIONS, NAME(step), (void *)p, 0);
}

/* Moves over a string with its length in front, in one byte. */
static __always_inline bool NAME(skip)(struct NAME(hello) * m, const struct NAME(walk) * p,
				       __u32 most)
{
	__u8 length;

	if (!NAME(take)(m, p, &length, sizeof(length)))
		return false;
	if (length > most)
		m->broken = true;
	m->at += length;
	return !m->broken && NAME(fits)(m, 0, m->message);
}

/* From the ClientHello's session id on. */
static __always_inline void NAME(read_client)(struct NAME(hello) * m, const struct NAME(walk) * p)
{
	if (!NAME(skip)(m, p, 32) || !NAME(read_suites)(m, p) || m->broken ||
	    !NAME(skip)(m, p, 255))
		return;
	NAME(note_extensions)(m, p);
	if (m->names.at)
		NAME(read_name)(m, p);
	if (m->protocols.at)
		NAME(read_protocol)(m, p);
	if (m->supported.at)
		NAME(read_versions)(m, p);
}

/* What is known of the message before it is read: `start` is at `at`. */
static __always_inline void NAME(begin)(struct NAME(hello) * m, const struct packet *p,
					const struct packet *h, const struct NAME(start) * start,
					__u32 at)
{
	__u32 record = at + 5 + (start->record_length[0] << 8 | start->record_length[1]);
	__u8 last;

	m->message = at + 9 + (start->length[1] << 8 | start->length[2]);
	m->end = h->payload + h->payload_len;
	if (m->end > record)
		m->end = record;
	if (m->end > m->message)
		m->end = m->message;
	m->at = at + sizeof(*start) + 32; /* behind random */
	m->legacy_version = start->version[0] << 8 | start->version[1];
	m->version = m->legacy_version;
	m->ciphers = 0;
	m->extensions = 0;
	m->suites_length = 0;
	m->alpn_last = 0;
	NAME(note)(&m->names, 0, 0);
	NAME(note)(&m->protocols, 0, 0);
	NAME(note)(&m->supported, 0, 0);
	/* A capture may have cut the frame. */
	m->cut = m->end < m->message || packet__load(p, m->end - 1, &last, 1);
	m->broken = false;
	__builtin_memset(m->alpn, 0, sizeof(m->alpn));
	__builtin_memset(m->sni, 0, sizeof(m->sni));
}

/*
 * Whether `start` is that of a handshake record with a hello. Other records of an encrypted handshake may look alike in a byte or two,
 * so all that has to be is asked for.
 */
static __always_inline bool NAME(is_hello)(const struct NAME(start) * start, __u8 message)
{
	return start->record == TLS_HANDSHAKE && start->major == 3 && start->minor <= 4 &&
	       start->message == message && !start->length[0] && start->version[0] == 3 &&
	       start->version[1] <= 4;
}

/* SSL 2's hello, in which also clients of SSL 3 and TLS 1 called (RFC 5246, E.2): 0x80, length, 1, version, three lengths. */
static __always_inline bool NAME(begin_ssl2)(struct NAME(hello) * m, const struct packet *p,
					     const struct packet *h,
					     const struct NAME(start) * start, __u32 at)
{
	const __u8 *bytes = (const __u8 *)start;
	__u32 whole = (bytes[0] & 0x7f) << 8 | bytes[1], version = bytes[3] << 8 | bytes[4];
	__u32 suites = bytes[5] << 8 | bytes[6], session = bytes[7] << 8 | bytes[8];
	__u32 challenge = bytes[9] << 8 | bytes[10];

	if (!(bytes[0] & 0x80) || bytes[2] != TLS_CLIENT_HELLO ||
	    (version != ssl2 && (version < ssl3 || version > tls1_3)) || !suites || suites % 3 ||
	    (session && session != 16) || challenge < 16 || challenge > 32 ||
	    whole != 9 + suites + session + challenge)
		return false;
	NAME(begin)(m, p, h, start, at);
	m->message = at + 2 + whole;
	m->cut = h->payload + h->payload_len < m->message;
	m->legacy_version = version;
	m->version = version;
	m->ciphers = suites / 3;
	return true;
}

/* Finds and reads the packet's ClientHello; false when there is none. */
static __always_inline bool NAME(read)(struct NAME(hello) * m, const struct packet *p,
				       const struct packet *h, const struct NAME(start) * start,
				       __u32 at)
{
	if (NAME(is_hello)(start, TLS_CLIENT_HELLO)) {
		struct NAME(walk) walk = {.m = m, .ctx = p->ctx};

		NAME(begin)(m, p, h, start, at);
		NAME(read_client)(m, &walk);
		return true;
	}
	return NAME(begin_ssl2)(m, p, h, start, at);
}

#if defined(FEATURE_ja4) || defined(KEY_ja4)
/*
 * JA4's first part: t, the version, d or i (with or without a server's name), how many ciphers and extensions, up to 99 each, the first
 * and the last character of the first protocol, or hex digits where those are neither letters nor digits.
 */
static __always_inline void NAME(write_ja4)(const struct NAME(hello) * m, char *to)
{
	__u32 version = m->version, ciphers = m->ciphers, extensions = m->extensions;
	__u8 first = m->alpn[0], last = m->alpn_last;

	if (ciphers > 99)
		ciphers = 99;
	if (extensions > 99)
		extensions = 99;
	to[0] = 't';
	to[1] = '0';
	to[2] = '0';
	if (version == ssl2 || version == ssl3) {
		to[1] = 's';
		to[2] = version == ssl2 ? '2' : '3';
	} else if (version >= tls1_0 && version <= tls1_3) {
		to[1] = '1';
		to[2] = '0' + version - tls1_0;
	}
	to[3] = m->names.at ? 'd' : 'i';
	to[4] = '0' + ciphers / 10;
	to[5] = '0' + ciphers % 10;
	to[6] = '0' + extensions / 10;
	to[7] = '0' + extensions % 10;
	to[8] = '0';
	to[9] = '0';
	if (tls__alphanumeric(first) && tls__alphanumeric(last)) {
		to[8] = first;
		to[9] = last;
	} else if (first || last) {
		to[8] = tls__hex(first >> 4);
		to[9] = tls__hex(last);
	}
}
#endif

#if defined(FEATURE_ciphers) || defined(FEATURE_server)
static __always_inline void NAME(write_cipher)(__u16 suite, char *to)
{
	to[0] = '0';
	to[1] = 'x';
	to[2] = tls__hex(suite >> 12);
	to[3] = tls__hex(suite >> 8);
	to[4] = tls__hex(suite >> 4);
	to[5] = tls__hex(suite);
}
#endif

#include <key_fill.h>

static __always_inline void NAME(make_key)(struct NAME(hello) * m, const struct packet *p,
					   const struct packet *h)
{
	NAME(fill_key)(&m->key, p, h);
#ifdef KEY_client
	m->key.client = h->src;
#endif
#ifdef KEY_server
	m->key.server = h->dst;
#endif
#ifdef KEY_version
	m->key.version = m->version;
#endif
#ifdef KEY_legacy_version
	m->key.legacy_version = m->legacy_version;
#endif
#ifdef KEY_sni
	__builtin_memcpy(m->key.sni, m->sni, sizeof(m->key.sni));
#endif
#ifdef KEY_alpn
	__builtin_memcpy(m->key.alpn, m->alpn, sizeof(m->key.alpn));
#endif
#ifdef KEY_ja4
	NAME(write_ja4)(m, m->key.ja4);
#endif
#ifdef KEY_ciphers
	m->key.ciphers = m->ciphers;
#endif
#ifdef KEY_extensions
	m->key.extensions = m->extensions;
#endif
	m->key.ip_version = h->ip_version;
}

#ifdef FEATURE_ciphers
static int NAME(list_cipher)(__u32 i, struct NAME(hello) * *of)
{
	struct NAME(hello) *m = *of;

	if (i >= TLS_LISTED || i * 2 >= m->suites_length)
		return 1;
	NAME(write_cipher)(bpf_ntohs(m->suites[i]), m->fresh.cipher_list[i]);
	return 0;
}
#endif

/* What describes the row's first ClientHello of the window, and stays. */
static __always_inline void NAME(describe)(struct NAME(hello) * m, struct packet *p)
{
	(void)m, (void)p;
#if defined(FEATURE_hello) && !defined(KEY_sni)
	__builtin_memcpy(m->fresh.sni, m->sni, sizeof(m->fresh.sni));
#endif
#if defined(FEATURE_hello) && !defined(KEY_alpn)
	__builtin_memcpy(m->fresh.alpn, m->alpn, sizeof(m->fresh.alpn));
#endif
#if defined(FEATURE_hello) && !defined(KEY_version)
	m->fresh.version = m->version;
#endif
#if defined(FEATURE_hello) && !defined(KEY_legacy_version)
	m->fresh.legacy_version = m->legacy_version;
#endif
#if defined(FEATURE_hello) && !defined(KEY_ciphers)
	m->fresh.ciphers = m->ciphers;
#endif
#if defined(FEATURE_hello) && !defined(KEY_extensions)
	m->fresh.extensions = m->extensions;
#endif
#if defined(FEATURE_ja4) && !defined(KEY_ja4)
	NAME(write_ja4)(m, m->fresh.ja4);
#endif
#ifdef FEATURE_ciphers
	__builtin_memset(m->fresh.cipher_list, 0, sizeof(m->fresh.cipher_list));
	bpf_loop(TLS_LISTED, NAME(list_cipher), &m, 0);
#endif
#ifdef FEATURE_timing
	m->fresh.first = clock__wall(p);
#endif
}

static __always_inline void NAME(count)(struct NAME(value) * value, struct packet *p,
					const struct NAME(hello) * m, const bool shared)
{
	(void)p;
	count__in(shared, value->packets, weighted(p, 1));
	if (m->cut)
		count__in(shared, value->cut, weighted(p, 1));
	if (m->broken)
		count__in(shared, value->broken, weighted(p, 1));
#ifdef FEATURE_timing
	clock__span(value, clock__wall(p));
#endif
}

#ifdef FEATURE_server
struct NAME(connection) {
	struct ip_addr client;
	struct ip_addr server;
	__be16 client_port;
	__be16 server_port;
};

/* The row of a connection's ClientHello, until it is answered. Those that are forgotten are measured no more, but lost to no count. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KNOB_connections);
	__type(key, struct NAME(connection));
	__type(value, struct NAME(key));
} NAME(asked) SEC(".maps");

static __always_inline void NAME(remember)(const struct NAME(hello) * m, const struct packet *h)
{
	struct NAME(connection) connection = {
		.client = h->src,
		.server = h->dst,
		.client_port = h->sport,
		.server_port = h->dport,
	};

	bpf_map_update_elem(&NAME(asked), &connection, &m->key, BPF_ANY);
}

/* A ServerHello counts in the row of its ClientHello, if that is in the same window. */
static __always_inline void NAME(answer)(struct NAME(hello) * m, const struct packet *p,
					 const struct packet *h, const struct NAME(start) * start,
					 __u32 at)
{
	struct NAME(connection) connection = {
		.client = h->dst,
		.server = h->src,
		.client_port = h->dport,
		.server_port = h->sport,
	};
	const struct NAME(key) *key = bpf_map_lookup_elem(&NAME(asked), &connection);
	struct NAME(value) * value;
	__be16 cipher, version;

	if (!key)
		return;
	value = half__find(&NAME(rows), p->half, key);
	if (!value)
		return;
	struct NAME(walk) walk = {.m = m, .ctx = p->ctx};

	NAME(begin)(m, p, h, start, at);
	if (!NAME(skip)(m, &walk, 32) || !NAME(take)(m, &walk, &cipher, sizeof(cipher)))
		return;
	m->at++; /* the compression method */
	NAME(note_extensions)(m, &walk);
	if (m->supported.size == sizeof(version) &&
	    NAME(peek)(m, &walk, m->supported.at, &version, sizeof(version)))
		m->version = bpf_ntohs(version);
	count__shared(value->answers, weighted(p, 1));
	value->chosen_version = m->version;
	NAME(write_cipher)(bpf_ntohs(cipher), value->chosen_cipher);
}
#endif

/* How the handshake record begins that the payload has in front, or behind a change_cipher_spec; where that is, or 0. */
static __always_inline __u32 NAME(find)(struct NAME(start) * start, const struct packet *p,
					const struct packet *h)
{
	__u32 at = h->payload;

	if (h->payload_len < sizeof(*start) || packet__load(p, at, start, sizeof(*start)))
		return 0;
	if (start->record != TLS_CHANGE_CIPHER_SPEC || start->major != 3)
		return at;
	at += 6;
	if (h->payload_len < 6 + sizeof(*start) || packet__load(p, at, start, sizeof(*start)))
		return 0;
	return at;
}

static __always_inline void NAME(on_packet)(struct packet *p)
{
	const struct packet *h = p;
	struct NAME(value) * value;
	struct NAME(hello) * m;
	struct NAME(start) start;
	__u32 at;

	if (p->parsed != PARSED)
		return;
#ifdef FEATURE_tunnel
	if (p->inner)
		h = p->inner;
#endif
	if (h->proto != PROTO_TCP || !h->payload)
		return;
	at = NAME(find)(&start, p, h);
	if (!at)
		return;
	m = scratch__value(&NAME(hello));
	if (!m)
		return;
#ifdef FEATURE_server
	if (NAME(is_hello)(&start, TLS_SERVER_HELLO)) {
		NAME(answer)(m, p, h, &start, at);
		return;
	}
#endif
	if (!NAME(read)(m, p, h, &start, at))
		return;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < TLS_SNI / 8; i++)
		m->sni[i] = tls__lower(m->sni[i]);
	NAME(make_key)(m, p, h);
	NAME(describe)(m, p);
#ifdef FEATURE_server
	NAME(remember)(m, h);
#endif
	value = half__row(&NAME(rows), p->half, &m->key, &m->fresh);
	if (value) {
		NAME(count)(value, p, m, true);
		return;
	}
	value = half__value(&NAME(other), p->half, 1, 0);
	if (value)
		NAME(count)(value, p, m, false);
}
