-- SPDX-License-Identifier: Apache-2.0
-- Forged senders: packets of one address take one way, so they arrive with one TTL or two. Own code counts each
-- address's TTLs, which no template does; an address that comes with many is being forged by others.
local iface = option "iface" { type = "iface" }
local many  = option "many"  { default = 4, help = "TTLs of one address that are not one sender's" }

local hops = source "hops" {
  needs = { "addresses", "ip" },             -- what the parser is asked for
  code = [[
struct NAME(key) {
	struct ip_addr src;
	__u8 ttl;
	__u8 pad[3]; /* keys are compared with all their bytes */
};

struct NAME(value) {
	__u64 packets;
	__u64 bytes;
};

WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(key) key = {.src = p->src, .ttl = p->ttl};
	struct NAME(value) fresh = {}, *row;

	if (p->parsed != PARSED)
		return;
	row = half__row(&NAME(rows), p->half, &key, &fresh);
	if (row) {
		count__shared(row->packets, weighted(p, p->segments));
		count__shared(row->bytes, weighted(p, packet__bytes(p)));
		return;
	}
	row = half__value(&NAME(other), p->half, 1, 0);
	if (row)
		count__own(row->packets, weighted(p, p->segments));
}
]],
}

return policy "hops" {
  attach = { iface = iface, hook = "tc.ingress" },
  always = { hops },
  rules = {
    rule "forged" { per = "hops.src", when = distinct("hops.ttl"):above(many), act = { log } },
  },
}
