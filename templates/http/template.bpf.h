/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * http: TCP packets whose payload begins with a request line or a status line of HTTP/1 (RFC 9112), on any port. Nothing is put
 * together: a line that begins in one packet and ends in the next is read as far as it goes, a second message in a packet is not seen,
 * and what is sent again counts again.
 *
 * A packet is a request when its first word is a method and its first line ends with "HTTP/1." and a digit; also when that line goes
 * on behind what is read, if the method is a common one or the line is long. It is a response when it begins with "HTTP/1." and a
 * status. What begins alike but is neither is `broken`; its key is what was read all the same. rows + other = requests + responses +
 * broken.
 *
 * With the feature `pair`, a response has the method, host and path of its connection's last request. Requests are state that outlives
 * windows: when their table is full the least recently used goes, and its response counts without them.
 */

#define HTTP_METHOD 20 /* bytes of a method that are kept; those that IANA lists have at most 17 */
#define HTTP_TEXT 1024 /* a power of two, at least KNOB_look */
#define HTTP_LEAST 8   /* bytes of payload that tell */
#define HTTP_LONG                                                                                  \
	64 /* bytes of a line without an end that no short command of another protocol has */
#define HTTP_CLASSES 5		    /* of status codes */
#define HTTP_BLANKS 4		    /* spaces and tabs in front of a host that are skipped */
#define HTTP_1 0x485454502f312eULL  /* "HTTP/1.", and what else begins a version */
#define HTTP_RTSP 0x525453502fULL   /* "RTSP/" */
#define HTTP_HOST 0x0a686f73743aULL /* "\nhost:" */

struct NAME(key) {
#include <key_members.h>
#ifdef KEY_client
	struct ip_addr client;
#endif
#ifdef KEY_server
	struct ip_addr server;
#endif
#ifdef KEY_status
	__u16 status;
#endif
#ifdef KEY_method
	char method[HTTP_METHOD];
#endif
#ifdef KEY_host
	char host[KNOB_host_bytes];
#endif
#ifdef KEY_path
	char path[KNOB_path_bytes];
#endif
	__u8 ip_version;
} __attribute__((packed, aligned(4)));

struct NAME(value) {
	__u64 packets;
	__u64 requests;
	__u64 responses;
	__u64 errors;
	__u64 broken;
#ifdef FEATURE_classes
	__u64 statuses[HTTP_CLASSES];
#endif
#ifdef FEATURE_pair
	__u64 answered;
	__u64 wait;
#endif
#ifdef FEATURE_timing
	wall_ns first;
	wall_ns last;
#endif
};

#ifdef FEATURE_pair
struct NAME(connection) {
	struct ip_addr client;
	struct ip_addr server;
	__be16 client_port;
	__be16 server_port;
};

/* A connection's last request. */
struct NAME(request) {
	wall_ns time; /* 0: it was answered */
#ifdef KEY_method
	char method[HTTP_METHOD];
#endif
#ifdef KEY_host
	char host[KNOB_host_bytes];
#endif
#ifdef KEY_path
	char path[KNOB_path_bytes];
#endif
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KNOB_connections);
	__type(key, struct NAME(connection));
	__type(value, struct NAME(request));
} NAME(requests) SEC(".maps");
#endif

/*
 * The packet at hand. What its parts are is kept here and not in registers, so that the verifier, which does not follow memory of
 * maps, sees one state for each step of a loop.
 */
struct NAME(message) {
	__u64 last; /* bytes that were looked at */
	struct NAME(key) key;
	struct NAME(value) fresh;
#ifdef FEATURE_pair
	struct NAME(connection) connection;
	struct NAME(request) request;
	wall_ns asked; /* when the request came that this answers; 0: there is none */
#endif
	__u32 length;	  /* of text, at most KNOB_look */
	__u32 method_end; /* the first space */
	__u32 target_end; /* the second space, or the end of the line or of text */
	__u32 version;	  /* the first byte behind the second space; 0: there is none */
	__u32 query;	  /* the first question mark of the target; 0: there is none */
	__u32 line_end;	  /* the first line feed; 0: it is not here */
	__u32 host;	  /* the first byte behind "Host:"; 0: it is not here */
	__u32 status;	  /* 0: of a request */
	__u8 kind;	  /* enum http_kind */
	__u8 text[HTTP_TEXT];
};

#ifndef HTTP_KINDS
#define HTTP_KINDS
enum http_kind {
	HTTP_NOTHING,
	HTTP_REQUEST,
	HTTP_RESPONSE,
	HTTP_BROKEN,
};

