-- SPDX-License-Identifier: Apache-2.0
--
-- Watches the files that a policy was loaded from, its modules among them, and says when they have changed: by
-- their contents, which takes no account of how an editor writes them. A change counts once it has been the same
-- for two looks, so that half a file is not read.

local loop = require "perilune.core.loop"

local watch = {}

local Watch = {}
Watch.__index = Watch

local EVERY = 0.25 -- seconds between looks
local LARGEST = 1024 * 1024 -- bytes of a file

-- All that the files hold, as one text.
local function contents(paths)
  local parts = {}
  for i, path in ipairs(paths) do
    local file = io.open(path, "rb")
    parts[i] = file and file:read(LARGEST) or "\0"
    if file then file:close() end
  end
  return table.concat(parts, "\0\0")
end

--- changed(): the files have changed since they were last loaded.
function watch.new(paths, changed)
  local self = setmetatable({ paths = paths, changed = changed }, Watch)
  self.loaded = contents(paths)
  self.last = self.loaded
  self.timer = loop.timer(function() self:look() end)
  self.timer:start(loop.now() + EVERY)
  return self
end

function Watch:look()
  local now = contents(self.paths)
  local settled = now == self.last
  self.last = now
  if settled and now ~= self.loaded then
    self.loaded = now
    self.changed()
  end
  if not self.closed then self.timer:start(loop.now() + EVERY) end
end

local function same(a, b)
  for i = 1, math.max(#a, #b) do
    if a[i] ~= b[i] then return false end
  end
  return true
end

--- From now on these files. Those that have changed since `changed` was called have changed again.
function Watch:follow(paths)
  if self.closed or same(paths, self.paths) then return end
  self.paths = paths
  self.loaded = contents(paths)
  self.last = self.loaded
end

function Watch:close()
  self.closed = true
  self.timer:close()
end

return watch
