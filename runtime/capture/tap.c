/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/types.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/tap_format.h"
#include "probe/event.h"

#define NAMES_MAX 256
#define TAG_AT 12 /* where a VLAN tag stands in an Ethernet frame */
#define TAG_SIZE 4
#define RING_EVENTS (TAP_RING / (sizeof(struct tap_event) + BPF_RINGBUF_HDR_SZ)) /* at most */

struct tap_capture {
	struct pcapng *file; /* NULL: the slot is free */
	struct tap_spec spec;
	struct tap_key keys[2];
	int nkeys;
	uint64_t packets, lost_before, unwritten;
	const char *ended;
	int code;
};

struct tap_name {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
};

struct tap {
	struct tap_state *state; /* shared with the programs */
	int suspects;		 /* the map */
	struct event_ring *ring;
	struct tap_capture captures[TAP_SLOTS];
	int next; /* slot that is tried first: one that has just ended may still be in the mind of a program */
	struct tap_name names[NAMES_MAX];
	size_t nnames;
	const unsigned char *frame; /* of a replay */
	uint32_t frame_len;
	unsigned char bytes[TAP_SNAP_MAX + TAG_SIZE];
};

static void set_bits(__u32 *word, __u32 bit, bool on)
{
	if (on)
		__atomic_or_fetch(word, bit, __ATOMIC_RELEASE);
	else
		__atomic_and_fetch(word, ~bit, __ATOMIC_RELEASE);
}

/* What the programs have to copy of a packet: as much as the one that wants most. */
static void set_snap(struct tap *tap)
{
	__u32 snap = 0;

	for (int i = 0; i < TAP_SLOTS; i++)
		if ((tap->state->armed >> i & 1) && tap->captures[i].spec.snap > snap)
			snap = tap->captures[i].spec.snap;
	__atomic_store_n(&tap->state->snap, snap, __ATOMIC_RELEASE);
}

static int set_suspect(struct tap *tap, const struct tap_key *key, __u32 bit, bool on)
{
	__u32 slots = 0;

	bpf_map_lookup_elem(tap->suspects, key, &slots);
	slots = on ? slots | bit : slots & ~bit;
	return slots ? bpf_map_update_elem(tap->suspects, key, &slots, BPF_ANY)
		     : bpf_map_delete_elem(tap->suspects, key);
}

static void disarm(struct tap *tap, int slot)
{
	struct tap_capture *capture = &tap->captures[slot];
	__u32 bit = 1U << slot;

	set_bits(&tap->state->armed, bit, false);
	set_bits(&tap->state->everything, bit, false);
	if (capture->spec.set >= 0)
		set_bits(&tap->state->in_set[capture->spec.set], bit, false);
	for (int i = 0; i < capture->nkeys; i++)
		set_suspect(tap, &capture->keys[i], bit, false);
	capture->nkeys = 0;
	set_snap(tap);
}

/* It ends by itself. */
static void end(struct tap *tap, int slot, const char *why)
{
	tap->captures[slot].ended = why;
	disarm(tap, slot);
}

static const char *name_of(const struct tap *tap, uint32_t ifindex)
{
	for (size_t i = 0; i < tap->nnames; i++)
		if (tap->names[i].ifindex == ifindex)
			return tap->names[i].name;
	return NULL;
}

static void take(struct tap *tap, int slot, const struct pcapng_packet *packet)
{
	struct tap_capture *capture = &tap->captures[slot];
	struct pcapng_packet own = *packet;

	if (!capture->file || capture->ended)
		return;
	if (packet->time > capture->spec.until) {
		end(tap, slot, "time");
		return;
	}
	if (own.kept > capture->spec.snap)
		own.kept = capture->spec.snap;
	if (pcapng__bytes(capture->file) + pcapng__size(&own) > capture->spec.bytes) {
		end(tap, slot, "bytes");
		return;
	}
	capture->code = pcapng__write(capture->file, &own);
	if (capture->code == -ENOBUFS) {
		capture->code = 0;
		capture->unwritten++;
	} else if (capture->code)
		end(tap, slot, "error");
	else if (++capture->packets >= capture->spec.packets)
		end(tap, slot, "packets");
}

