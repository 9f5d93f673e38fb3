-- SPDX-License-Identifier: Apache-2.0
--
-- The words of BCC's dialect: how maps are declared there, and what can be done with which of them. What each
-- becomes is in bpf/dynmon.h.
local dialect = {}

--- Kinds of maps by the word that BPF_TABLE has for them; `list`: queues and stacks, which have no keys.
dialect.KINDS = {
  hash = { type = "BPF_MAP_TYPE_HASH" },
  array = { type = "BPF_MAP_TYPE_ARRAY" },
  percpu_hash = { type = "BPF_MAP_TYPE_PERCPU_HASH" },
  percpu_array = { type = "BPF_MAP_TYPE_PERCPU_ARRAY" },
  lru_hash = { type = "BPF_MAP_TYPE_LRU_HASH" },
  lru_percpu_hash = { type = "BPF_MAP_TYPE_LRU_PERCPU_HASH" },
  lpm_trie = { type = "BPF_MAP_TYPE_LPM_TRIE" },
  queue = { type = "BPF_MAP_TYPE_QUEUE", list = true },
  stack = { type = "BPF_MAP_TYPE_STACK", list = true },
}

local DEFAULT_ENTRIES = "10240"

-- The arguments of each declaration in order; those with a default may be left out at the end. "kind" is a text in
-- quotes.
local TABLE = { "kind", "key", "value", "name", "size" }
local LIST = { "kind", "name", "value", "size", { "flags", "0" } }

--- scope: "own", "shared" with the other path, "extern" (the other path's)
dialect.DECLARATIONS = {
  BPF_TABLE = { TABLE },
  BPF_F_TABLE = { { "kind", "key", "value", "name", "size", "flags" } },
  BPF_TABLE_SHARED = { TABLE, scope = "shared" },
  BPF_TABLE_PUBLIC = { TABLE, scope = "shared" },
  BPF_ARRAY = { { "name", { "value", "u64" }, { "size", DEFAULT_ENTRIES } }, kind = "array", key = "int" },
  BPF_PERCPU_ARRAY = {
    { "name", { "value", "u64" }, { "size", DEFAULT_ENTRIES } }, kind = "percpu_array", key = "int",
  },
  BPF_HASH = { { "name", { "key", "u64" }, { "value", "u64" }, { "size", DEFAULT_ENTRIES } }, kind = "hash" },
  BPF_PERCPU_HASH = {
    { "name", { "key", "u64" }, { "value", "u64" }, { "size", DEFAULT_ENTRIES } }, kind = "percpu_hash",
  },
  BPF_QUEUE = { { "name", "value", "size", { "flags", "0" } }, kind = "queue" },
  BPF_STACK = { { "name", "value", "size", { "flags", "0" } }, kind = "stack" },
  BPF_QUEUESTACK = { LIST },
  BPF_QUEUESTACK_SHARED = { LIST, scope = "shared" },
  BPF_QUEUESTACK_PUBLIC = { LIST, scope = "shared" },
}

--- Declarations that BCC has and perilune has not: why.
dialect.REFUSED = {
  BPF_TABLE_PINNED = "a map that others have pinned is not taken over (declare one of the program's own)",
  BPF_QUEUESTACK_PINNED = "a map that others have pinned is not taken over (declare one of the program's own)",
  BPF_PERF_OUTPUT = "events are not read here (use a queue)",
  BPF_RINGBUF_OUTPUT = "events are not read here (use a queue)",
  BPF_PROG_ARRAY = "a monitor is one program (write it as one function, or several)",
}

--- Methods: the macro, and for which maps ("keyed", "list").
dialect.METHODS = {
  lookup = { "DYNMON_LOOKUP", "keyed" },
  lookup_or_init = { "DYNMON_LOOKUP_OR_INIT", "keyed" },
  lookup_or_try_init = { "DYNMON_LOOKUP_OR_INIT", "keyed" },
  update = { "DYNMON_UPDATE", "keyed" },
  insert = { "DYNMON_INSERT", "keyed" },
  delete = { "DYNMON_DELETE", "keyed" },
  increment = { "DYNMON_INCREMENT", "keyed" },
  atomic_increment = { "DYNMON_INCREMENT", "keyed" },
  push = { "DYNMON_PUSH", "list" },
  pop = { "DYNMON_POP", "list" },
  peek = { "DYNMON_PEEK", "list" },
}

--- The names of levels of logs, as bpf/dynmon.h numbers them.
dialect.LEVELS = { trace = 0, debug = 1, info = 2, warn = 3, err = 4, error = 4, critical = 5, off = 6 }

return dialect
