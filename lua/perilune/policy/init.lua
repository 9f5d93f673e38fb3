-- SPDX-License-Identifier: Apache-2.0
--
-- Loads a policy: text → forms (language.lua, in a sandbox) → declaration (check.lua). What comes out is
-- plain data and the policy's own functions; what goes wrong is one message "FILE:LINE: what is wrong (what
-- to do)".

local check = require "perilune.policy.check"
local form = require "perilune.base.form"
local language = require "perilune.policy.language"
local options = require "perilune.policy.options"
local sandbox = require "perilune.base.sandbox"

local policy = {}

local function text_of(spec)
  if spec.source then return spec.source, spec.name or "policy" end
  local text, message, remedy = sandbox.read(spec.file)
  if not text then return nil, ("%s: %s (%s)"):format(spec.file, message, remedy) end
  return text, spec.file
end

local function not_a_policy(value, file)
  local kind, pending = form.kind_of(value)
  if pending then
    sandbox.fail({ file = file }, ("%s has no body"):format(tostring(value)),
      "write { … } after it")
  end
  if kind then
    sandbox.fail({ file = file }, ("the file returns %s, not a policy"):format(tostring(value)),
      'end it with return policy "name" { … }')
  end
  sandbox.fail({ file = file }, value == nil and "the file returns nothing" or "the file returns a "
    .. type(value),
    'end it with return policy "name" { … }')
end

-- Returns context, box, text, file; or nil, message.
local function prepare(spec, options_only)
  if not spec.file and not spec.source then error("policy: neither file nor source given", 3) end
  local text, file = text_of(spec)
  if not text then return nil, file end
  local context = {
    templates = spec.templates, set = not options_only and spec.set or {}, options = {},
    options_only = options_only, describe = spec.describe,
  }
  if options_only then context.describe = false end
  local known = language.words(context)
  -- Modules lie beside the file even when its text was given.
  local box = sandbox.new { file = spec.file or file, words = known, say = spec.say,
    trusted = spec.trusted, files = spec.files }
  return context, box, text, spec.file or file
end

local function run(spec, options_only)
  local context, box, text, file = prepare(spec, options_only)
  if not context then return nil, box end
  spec.sources = spec.bundle and { spec.bundle.path } or box.sources
  local decl, message = box:run(function()
    local value = box:compile(text, file)()
    if form.kind_of(value) ~= "policy" or select(2, form.kind_of(value)) then not_a_policy(value, file) end
    -- Without knowing what its own code counts, this is as far as it goes.
    if context.undescribed then return { name = value.name, requests = context.undescribed } end
    local decl = check.declare(value, file, context.options)
    decl.trusted = spec.trusted or false
    decl.sources, decl.bundle = spec.sources, spec.bundle
    return decl
  end)
  if not decl then return nil, message, context end
  decl.name = spec.as or decl.name
  return decl, nil, context
end

-- policy.load { file = path | source = text, name = chunkname, set = { name = text }, templates = registry,
-- describe = what own code declares (false: it cannot be told here: then what comes has only `requests`, for
-- objects.lua; the compiler's by default), say = print's writer, as = name of the policy in place of its own, trusted =
-- whether it has all of Lua }
-- → declaration | nil, message, "EINVAL". Either way, spec.sources are the files that it was made from, as far as that
-- came.
function policy.load(spec)
  local decl, message, context = run(spec, false)
  local unknown = context and options.unknown(context, spec.file or spec.name or "policy")
  -- A value for an option that does not exist is the likelier mistake, unless the policy itself is broken.
  if decl and unknown then return nil, unknown, "EINVAL" end
  if not decl then return nil, message, "EINVAL" end
  return decl
end

-- The options a policy declares, whatever values it would be given: a list, the policy's name if all of it can be
-- read | nil, message, "EINVAL".
function policy.options(spec)
  local decl, message, context = run(spec, true)
  if not decl and not (context and #context.options > 0) then return nil, message, "EINVAL" end
  return context.options, decl and decl.name
end

return policy
