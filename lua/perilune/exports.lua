-- SPDX-License-Identifier: Apache-2.0
--
-- Sets of a policy that other programs may use: set "attackers" { …, export = true | "name" } is a map pinned at
-- /sys/fs/bpf/perilune/POLICY/sets/NAME while the policy runs. Its layout (bpf/scope.h; with BTF in the map):
--
--   addresses   hash, struct ip_addr { __u8 octets[16]; } → __u8 1; IPv4 as ::ffff:a.b.c.d
--               with subnets among the members from the start: LPM trie, struct scope_net { __u32 bits; struct ip_addr
--               addr; } → __u8 1; of IPv4, bits counts the 96 in front
--   ports       hash, __be16 → __u8 1
--   proto       hash, __u8 → __u8 1
--   flows       hash, struct scope_flow { struct ip_addr src, dst; __be16 sport, dport; __u8 proto; __u8 pad[3]; }
--               → __u8 1; of biflow, src is the end whose address, then port, is lower
--
-- At the end its members leave it and the pin goes. With keep = true it is pinned below kept/ instead of sets/ and
-- stays, with its members, and the next run goes on with the same map, empty at first: for programs that are not
-- started anew with the policy.

local pins = require "perilune.core.pins"
local planner = require "perilune.plan"

local exports = {}

local Exports = {}
Exports.__index = Exports

local function located(set, message)
  return ("%s:%d: set %q: export: %s"):format(set.file, set.line, set.name, message)
end

--- For a run of `decl`; nil when it exports nothing; nil, message, code when it cannot.
function exports.open(decl)
  local list = {}
  for _, set in ipairs(decl.sets or {}) do
    if set.export then list[#list + 1] = set end
  end
  if #list == 0 then return nil end
  local opened, message, code = pins.open(decl.name)
  if not opened then return nil, located(list[1], message), code end
  return setmetatable({ list = list, pins = opened, paths = {} }, Exports)
end

--- Before the probe is loaded: what an earlier run has kept is used again. nil, message, code when it cannot be.
function Exports:reuse(probe)
  for _, set in ipairs(self.list) do
    if set.keep then
      local ok, message, code = self.pins:reuse(probe, planner.scope_map(set.name), set.export)
      if not ok then return nil, located(set, message), code end
    end
  end
  return true
end

--- Once it is loaded, and before anybody is in its sets. nil, message, code when it cannot be.
function Exports:pin(probe)
  for i, set in ipairs(self.list) do
    local path, message, code = self.pins:add(probe, planner.scope_map(set.name), set.export, set.keep)
    if not path then return nil, located(set, message), code end
    self.paths[i] = path
  end
  return true
end

--- Says by emit(event) what is exported, or (`undo`) what no longer is.
function Exports:tell(emit, undo)
  for i, set in ipairs(self.list) do
    if not (undo and set.keep) then
      emit { event = "action", act = "export", set = set.name, text = self.paths[i], undo = undo }
    end
  end
end

function Exports:close() self.pins:close() end

return exports
