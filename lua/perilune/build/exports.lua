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
local planner = require "perilune.build.plan"

local exports = {}

local Exports = {}
Exports.__index = Exports

local function located(set, message)
  return ("%s:%d: set %q: export: %s"):format(set.file, set.line, set.name, message)
end

-- What a set's pin is told from others by.
local function key_of(set) return (set.keep and "kept/" or "sets/") .. set.export end

local function by_key(list)
  local map = {}
  for i, set in ipairs(list) do map[key_of(set)] = i end
  return map
end

--- For a run of `decl`; nil when it exports nothing; nil, message, code when it cannot. `before`: of the declaration
--- that this one takes the place of, if there is one; a set that is the same kind of map in both is that map still.
function exports.open(decl, before)
  local list = {}
  for _, set in ipairs(decl.sets or {}) do
    if set.export then list[#list + 1] = set end
  end
  if #list == 0 then return nil end
  local opened, message, code = before and before.pins, nil, nil
  if not opened then opened, message, code = pins.open(decl.name) end
  if not opened then return nil, located(list[1], message), code end
  return setmetatable({
    list = list, pins = opened, paths = {}, before = before, known = by_key(before and before.list or {}), shared = {},
    later = {},
  }, Exports)
end

--- Before the probe is loaded: what an earlier run has kept, or the declaration before exports, is used again. nil,
--- message, code when it cannot be.
function Exports:reuse(probe)
  for i, set in ipairs(self.list) do
    local known = self.known[key_of(set)]
    if set.keep or known then
      local ok, message, code = self.pins:reuse(probe, planner.scope_map(set.name), set.export, set.keep)
      if ok then
        self.shared[i] = known
      elseif code == "EEXIST" and not set.keep then
        self.later[i] = true -- another kind of map: it takes the other's place when its policy does
      else
        return nil, located(set, message), code
      end
    end
  end
  return true
end

local function add(self, probe, i)
  local set = self.list[i]
  local path, message, code = self.pins:add(probe, planner.scope_map(set.name), set.export, set.keep)
  if not path then return nil, located(set, message), code end
  self.paths[i] = path
  return true
end

--- Once it is loaded, and before anybody is in its sets. nil, message, code when it cannot be.
function Exports:pin(probe)
  for i in ipairs(self.list) do
    if self.shared[i] then
      self.paths[i] = self.before.paths[self.shared[i]]
    elseif not self.later[i] then
      local ok, message, code = add(self, probe, i)
      if not ok then return nil, message, code end
    end
  end
  return true
end

--- The names of the sets whose maps are those of the declaration before.
function Exports:kept_maps()
  local names = {}
  for i, set in ipairs(self.list) do names[set.name] = self.shared[i] ~= nil or nil end
  return names
end

--- The declaration before runs on.
function Exports:give_up()
  if not self.before then return self:close() end
  if self.before.closed then return end
  for i, set in ipairs(self.list) do
    if not self.shared[i] and not self.later[i] and not set.keep then self.pins:remove(set.export) end
  end
end

--- The declaration has taken the place of the one before: says what is exported now, and what no longer is.
function Exports:become(probe, emit)
  for i, set in ipairs(self.list) do
    local ok, message = true, nil
    if self.later[i] then ok, message = add(self, probe, i) end
    if not ok then emit { event = "error", message = message } end
    if ok and not self.shared[i] then
      emit { event = "action", act = "export", set = set.name, text = self.paths[i], undo = false }
    end
  end
  local now = by_key(self.list)
  for i, set in ipairs(self.before and self.before.list or {}) do
    if not now[key_of(set)] and not set.keep then
      self.pins:remove(set.export)
      emit { event = "action", act = "export", set = set.name, text = self.before.paths[i], undo = true }
    end
  end
  self.before, self.known, self.shared, self.later = nil, {}, {}, {}
end

--- Says by emit(event) what is exported, or (`undo`) what no longer is.
function Exports:tell(emit, undo)
  for i, set in ipairs(self.list) do
    if not (undo and set.keep) then
      emit { event = "action", act = "export", set = set.name, text = self.paths[i], undo = undo }
    end
  end
end

function Exports:close()
  self.closed = true
  self.pins:close()
end

return exports
