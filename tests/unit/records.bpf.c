/* SPDX-License-Identifier: Apache-2.0 */
/* Gives the types of records.h to BTF; not loaded. */
#include "bpf/kernel_types.h"
#include "records.h"

struct test_key test_key;
struct test_value test_value;
struct same_names same_names;
__u32 plain;
struct ip_addr address;
