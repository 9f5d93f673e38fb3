/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/ledger.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct ledger_window *slot_of(struct ledger *ledger, uint32_t epoch)
{
	return &ledger->windows[epoch & 1];
}

static void write_window(struct ledger *ledger, const struct ledger_window *window)
{
	struct ledger_window *slot = slot_of(ledger, window->epoch);

	slot->seq = window->seq;
	slot->wall = window->wall;
	slot->mono = window->mono;
	slot->state = window->state;
	__atomic_store_n(&slot->epoch, window->epoch, __ATOMIC_RELEASE);
}

void ledger__begin(struct ledger *ledger, const struct ledger_window *first)
{
	ledger->abi = LEDGER_ABI;
	ledger->size = sizeof(*ledger);
	ledger->exported = ledger->cleaned = first->epoch - 1;
	slot_of(ledger, first->epoch - 1)->epoch = first->epoch - 1;
	slot_of(ledger, first->epoch - 1)->seq = first->seq - 1;
	ledger->sums[0] = ledger->sums[1] = (struct ledger_sums){.epoch = first->epoch - 1};
	write_window(ledger, first);
}

static void write_sums(struct ledger_sums *slot, uint32_t epoch, const double *sums, size_t count)
{
	slot->count = (uint32_t)(count < LEDGER_SUMS ? count : LEDGER_SUMS);
	memcpy(slot->values, sums, slot->count * sizeof(*sums));
	slot->epoch = epoch;
}

void ledger__succeed(struct ledger *ledger, const struct ledger_window *first, const double *sums,
		     size_t count)
{
	ledger__begin(ledger, first);
	ledger->exported = first->epoch - 2;
	write_sums(&ledger->sums[ledger->exported & 1], ledger->exported, sums, count);
}

int ledger__half(const struct ledger *ledger, uint32_t epoch)
{
	uint32_t cleaned = __atomic_load_n(&ledger->cleaned, __ATOMIC_ACQUIRE);
	uint32_t exported = __atomic_load_n(&ledger->exported, __ATOMIC_ACQUIRE);

	if (cleaned == epoch - 1 && exported == epoch - 1)
		return LEDGER_CLEAN;
	if (cleaned == epoch - 1 && exported == epoch - 2)
		return LEDGER_INHERITED;
	if (cleaned != epoch - 2)
		return -EPROTO;
	if (exported == epoch - 1)
		return LEDGER_CLEARING;
	return exported == epoch - 2 ? LEDGER_QUIET : -EPROTO;
}

bool ledger__window(const struct ledger *ledger, uint32_t epoch, struct ledger_window *out)
{
	const struct ledger_window *slot = &ledger->windows[epoch & 1];

	if (__atomic_load_n(&slot->epoch, __ATOMIC_ACQUIRE) != epoch)
		return false;
	*out = *slot;
	return true;
}

void ledger__intend(struct ledger *ledger, uint32_t epoch, uint64_t wall, uint64_t mono,
		    uint64_t state)
{
	const struct ledger_window *known = slot_of(ledger, epoch);
	struct ledger_window next = {.epoch = epoch,
				     .seq = known->epoch == epoch
						    ? known->seq
						    : slot_of(ledger, epoch - 1)->seq + 1,
				     .wall = wall,
				     .mono = mono,
				     .state = state};

	write_window(ledger, &next);
}

void ledger__exported(struct ledger *ledger, uint32_t epoch, const double *sums, size_t count)
{
	write_sums(&ledger->sums[epoch & 1], epoch, sums, count);
	__atomic_store_n(&ledger->exported, epoch, __ATOMIC_RELEASE);
}

void ledger__cleaned(struct ledger *ledger, uint32_t epoch)
{
	__atomic_store_n(&ledger->cleaned, epoch, __ATOMIC_RELEASE);
}

size_t ledger__sums(const struct ledger *ledger, double sums[LEDGER_SUMS])
{
	const struct ledger_sums *slot = &ledger->sums[ledger->exported & 1];
	size_t count = slot->count <= LEDGER_SUMS ? slot->count : 0;

	memcpy(sums, slot->values, count * sizeof(*sums));
	return count;
}

#ifdef PERILUNE_FAULTS
void ledger__may_die(const char *place)
{
	static unsigned long times;
	const char *wanted = getenv("PERILUNE_FAULT_DIE");
	size_t len = strlen(place);

	if (!wanted || strncmp(wanted, place, len) != 0 ||
	    (wanted[len] != ':' && wanted[len] != '\0'))
		return;
	if (++times >= (wanted[len] ? strtoul(wanted + len + 1, NULL, 10) : 1))
		raise(SIGKILL);
}
#endif