/* The frame with the tag that the kernel has put beside it back in its place. */
static void put_tag(struct tap *tap, const struct tap_event *event, struct pcapng_packet *packet)
{
	const unsigned char *from = packet->bytes;
	uint16_t tci = htons(event->tci);

	packet->wire += TAG_SIZE;
	if (packet->kept < TAG_AT)
		return;
	memcpy(tap->bytes, from, TAG_AT);
	memcpy(tap->bytes + TAG_AT, &event->tag, sizeof(event->tag));
	memcpy(tap->bytes + TAG_AT + sizeof(event->tag), &tci, sizeof(tci));
	memcpy(tap->bytes + TAG_AT + TAG_SIZE, from + TAG_AT, packet->kept - TAG_AT);
	packet->bytes = tap->bytes;
	packet->kept += TAG_SIZE;
}

static void on_event(const void *data, size_t size, void *arg)
{
	const struct tap_event *event = data;
	struct tap *tap = arg;
	struct pcapng_packet packet;

	if (size < sizeof(*event) || event->kept > size - sizeof(*event) ||
	    event->kept > TAP_SNAP_MAX)
		return;
	packet = (struct pcapng_packet){
		.time = event->time,
		.ifindex = event->ifindex,
		.interface = name_of(tap, event->ifindex),
		.wire = event->wire,
		.kept = event->kept,
		.egress = event->egress,
		.segments = event->segments,
		.bytes = event + 1,
	};
	if (tap->frame) {
		packet.bytes = tap->frame;
		packet.kept = tap->frame_len;
	}
	if (event->tag)
		put_tag(tap, event, &packet);
	for (int i = 0; i < TAP_SLOTS; i++)
		if (event->slots >> i & 1)
			take(tap, i, &packet);
}

/* Captures that a process has left which was killed have ended with it: nothing more is copied for them. */
static void forget(struct tap *tap)
{
	struct tap_key key;
	__u64 lost = tap->state->lost;

	*tap->state = (struct tap_state){.lost = lost};
	while (!bpf_map_get_next_key(tap->suspects, NULL, &key))
		if (bpf_map_delete_elem(tap->suspects, &key))
			break;
}

int tap__open(struct loop *loop, struct probe *probe, struct tap **out, struct error *error)
{
	struct bpf_object *object = probe__object(probe);
	const struct bpf_map *state = bpf_object__find_map_by_name(object, ".data.tap");
	const struct bpf_map *suspects = bpf_object__find_map_by_name(object, "tap_suspects");
	struct tap *tap;
	int err;

	if (!state || !suspects)
		return error__set(error, -ENOENT, "the programs have no captures");
	tap = calloc(1, sizeof(*tap));
	if (!tap)
		return error__set(error, -ENOMEM, "out of memory");
	tap->suspects = bpf_map__fd(suspects);
	tap->state = mmap(NULL, sizeof(*tap->state), PROT_READ | PROT_WRITE, MAP_SHARED,
			  bpf_map__fd(state), 0);
	if (tap->state == MAP_FAILED) {
		err = error__set(error, -errno, "captures cannot be controlled: %s",
				 strerror(errno));
		free(tap);
		return err;
	}
	forget(tap);
	err = event__open(loop, probe, "tap_events", on_event, NULL, tap, &tap->ring, error);
	if (err)
		tap__close(tap);
	else
		*out = tap;
	return err;
}

int tap__start(struct tap *tap, const struct tap_spec *spec, int *slot, struct error *error)
{
	struct tap_capture *capture;
	int tried = 0, err;

	while (tried < TAP_SLOTS && tap->captures[(tap->next + tried) % TAP_SLOTS].file)
		tried++;
	if (tried == TAP_SLOTS)
		return error__set(error, -EBUSY, "%d captures go on already", TAP_SLOTS);
	*slot = (tap->next + tried) % TAP_SLOTS;
	tap->next = (*slot + 1) % TAP_SLOTS;
	tap__consume(tap, NULL, 0); /* what is there is not for this one */
	capture = &tap->captures[*slot];
	*capture = (struct tap_capture){.spec = *spec, .lost_before = tap->state->lost};
	if (capture->spec.snap > TAP_SNAP_MAX)
		capture->spec.snap = TAP_SNAP_MAX;
	err = pcapng__create(spec->path, spec->comment, capture->spec.snap + TAG_SIZE,
			     spec->patient, &capture->file, error);
	if (err)
		return err;
	capture->spec.path = capture->spec.comment = NULL; /* the caller's */
	if (spec->everything)
		set_bits(&tap->state->everything, 1U << *slot, true);
	if (spec->set >= 0)
		set_bits(&tap->state->in_set[spec->set], 1U << *slot, true);
	set_bits(&tap->state->armed, 1U << *slot, true);
	set_snap(tap);
	return 0;
}

