-- SPDX-License-Identifier: Apache-2.0
--
-- The daemon's policies by name: those of its configuration and command line, and those that were created over the
-- interface, whose text and values are kept in the state directory so that they are there after a restart.
--
-- Replacing one is a transaction (replacement.lua), and a reload is one for each that is not created.
local files = require "perilune.core.files"
local replacement = require "perilune.serve.replacement"
local store_core = require "perilune.core.store"
local words = require "perilune.base.words"
local worker = require "perilune.serve.worker"

local policies = {}
local Policies = {}
Policies.__index = Policies

policies.NAME = "^[%a_][%w_-]*$" -- as in the language (form.lua)
policies.LONGEST_NAME = 31

local SAVED_VERSION = 1

--- options: store, log, labels, pin (whether policies are pinned), on_event(worker, name, text, value).
function policies.new(options)
  return setmetatable({
    by_name = {}, busy = {}, store = options.store, log = options.log, labels = options.labels, pin = options.pin,
    on_event = options.on_event,
  }, Policies)
end

function Policies:names() return words.keys(self.by_name) end
function Policies:get(name) return self.by_name[name] end

function Policies:each(fn)
  for _, name in ipairs(self:names()) do fn(self.by_name[name]) end
end

--- A worker, which is not started yet. options: name, file, set, trusted, origin.
function Policies:make(options)
  local one = worker.new {
    name = options.name, file = options.file, set = options.set, trusted = options.trusted, labels = self.labels,
    pin = self.pin, upgrade = options.upgrade, log = self.log, on_event = self.on_event,
  }
  one.origin = options.origin
  return one
end

--- A policy of the configuration, or a kept one: it is started, and started again until it runs. done(true), or
--- done(nil, message) when the first attempt fails.
function Policies:add(options, done)
  local one = self:make(options)
  self.by_name[options.name] = one
  one:start(function(ok, message, status)
    -- What is wrong with a policy's text stays wrong; an interface may come.
    if not ok and status ~= 2 and one.state == "failed" then one:start_later() end
    if done then done(ok, message) end
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

local function restore_one(self, name)
  local text, why = self.store:text(("policies/%s.lua"):format(name))
  if not text then
    return self.log:error("a kept policy is not started", { policy = name, error = why })
  end
  local set, message, code = self.store:load(("policies/%s.values"):format(name), "policy-values", SAVED_VERSION)
  if not set and code ~= "ENOENT" then
    self.log:warn("the values of a kept policy cannot be read", { policy = name, error = message })
  end
  self:add { name = name, file = file_of(self, name), set = set or {}, origin = "created" }
end

--- Starts what was created in an earlier life, but nothing that somebody else may have put there.
function Policies:restore()
  for _, file in ipairs(files.list(self.store:path "policies") or {}) do
    local name = file:match "^(.*)%.lua$"
    if name and name:find(policies.NAME) and not self.by_name[name] then restore_one(self, name) end
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
  local candidate = ("candidates/%s.lua"):format(name)
  local path = self.store:path(candidate)
  local ok, message, code = store_core.replace(path, text)
  if ok then ok, message, code = self.store:text(candidate) end -- what is loaded by its path has to be this
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

--- Creates, or replaces a created one. done(worker, how: see replacement.lua) | done(nil, message, exit status or
--- errno name).
function Policies:put(name, text, set, done)
  local message, code = refuse(self, name)
  if message then return done(nil, message, code) end
  local path
  path, message, code = stage(self, name, text)
  if not path then return done(nil, message, code) end
  self.busy[name] = true
  replacement.start(self, {
    name = name, file = path, lasting = file_of(self, name), set = set, origin = "created",
    words = function(said) return in_their_words(said, path, name) end,
    keep = function()
      local saved, why, failure = save(self, name, text, set)
      if not saved then return nil, "cannot keep the policy: " .. why, failure end
      return true
    end,
    done = function(...)
      self.busy[name] = nil
      self.store:remove(("candidates/%s.lua"):format(name))
      done(...)
    end,
  })
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

-- ---------------------------------------------------------------------------------------------- reload

local function nothing_to_keep() return true end
local function as_said(message) return message end

-- One that there was: its file may be the same, and hold something else. done(result, message)
local function renew(self, one, wanted, done)
  self.busy[one.name] = true
  local function over(result, message)
    self.busy[one.name] = nil
    done(result, message)
  end
  if one.state == "running" then
    return replacement.start(self, {
      name = one.name, file = wanted.file, lasting = wanted.file, set = wanted.set, trusted = wanted.trusted,
      origin = wanted.origin, words = as_said, keep = nothing_to_keep,
      done = function(worker_, how)
        if not worker_ then return over("failed", how) end
        worker_.origin = wanted.origin
        over(how.in_place and "replaced" or "restarted", how.why)
      end,
    })
  end
  one:stop(function()
    self:add(wanted, function(ok, message) over(ok and "started" or "failed", message) end)
  end)
end

local function remove(self, one, done)
  self.busy[one.name] = true
  one:stop(function()
    self.busy[one.name], self.by_name[one.name] = nil, nil
    done "stopped"
  end)
end

--- Those of configuration and command line are as they are there now: list of { name, file, set, trusted, origin }.
--- done(list of { name, result, message }), sorted by name; result: "replaced" in place, "restarted" (and why),
--- "started", "stopped" or "failed" (and why; the old one runs on, if it did).
function Policies:reload(wanted, done)
  local report, left, by_name = {}, 1, {}
  for _, one in ipairs(wanted) do by_name[one.name] = one end
  local function one_less()
    left = left - 1
    if left > 0 then return end
    table.sort(report, function(a, b) return a.name < b.name end)
    done(report)
  end
  local function begin(name, work)
    left = left + 1
    work(function(result, message)
      report[#report + 1] = { name = name, result = result, message = message }
      one_less()
    end)
  end
  self:each(function(one)
    if one.origin == "created" then return end
    local new = by_name[one.name]
    by_name[one.name] = nil
    begin(one.name, function(told)
      if self.busy[one.name] then return told("failed", "another change of this policy is under way") end
      if new then return renew(self, one, new, told) end
      remove(self, one, told)
    end)
  end)
  for name, new in pairs(by_name) do
    begin(name, function(told)
      if self.by_name[name] then return told("failed", "a policy of this name was created over the interface") end
      self:add(new, function(ok, message) told(ok and "started" or "failed", message) end)
    end)
  end
  one_less()
end

-- ---------------------------------------------------------------------------------------------- all

--- Ends all; done() when they have. `leave`: what is pinned goes on.
function Policies:stop(done, leave)
  local left = 1
  local function one_less()
    left = left - 1
    if left == 0 then done() end
  end
  self:each(function(one)
    left = left + 1
    one[leave and "leave" or "stop"](one, one_less)
  end)
  one_less()
end

function Policies:tick(now)
  self:each(function(one) one:tick(now) end)
end

return policies
