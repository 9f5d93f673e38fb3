-- SPDX-License-Identifier: Apache-2.0
--
-- Where a policy's text runs: an environment of the language's words and plain Lua, nothing else.
--
-- A policy comes from an operator, not from a stranger, so this guards against mistakes: no file, process or
-- FFI access by accident, no global that leaks out of or into the program, no bytecode (which could crash
-- it). How long it runs and how much memory it takes is limited from outside: trial.lua, calls.lua. It also knows
-- which line of the policy is running, so that every form can say where it was written.

local words = require "perilune.base.words"

local sandbox = {}

local LARGEST = 1024 * 1024 -- bytes of policy text; more is a wrong file

-- environment → box. A function belongs to a policy when its environment is in here.
local boxes = setmetatable({}, { __mode = "k" })

-- What plain Lua has and a policy has not, and why: it would reach out of the box, or undo it.
local WITHHELD = {}
for why, names in pairs {
  ["a policy reads and writes no files, and runs no programs"] = "io os loadfile dofile package module",
  ["a policy has no access to memory and to the compiler"] = "ffi jit debug newproxy collectgarbage gcinfo",
  ["a policy's code is what its file says; require loads modules beside it"] = "load loadstring getfenv setfenv _G",
  ["tables of the language cannot be opened"] = "getmetatable setmetatable rawget rawset rawequal rawlen",
} do
  for name in names:gmatch "%S+" do WITHHELD[name] = why end
end

-- Where print writes in a process that is not the one the policy was loaded in; nil elsewhere.
local diverted

local Failure = {} -- without __index: a policy that catches one must not find its class

function Failure.__tostring(failure)
  local at, hint = failure.at, failure.hint
  return (at and at.file .. ":" .. (at.line and at.line .. ":" or "") .. " " or "") .. failure.message
    .. (hint and " (" .. hint .. ")" or "")
end

-- Stops the loading of a policy with a located message. `at` = { file, line }; nil: the policy's running
-- line.
function sandbox.fail(at, message, hint)
  error(setmetatable({ at = at or sandbox.here(), message = message, hint = hint }, Failure), 0)
end

-- The box whose code (directly or not) called, and the frame of that code.
local function calling_box()
  for level = 3, 200 do
    local info = debug.getinfo(level, "fSl")
    if not info then return nil end
    local box = info.what ~= "C" and boxes[getfenv(info.func)]
    if box then return box, info end
  end
end

-- The file and line of the policy that (directly or not) called: { file, line }, or nil outside of any
-- policy.
function sandbox.here()
  local box, info = calling_box()
  return box and { file = box.files[info.short_src] or info.short_src, line = info.currentline }
end

-- From now on print writes by say(text), whatever box it belongs to: for a process that answers to another.
function sandbox.divert(say)
  diverted = say
end

local function withhold(name, why)
  sandbox.fail(nil, ("%s is not available in a policy: %s"):format(name, why),
    "--trusted gives it, and takes all limits away")
end

-- Every text has the host's string functions as methods; this is the one that is none of a policy's business.
local dump = string.dump
string.dump = function(...) -- luacheck: ignore
  local box = calling_box()
  if box and not box.trusted then withhold("string.dump", "there is no use for bytecode") end
  return dump(...)
end

-- Where a policy's function was written, or nil for functions of other origin.
function sandbox.origin(fn)
  local info = debug.getinfo(fn, "S")
  local box = info.what ~= "C" and boxes[getfenv(fn)]
  return box and { file = box.files[info.short_src] or info.short_src, line = info.linedefined } or nil
end

local function copy(library)
  local copied = {}
  for key, value in pairs(library) do copied[key] = value end
  return copied
end

-- LuaJIT's own pairs and ipairs ignore __pairs and __ipairs, by which records and rows are walked over.
local function honouring(name, plain)
  return function(t)
    local meta = debug.getmetatable(t)
    local special = type(meta) == "table" and rawget(meta, name)
    if special then return special(t) end
    return plain(t)
  end
end

