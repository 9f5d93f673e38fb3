-- SPDX-License-Identifier: Apache-2.0
--
-- The one form of the language: kind "name" { body }. A word called with a name waits for its body; with it,
-- it becomes a record that knows its kind, its name and the line where it was written.

local sandbox = require "perilune.base.sandbox"
local units = require "perilune.base.units"

local form = {}

local Form, Pending = {}, {}

Pending.__tostring = function(thing) return ('%s "%s"'):format(thing.word or thing.template or thing.form,
  thing.name) end
Form.__tostring = Pending.__tostring

local methods = {} -- by kind

function Form.__index(thing, name)
  local known = methods[rawget(thing, "form")]
  return known and known[name]
end

-- Gives all forms of a kind methods, for a session in which they can be used (repl/).
function form.install(kind, verbs) methods[kind] = verbs end

-- Names become labels, keys and parts of C identifiers.
local NAME = { pattern = "^[%a_][%w_-]*$", says = "letters, digits, - and _, beginning with a letter" }
local FREE = { pattern = "^[^%c]+$", says = "a text on one line", longest = 200 }
local IDENTIFIER = { pattern = "^%a[%w_]*$", says = "letters, digits and _, beginning with a letter" }
local LONGEST = 31
local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return
  then true until while]]):gmatch("%a+") do KEYWORDS[word] = true end

-- Fails unless `name` is one. `rule`: what names are made of, that of most by default.
local function check_name(word, name, rule)
  rule = rule or NAME
  if type(name) ~= "string" then
    sandbox.fail(nil, ("%s needs a name, got a %s"):format(word, type(name)),
      ('write %s "name" { … }'):format(word))
  end
  local longest = rule.longest or LONGEST
  if not name:find(rule.pattern) or #name > longest then
    sandbox.fail(nil, ('%s: "%s" is no name'):format(word, name),
      ("%s; at most %d"):format(rule.says, longest))
  end
  if KEYWORDS[name] then
    sandbox.fail(nil, ('%s: "%s" is a keyword of Lua'):format(word, name),
      "choose another name")
  end
end

form.check_name = check_name

-- kind_of(x): "rule", "level" … for a finished form, and true as second result for one that still lacks its
-- body.
function form.kind_of(thing)
  local meta = getmetatable(thing)
  if meta == Form then return thing.form end
  if meta == Pending then return thing.form, true end
end

-- A finished form.
function form.new(fields)
  return setmetatable(fields, Form)
end

-- The word `kind` of the language. `make(name, body, at)` returns what the finished form is. With
-- `default_name`, the name may be left out: kind { body }. `identifier`: the name goes into generated code. `free`: it
-- is any text.
function form.word(kind, make, spec)
  spec = spec or {}
  local rule = spec.free and FREE or spec.identifier and IDENTIFIER or NAME
  return function(name)
    local at = sandbox.here()
    if spec.default_name and type(name) == "table" and not form.kind_of(name) then
      return make(spec.default_name, name, at)
    end
    check_name(kind, name, rule)
    return setmetatable({ form = spec.form or kind, word = kind, name = name, at = at, make = make }, Pending)
  end
end

Pending.__call = function(pending, body)
  return pending.make(pending.name, body, pending.at)
end

-- A schema's parse that fails at the form's own line.
function form.parse(spec, body, at, title)
  local values, items, remedy = spec:parse(body)
  if not values then sandbox.fail(at, title and title .. ": " .. items or items, remedy) end
  return values, items
end

-- Why a thing is not a form of this kind: message, remedy.
function form.misfit(thing, kind)
  local other, pending = form.kind_of(thing)
  if pending and other == kind then
    return ('%s has no body'):format(tostring(thing)), ("write %s {} after it"):format(tostring(thing))
  end
  local shown = other and tostring(thing) or type(thing) == "string" and units.quote(thing) or "a "
    .. type(thing)
  return ("expected a %s, got %s"):format(kind, shown), ('write %s "name" { … }'):format(kind)
end

-- A schema type: a list of forms of one kind, or of two.
function form.list(kind, other)
  return function(value)
    local found, pending = form.kind_of(value)
    if found then
      if (found == kind or found == other) and not pending then return { value } end
      return nil, form.misfit(value, kind)
    end
    if type(value) ~= "table" then return nil, form.misfit(value, kind) end
    local count = 0
    for key in pairs(value) do
      if type(key) ~= "number" then
        return nil, ("expected a list, got the key %s"):format(units.quote(key)),
          ('write %s "%s" { … }'):format(kind, tostring(key))
      end
      count = math.max(count, key)
    end
    local list = {}
    for i = 1, count do
      if value[i] == nil then
        return nil, ("entry %d is nil"):format(i),
          "is a name misspelt, or used before it is set?"
      end
      local one, waiting = form.kind_of(value[i])
      if one ~= kind and (one ~= other or not one) or waiting then return nil, form.misfit(value[i], kind) end
      list[i] = value[i]
    end
    return list
  end
end

-- A schema type: one form of a kind.
function form.one(kind)
  return function(value)
    local found, pending = form.kind_of(value)
    if found == kind and not pending then return value end
    return nil, form.misfit(value, kind)
  end
end

return form