/* The methods of RFC 9110 and PATCH, with the space behind them, as the first 8 bytes of a frame. */
static __always_inline bool http__common(__u64 start)
{
	__u64 word = bpf_be64_to_cpu(start);

	return word >> 32 == 0x47455420 ||	/* GET */
	       word >> 32 == 0x50555420 ||	/* PUT */
	       word >> 24 == 0x4845414420 ||	/* HEAD */
	       word >> 24 == 0x504f535420 ||	/* POST */
	       word >> 16 == 0x504154434820 ||	/* PATCH */
	       word >> 16 == 0x545241434520 ||	/* TRACE */
	       word >> 8 == 0x44454c45544520 || /* DELETE */
	       word == 0x434f4e4e45435420 ||	/* CONNECT */
	       word == 0x4f5054494f4e5320;	/* OPTIONS */
}
#endif

WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);
SCRATCH(NAME(message), struct NAME(message));

static __always_inline __u8 NAME(at)(const volatile struct NAME(message) * m, __u32 at)
{
	return m->text[at & (HTTP_TEXT - 1)];
}

/* Where the method ends; 0: the first word is none. */
static __always_inline __u32 NAME(find_method)(volatile struct NAME(message) * m)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i <= HTTP_METHOD; i++) {
		__u8 c = m->text[i];

		if (i >= m->length)
			return 0;
		if (c == ' ')
			return i;
		if ((__u8)(c - 'A') >= 26 && c != '-' && c != '_')
			return 0;
	}
	return 0;
}

/* The words of the first line, byte by byte. */
static int NAME(find_words)(__u32 i, struct NAME(message) * *of)
{
	struct NAME(message) *m = *of;
	__u32 at = m->method_end + 1 + i;
	__u8 c = NAME(at)(m, at);

	if (at >= m->length || c == '\n') {
		if (at < m->length)
			m->line_end = at;
		if (!m->version)
			m->target_end = at;
		return 1;
	}
	if (c == ' ' && !m->version) {
		m->target_end = at;
		m->version = at + 1;
	}
	if (c == '?' && !m->query && !m->version)
		m->query = at;
	return 0;
}

/* Seven bytes of the text. */
static __always_inline __u64 NAME(seven)(const volatile struct NAME(message) * m, __u32 at)
{
	__u64 word = 0;

#pragma unroll
	for (__u32 i = 0; i < 7; i++)
		word = word << 8 | NAME(at)(m, at + i);
	return word;
}

/* Of a line that is here as a whole: whether it ends with " HTTP/1." and a digit, and has a target in front. */
static __always_inline __u8 NAME(whole_line_kind)(volatile struct NAME(message) * m)
{
	__u8 target = NAME(at)(m, m->method_end + 1);
	__u32 end = m->line_end;

	if (NAME(at)(m, end - 1) == '\r')
		end--;
	if (end > m->method_end + 8 && NAME(seven)(m, end - 8) == HTTP_1)
		return NAME(at)(m, end - 9) == ' ' && m->target_end > m->method_end + 1 &&
				       m->target_end < end - 8
			       ? HTTP_REQUEST
			       : HTTP_BROKEN;
	if (m->version && NAME(seven)(m, m->version) == HTTP_1)
		return HTTP_BROKEN;
	/* Other protocols have lines that begin alike. */
	return http__common(*(volatile __u64 *)m->text) &&
			       (target == '/' || target == '*' || target == 'h') &&
			       !(m->version && NAME(seven)(m, m->version) >> 16 == HTTP_RTSP)
		       ? HTTP_BROKEN
		       : HTTP_NOTHING;
}

static __always_inline __u8 NAME(request_kind)(volatile struct NAME(message) * m)
{
	if (m->line_end)
		return NAME(whole_line_kind)(m);
	if (m->version && m->version + 7 <= m->length && NAME(seven)(m, m->version) == HTTP_1)
		return HTTP_REQUEST;
	return http__common(*(volatile __u64 *)m->text) ||
			       (m->length >= HTTP_LONG && NAME(at)(m, m->method_end + 1) == '/')
		       ? HTTP_REQUEST
		       : HTTP_NOTHING;
}

/* The status of a line that begins with a version; 0: there is none. */
static __always_inline __u32 NAME(find_status)(const volatile struct NAME(message) * m)
{
	__u32 hundreds = m->text[9] - '0', tens = m->text[10] - '0', ones = m->text[11] - '0';

	if (m->length < 12 || m->text[8] != ' ' || hundreds > 9 || tens > 9 || ones > 9)
		return 0;
	if (m->length > 12 && (__u8)(m->text[12] - '0') < 10)
		return 0;
	return hundreds * 100 + tens * 10 + ones;
}