-- Fresh copies of the libraries, so that a policy cannot change those of the program.
local function plain_lua(say)
  local function show(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
    local write = diverted or say
    write(table.concat(parts, "\t") .. "\n")
  end
  return {
    string = copy(string), table = copy(table), math = copy(math), coroutine = copy(coroutine),
    ipairs = honouring("__ipairs", ipairs), pairs = honouring("__pairs", pairs),
    tonumber = tonumber, tostring = tostring, type = type, select = select, unpack = unpack, assert = assert,
    error = error, pcall = pcall, xpcall = xpcall, next = next, print = show,
  }
end

-- All of Lua, for a policy that is trusted.
local function whole_lua(say)
  local known = plain_lua(say)
  for name, value in pairs(_G) do
    if known[name] == nil then known[name] = value end
  end
  known.ffi, known.bit = require "ffi", require "bit"
  return known
end

local function guard(known, variables)
  return {
    __metatable = "policy",
    __index = function(_, name)
      local value = known[name]
      if value == nil and variables then value = variables[name] end
      if value ~= nil then return value end
      if WITHHELD[name] then withhold(name, WITHHELD[name]) end
      sandbox.fail(nil, ('unknown name "%s"'):format(tostring(name)),
        words.suggest(name, words.keys(known)))
    end,
    __newindex = function(_, name, value)
      if known[name] ~= nil then
        sandbox.fail(nil, ('"%s" is a word of the language and cannot be set'):format(name),
          "choose another name")
      end
      if variables then
        variables[name] = value
        return
      end
      sandbox.fail(nil, ('"%s" would be a global'):format(tostring(name)), "write local " .. tostring(name))
    end,
  }
end

-- A whole file as text; or nil, message, remedy.
function sandbox.read(path)
  local file, message = io.open(path, "rb")
  if not file then
    return nil, (message:gsub("^.*: ", "")), "is the path right?"
  end
  local text, why = file:read(LARGEST + 1)
  file:close()
  if not text and why then return nil, why, "give the policy's file" end
  if text and #text > LARGEST then return nil, "it is larger than 1 MiB", "is it a policy?" end
  return text or ""
end

local Box = {}
Box.__index = Box

-- spec: file (path, for messages and modules), words (name → value), say (function(text), what print writes to;
-- standard error by default, as standard output may carry JSON), trusted (all of Lua is there, and require loads its
-- modules too), variables (a table: what a session sets is kept there; without it nothing can be set), files (path →
-- text: the only ones there are). box.sources: the files it was asked to read so far, those that are missing or wrong
-- among them.
function sandbox.new(spec)
  local lua = spec.trusted and whole_lua or plain_lua
  local known = lua(spec.say or function(text) io.stderr:write(text) end)
  for name, value in pairs(spec.words) do known[name] = value end
  local box = setmetatable({ file = spec.file, files = {}, texts = {}, modules = {}, sources = { spec.file },
    held = spec.files, trusted = spec.trusted }, Box)
  known.require = function(name) return box:module(name) end
  box.environment = setmetatable({}, guard(known, spec.variables))
  boxes[box.environment] = box
  return box
end

-- Compiles text as a chunk of this box; a syntax error or bytecode is a located failure.
function Box:compile(text, file)
  if text:find("^\27") then
    sandbox.fail({ file = file }, "this is compiled bytecode", "a policy has to be Lua text")
  end
  if text:find("\0", 1, true) then
    sandbox.fail({ file = file }, "this is a binary file", "a policy has to be Lua text")
  end
  local chunk, message = load(text, "@" .. file, "t", self.environment)
  if not chunk then
    local line, what = message:match(":(%d+): (.*)$")
    sandbox.fail({ file = file, line = tonumber(line) }, what or message,
      "the policy is Lua: look for a missing comma, bracket, quote or end here or above")
  end
  self.files[debug.getinfo(chunk, "S").short_src] = file
  self.texts[file] = text
  return chunk
end

function Box:read(path)
  if not self.held then return sandbox.read(path) end
  local text = self.held[path]
  if text then return text end
  return nil, "it is not in the bundle", "build it anew"
end

-- A file that the policy names, in `dir` (the policy's own when nil): its text and path | nil, message, remedy. As with
-- require, only what lies beside the policy or below; a policy that is trusted may name any.
function Box:beside(name, dir)
  local own = dir or self.file:match "^(.*/)" or ""
  local climbs = ("/" .. name .. "/"):find("/../", 1, true)
  local safe = #name > 0 and not name:find "^/" and not name:find "%c" and not climbs
  if not safe and not self.trusted then
    return nil, ('"%s" is not beside the policy'):format((name:gsub("%c", "?"))),
      "name a file in the policy's directory, or below it"
  end
  local path = name:find "^/" and name or own .. name
  self.sources[#self.sources + 1] = path
  local text, message, remedy = self:read(path)
  if not text then return nil, ("%s: %s"):format(path, message), remedy end
  return text, path
end

-- For words that read files: the box of the policy that calls.
function sandbox.calling()
  return (calling_box())
end

-- require: a module beside the policy file, in the same environment, run once.
function Box:module(name)
  if type(name) ~= "string" or not name:find("^[%w_-]+[%w_.-]*$") or name:find("..", 1, true) then
    sandbox.fail(nil, ("cannot require %s"):format(type(name) == "string" and '"' .. name .. '"' or "a "
      .. type(name)),
      "name a module beside the policy, without .lua")
  end
  local loaded = self.modules[name]
  if loaded == self then
    sandbox.fail(nil, ('module "%s" requires itself'):format(name),
      "break the circle")
  end
  if loaded ~= nil then return loaded end
  local path = (self.file:match("^(.*/)") or "") .. name:gsub("%.", "/") .. ".lua"
  local text, message, remedy = self:read(path)
  if not text and self.trusted then
    local found, value = pcall(require, name)
    if found then return value end
  elseif not text and WITHHELD[name] then
    withhold(name, WITHHELD[name])
  end
  self.sources[#self.sources + 1] = path
  if not text then sandbox.fail(nil, ('module "%s": %s: %s'):format(name, path, message), remedy) end
  self.modules[name] = self
  local value = self:compile(text, path)()
  if value == nil then value = true end
  self.modules[name] = value
  return value
end

-- The place and the rest of a message that begins with a line of this box: { file, line }, text; or nil.
function Box:place_of(message)
  for short, file in pairs(self.files) do
    if message:sub(1, #short + 1) == short .. ":" then
      local line, what = message:sub(#short + 2):match("^(%d+): (.*)$")
      if line then return { file = file, line = tonumber(line) }, what end
    end
  end
end

-- Lua's own errors begin with the place; a failure made here already knows it.
function Box:located(problem)
  if getmetatable(problem) == Failure then
    problem.at = problem.at or { file = self.file } -- a tail call leaves no line behind
    return problem
  end
  local message = tostring(problem)
  local at, what = self:place_of(message)
  if at then return setmetatable({ at = at, message = what }, Failure) end
  return setmetatable({ at = sandbox.here() or { file = self.file }, message = message }, Failure)
end

-- A stack that has overflowed has no room for a handler that looks around: a second overflow, inside it, would take
-- the place of the first. Such a problem is left as it is until the stack has been unwound.
local function has_overflowed(problem)
  return type(problem) == "string" and problem:find("stack overflow", 1, true)
end

-- What an overflow says of where it was is not always of use: it may name a line of ours that the policy called, or,
-- in compiled code, line -1.
function Box:unwound(problem)
  local at = self:place_of(problem)
  return setmetatable({ at = at or { file = self.file }, message = "stack overflow",
    hint = "does a function call itself without end?" }, Failure)
end

-- Runs fn(...) guarded. Returns its value, or nil and the message "FILE:LINE: what (what to do)".
function Box:run(fn, ...)
  local arguments = { n = select("#", ...), ... }
  local ok, value = xpcall(function() return fn(unpack(arguments, 1, arguments.n)) end,
    function(problem) return has_overflowed(problem) and problem or self:located(problem) end)
  if ok then return value end
  return nil, tostring(has_overflowed(value) and self:unwound(value) or value)
end

return sandbox
