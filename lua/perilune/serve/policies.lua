-- SPDX-License-Identifier: Apache-2.0
--
-- The daemon's policies by name: those of its configuration and command line, and those that were created over the
-- interface, whose text and values are kept in the state directory so that they are there after a restart.
--
-- Replacing is a transaction: the new one is compiled, loaded, verified and attached beside the old one, which ends
-- then; whatever fails before, the old one runs on and nothing has changed. Where both cannot be attached at once (XDP
-- has room for one program), the old one is detached first and attached again should the new one then fail.
local files = require "perilune.core.files"
local store_core = require "perilune.core.store"
local words = require "perilune.words"
local worker = require "perilune.serve.worker"

local policies = {}
local Policies = {}
Policies.__index = Policies

policies.NAME = "^[%a_][%w_-]*$" -- as in the language (form.lua)
policies.LONGEST_NAME = 31

local SAVED_VERSION = 1

--- options: store, log, labels, on_event(worker, name, text, value).
function policies.new(options)
  return setmetatable({
    by_name = {}, busy = {}, store = options.store, log = options.log, labels = options.labels,
    on_event = options.on_event,
  }, Policies)
end

function Policies:names() return words.keys(self.by_name) end
function Policies:get(name) return self.by_name[name] end

function Policies:each(fn)
  for _, name in ipairs(self:names()) do fn(self.by_name[name]) end
end

local function make(self, options)
  options.labels, options.log, options.on_event = self.labels, self.log, self.on_event
  local one = worker.new(options)
  one.origin = options.origin
  return one
end

--- A policy of the configuration, or a kept one: it is started, and started again until it runs.
--- options: name, file, set, trusted, origin.
function Policies:add(options)
  local one = make(self, options)
  self.by_name[options.name] = one
  one:start(function(ok, _, status)
    -- What is wrong with a policy's text stays wrong; an interface may come.
    if not ok and status ~= 2 and one.state == "failed" then one:start_later() end
  end)
  return one
end

-- ---------------------------------------------------------------------------------------------- what is kept

local function file_of(self, name) return self.store:path(("policies/%s.lua"):format(name)) end

local function save(self, name, text, set)
  local ok, message, code = store_core.replace(file_of(self, name), text)
  if not ok then return nil, message, code end
  return self.store:save(("policies/%s.values"):format(name), "policy-values", SAVED_VERSION, set)
end

local function forget(self, name)
  self.store:remove(("policies/%s.lua"):format(name))
  self.store:remove(("policies/%s.values"):format(name))
end

--- Starts what was created in an earlier life.
function Policies:restore()
  for _, file in ipairs(files.list(self.store:path "policies") or {}) do
    local name = file:match "^(.*)%.lua$"
    if name and name:find(policies.NAME) and not self.by_name[name] then
      local set, message, code = self.store:load(("policies/%s.values"):format(name), "policy-values", SAVED_VERSION)
      if not set and code ~= "ENOENT" then
        self.log:warn("the values of a kept policy cannot be read", { policy = name, error = message })
      end
      self:add { name = name, file = file_of(self, name), set = set or {}, origin = "created" }
    end
  end
end

-- ---------------------------------------------------------------------------------------------- changes

-- nil when this policy may be changed now.
local function refuse(self, name)
  if self.busy[name] then return "another change of this policy is under way", "EBUSY" end
  local one = self.by_name[name]
  if one and one.origin ~= "created" then
    return ("%s is a policy of the daemon's %s (change it there, then reload)"):format(name, one.origin), "EPERM"
  end
end

-- Candidates lie beside what is kept, under names that restore() does not look at.
local function stage(self, name, text)
  local path = self.store:path(("candidates/%s.lua"):format(name))
  local ok, message, code = store_core.replace(path, text)
  if not ok then return nil, message, code end
  return path
end

-- What the process said names the candidate's path; the caller knows the policy by its name.
local function in_their_words(message, path, name)
  local from, to = message:find(path, 1, true)
  while from do
    message = message:sub(1, from - 1) .. name .. ".lua" .. message:sub(to + 1)
    from, to = message:find(path, from + 1, true)
  end
  return message
end

-- The candidate runs: it takes the name, and the old one's place.
local function settle(self, change, candidate)
  local saved, message, code = save(self, change.name, change.text, change.set)
  if not saved then
    return candidate:stop(function() change.done(nil, "cannot keep the policy: " .. message, code) end)
  end
  candidate.file = file_of(self, change.name) -- for the next time it is started
  local old = self.by_name[change.name]
  self.by_name[change.name] = candidate
  if not old then
    candidate:release()
    return change.done(candidate, old)
  end
  old:stop(function()
    candidate:release()
    change.done(candidate, old)
  end)
end

local try

-- Both at once was not possible: the old one goes first, and comes back if that was for nothing.
local function try_alone(self, change, message, status)
  local old = self.by_name[change.name]
  old:stop(function()
    self.by_name[change.name] = nil
    try(self, change, function(why, code)
      self.by_name[change.name] = old
      old:start(function(ok)
        if not ok then old:start_later() end
        change.done(nil, why or message, code or status)
      end)
    end)
  end)
end

function try(self, change, failed)
  local candidate = make(self, { name = change.name, file = change.path, set = change.set, origin = "created" })
  candidate:hold()
  candidate:start(function(ok, message, status)
    if ok then return settle(self, change, candidate) end
    message = in_their_words(message, change.path, change.name)
    if candidate.loaded and self.by_name[change.name] and self.by_name[change.name].state == "running" then
      return try_alone(self, change, message, status)
    end
    failed(message, status)
  end)
end

--- Creates, or replaces a created one. done(worker, old worker or nil) | done(nil, message, exit status or errno name).
function Policies:put(name, text, set, done)
  local message, code = refuse(self, name)
  if message then return done(nil, message, code) end
  local path
  path, message, code = stage(self, name, text)
  if not path then return done(nil, message, code) end
  self.busy[name] = true
  local change = { name = name, text = text, set = set, path = path }
  function change.done(...)
    self.busy[name] = nil
    self.store:remove(("candidates/%s.lua"):format(name))
    done(...)
  end
  try(self, change, function(why, status) change.done(nil, why, status) end)
end

--- Ends and forgets a created one. done(true) | done(nil, message, code)
function Policies:delete(name, done)
  local message, code = refuse(self, name)
  if message then return done(nil, message, code) end
  self.busy[name] = true
  self.by_name[name]:stop(function()
    self.busy[name] = nil
    self.by_name[name] = nil
    forget(self, name)
    done(true)
  end)
end

--- Ends all; done() when they have.
function Policies:stop(done)
  local left = 1
  local function one_less()
    left = left - 1
    if left == 0 then done() end
  end
  self:each(function(one)
    left = left + 1
    one:stop(one_less)
  end)
  one_less()
end

function Policies:tick(now)
  self:each(function(one) one:tick(now) end)
end

return policies