#ifdef KEY_host
/* Where "Host:" ends behind the first line, byte by byte. */
static int NAME(find_host)(__u32 i, struct NAME(message) * *of)
{
	struct NAME(message) *m = *of;
	__u32 at = m->line_end + i;
	__u8 c = NAME(at)(m, at);
	__u64 word = m->last << 8 | c | (c & 0x40) >> 1; /* letters in lower case */

	if (at >= m->length)
		return 1;
	m->last = word;
	if ((word & 0xffffffffffffULL) == HTTP_HOST) {
		m->host = at + 1;
		return 1;
	}
	/* Behind the empty line is the body. */
	return (word & 0xffff) == 0x0a0a || (word & 0xffffff) == 0x0a0d0a;
}

static __always_inline void NAME(copy_host)(volatile struct NAME(message) * m)
{
	if (m->line_end)
		bpf_loop(KNOB_look, NAME(find_host), &m, 0);
	if (!m->host)
		return;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < HTTP_BLANKS; i++) {
		__u8 c = NAME(at)(m, m->host);

		if (c == ' ' || c == '\t')
			m->host++;
	}
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < KNOB_host_bytes; i++) {
		__u32 at = m->host + i;
		__u8 c = NAME(at)(m, at);

		if (at >= m->length || c <= ' ')
			return;
		if ((__u8)(c - 'A') < 26)
			c |= 0x20;
		m->key.host[i] = c;
	}
}
#endif

#ifdef KEY_path
static __always_inline void NAME(copy_path)(volatile struct NAME(message) * m)
{
	__u32 begin = m->method_end + 1, end = m->target_end;

	if (!KNOB_query && m->query)
		end = m->query;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < KNOB_path_bytes; i++) {
		__u8 c = NAME(at)(m, begin + i);

		if (begin + i >= end || c == '\r')
			return;
		m->key.path[i] = c;
	}
}
#endif

#ifdef KEY_method
static __always_inline void NAME(copy_method)(volatile struct NAME(message) * m)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < HTTP_METHOD; i++) {
		if (i >= m->method_end)
			return;
		m->key.method[i] = m->text[i];
	}
}
#endif

/* What a message is, and its part of the key. A function of its own, so that the verifier proves it once. */
__noinline int NAME(read)(struct NAME(message) * message)
{
	volatile struct NAME(message) *m = message;

	if (!m)
		return 0;
	m->kind = HTTP_NOTHING;
	m->status = 0;
	m->target_end = 0;
	m->version = 0;
	m->query = 0;
	m->line_end = 0;
	m->host = 0;
	m->last = 0;
	if (NAME(seven)(m, 0) == HTTP_1) {
		m->status = NAME(find_status)(m);
		m->kind = m->status ? HTTP_RESPONSE : HTTP_BROKEN;
#ifdef KEY_status
		m->key.status = m->status;
#endif
		return 0;
	}
	m->method_end = NAME(find_method)(m);
	if (!m->method_end)
		return 0;
	bpf_loop(KNOB_look, NAME(find_words), &message, 0);
	m->kind = NAME(request_kind)(m);
	if (m->kind == HTTP_NOTHING)
		return 0;
#ifdef KEY_method
	NAME(copy_method)(m);
#endif
#ifdef KEY_path
	NAME(copy_path)(m);
#endif
#ifdef KEY_host
	NAME(copy_host)(m);
#endif
	return 0;
}

#include <key_fill.h>

/* Reads the packet into `m`; false when it is no message. */
static __always_inline bool NAME(take)(struct NAME(message) * m, const struct packet *p,
				       const struct packet *h)
{
	__u32 size = h->payload_len, here = packet__here(p) - h->payload;
	bool from_server;

	if (size > KNOB_look)
		size = KNOB_look;
	if (size > here)
		size = here; /* a capture may have cut the frame */
	size = ((size - 1) & (HTTP_TEXT - 1)) + 1;
	if (packet__load(p, h->payload, m->text, size))
		return false;
	m->length = size;
	NAME(fill_key)(&m->key, p, h);
	NAME(read)(m);
	if (m->kind == HTTP_NOTHING)
		return false;
	from_server = m->text[0] == 'H' && m->text[1] == 'T';
#ifdef KEY_client
	m->key.client = from_server ? h->dst : h->src;
#endif
#ifdef KEY_server
	m->key.server = from_server ? h->src : h->dst;
#endif
	(void)from_server;
	m->key.ip_version = h->ip_version;
	return true;
}