static int parse_member(const char *member, struct tap_key *key)
{
	static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};
	unsigned long port;
	uint16_t value;
	char *rest;

	if (key->field == TAP_SPORT || key->field == TAP_DPORT) {
		port = strtoul(member, &rest, 10);
		value = htons((uint16_t)port);
		memcpy(key->value, &value, sizeof(value));
		return *member && !*rest && port <= UINT16_MAX ? 0 : -EINVAL;
	}
	if (inet_pton(AF_INET6, member, key->value) == 1)
		return 0;
	memcpy(key->value, v4_mapped, sizeof(v4_mapped));
	return inet_pton(AF_INET, member, key->value + sizeof(v4_mapped)) == 1 ? 0 : -EINVAL;
}

int tap__suspect(struct tap *tap, int slot, const char *member, const char *field,
		 struct error *error)
{
	static const char *const fields[] = {"src", "dst", "sport", "dport"};
	struct tap_capture *capture = &tap->captures[slot];
	struct tap_key key = {.field = TAP_SLOTS};
	int err;

	for (__u32 i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (!strcmp(field, fields[i]))
			key.field = i;
	if (key.field == TAP_SLOTS || capture->nkeys == 2 || parse_member(member, &key))
		return error__set(error, -EINVAL, "packets cannot be told by %s %s", field, member);
	err = set_suspect(tap, &key, 1U << slot, true);
	if (err)
		return error__set(error, err, "%s %s: %s", field, member, strerror(-err));
	capture->keys[capture->nkeys++] = key;
	return 0;
}

void tap__interface(struct tap *tap, uint32_t ifindex, const char *name)
{
	size_t i = 0;

	while (i < tap->nnames && tap->names[i].ifindex != ifindex)
		i++;
	if (i == NAMES_MAX)
		return;
	if (i == tap->nnames)
		tap->nnames++;
	tap->names[i].ifindex = ifindex;
	strncpy(tap->names[i].name, name, IF_NAMESIZE - 1);
	tap->names[i].name[IF_NAMESIZE - 1] = '\0';
}

/* No more than there can be in the ring: in a flood, more comes while it is taken, and the loop has other things to do. */
void tap__consume(struct tap *tap, const void *frame, uint32_t len)
{
	int taken = 0, one;

	tap->frame = frame;
	tap->frame_len = len < TAP_SNAP_MAX ? len : TAP_SNAP_MAX;
	do {
		one = event__consume(tap->ring);
		taken += one;
	} while (one == EVENT_AT_ONCE && taken < (int)RING_EVENTS);
	tap->frame = NULL;
}

bool tap__ended(const struct tap *tap, int slot)
{
	return tap->captures[slot].ended;
}

void tap__stop(struct tap *tap, int slot, struct tap_result *result, struct pcapng **file)
{
	struct tap_capture *capture = &tap->captures[slot];

	tap__consume(tap, NULL, 0);
	if (!capture->ended)
		disarm(tap, slot);
	*result = (struct tap_result){.packets = capture->packets,
				      .bytes = pcapng__bytes(capture->file),
				      .lost = tap->state->lost - capture->lost_before +
					      capture->unwritten,
				      .why = capture->ended,
				      .code = capture->code};
	*file = capture->file;
	capture->file = NULL;
	pcapng__end(*file, result->lost);
}

void tap__close(struct tap *tap)
{
	struct pcapng *files[TAP_SLOTS];
	struct tap_result result;
	int count = 0;

	if (!tap)
		return;
	for (int i = 0; i < TAP_SLOTS; i++)
		if (tap->captures[i].file)
			tap__stop(tap, i, &result, &files[count++]);
	while (count)
		pcapng__close(files[--count]);
	event__free(tap->ring);
	munmap(tap->state, sizeof(*tap->state));
	free(tap);
}