#ifdef FEATURE_pair
static __always_inline void NAME(remember)(struct NAME(message) * m, wall_ns now)
{
	m->request.time = now;
#ifdef KEY_method
	__builtin_memcpy(m->request.method, m->key.method, sizeof(m->key.method));
#endif
#ifdef KEY_host
	__builtin_memcpy(m->request.host, m->key.host, sizeof(m->key.host));
#endif
#ifdef KEY_path
	__builtin_memcpy(m->request.path, m->key.path, sizeof(m->key.path));
#endif
	bpf_map_update_elem(&NAME(requests), &m->connection, &m->request, BPF_ANY);
}

static __always_inline void NAME(recall)(struct NAME(message) * m)
{
	struct NAME(request) *request = bpf_map_lookup_elem(&NAME(requests), &m->connection);

	if (!request)
		return;
	/* A response that comes in pieces, or behind 100 (Continue), answers once. */
	if (m->status >= 200) {
		m->asked = request->time;
		request->time = 0;
	}
#ifdef KEY_method
	__builtin_memcpy(m->key.method, request->method, sizeof(m->key.method));
#endif
#ifdef KEY_host
	__builtin_memcpy(m->key.host, request->host, sizeof(m->key.host));
#endif
#ifdef KEY_path
	__builtin_memcpy(m->key.path, request->path, sizeof(m->key.path));
#endif
}

static __always_inline void NAME(pair)(struct NAME(message) * m, struct packet *p,
				       const struct packet *h)
{
	bool response = m->kind == HTTP_RESPONSE;

	m->asked = 0;
	m->connection.client = response ? h->dst : h->src;
	m->connection.server = response ? h->src : h->dst;
	m->connection.client_port = response ? h->dport : h->sport;
	m->connection.server_port = response ? h->sport : h->dport;
	if (response)
		NAME(recall)(m);
	else if (m->kind == HTTP_REQUEST)
		NAME(remember)(m, clock__wall(p));
}
#endif

static __always_inline void NAME(count)(struct NAME(value) * value, struct packet *p,
					const struct NAME(message) * m, const bool shared)
{
	__u32 status = m->status;

	count__in(shared, value->packets, weighted(p, 1));
	if (m->kind == HTTP_REQUEST)
		count__in(shared, value->requests, weighted(p, 1));
	if (m->kind == HTTP_RESPONSE)
		count__in(shared, value->responses, weighted(p, 1));
	if (m->kind == HTTP_BROKEN)
		count__in(shared, value->broken, weighted(p, 1));
	if (status >= 400)
		count__in(shared, value->errors, weighted(p, 1));
#ifdef FEATURE_classes
	__u32 class = status / 100 - 1;

	barrier_var(class);
	if (class < HTTP_CLASSES)
		count__in(shared, value->statuses[class], weighted(p, 1));
#endif
#ifdef FEATURE_pair
	wall_ns asked = m->asked;

	if (asked) {
		count__in(shared, value->answered, weighted(p, 1));
		if (clock__wall(p) > asked)
			count__in(shared, value->wait, weighted(p, clock__wall(p) - asked));
	}
#endif
#ifdef FEATURE_timing
	clock__span(value, clock__wall(p));
#endif
	(void)p;
}

static __always_inline void NAME(on_packet)(struct packet *p)
{
	const struct packet *h = p;
	struct NAME(message) * m;
	struct NAME(value) * value;
	__u8 start[HTTP_LEAST];

	if (p->parsed != PARSED)
		return;
#ifdef FEATURE_tunnel
	if (p->inner)
		h = p->inner;
#endif
	if (h->proto != PROTO_TCP || !h->payload || h->payload_len < HTTP_LEAST ||
	    packet__load(p, h->payload, start, sizeof(start)))
		return;
	/* Most of what is no message ends here: its second letter is none of a method, or of HTTP. */
	if ((__u8)(start[0] - 'A') >= 26 ||
	    ((__u8)(start[1] - 'A') >= 26 && start[1] != '-' && start[1] != '_'))
		return;
	m = scratch__value(&NAME(message));
	if (!m || !NAME(take)(m, p, h))
		return;
#ifdef FEATURE_pair
	NAME(pair)(m, p, h);
#endif
#ifdef FEATURE_timing
	m->fresh.first = clock__wall(p);
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
