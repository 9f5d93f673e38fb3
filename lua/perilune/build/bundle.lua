-- SPDX-License-Identifier: Apache-2.0
--
-- A policy in one file with all that running it takes where there is no clang: its text, its modules, its own code, and
-- the compiled objects. perilune itself is there, with its templates and headers.
--
--   perilune bundle 1 SHA-256-OF-THE-NEXT-LINE\n
--   { "policy": "edge.lua", "files": [ { "path", "size", "sha256" }, … ], "objects": [ { "key", … } ], … }\n
--   the files and objects, one after the other
--
-- An object is found by what was asked of the compiler, whatever the policy is called and wherever it lies: the
-- generated C without its paths, and the arguments that are no paths (bundle.key). So a setting that changes programs,
-- or another perilune, is a miss and never a wrong program. What was made from other headers or templates is refused as
-- such.
local ffi = require "ffi"
local json = require "perilune.base.json"
local secret = require "perilune.core.secret"
local words = require "perilune.base.words"

local bundle = {}

local Bundle = {}
Bundle.__index = Bundle

local MAGIC, FORMAT = "perilune bundle ", 1
local LARGEST = 256 * 1024 * 1024 -- bytes
local ORDER = ffi.abi "le" and "little" or "big"

local function read(path, most)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text, why = file:read(most)
  file:close()
  return text, why
end

--- Whether a file begins as bundles do.
function bundle.is(path) return read(path, #MAGIC) == MAGIC end

local function plain(text) return (text:gsub("%p", "%%%0")) end

--- What an object is found by. prefix: the directory that the policy's files are in, as paths in the text have it.
function bundle.key(request, prefix)
  local text = request.source:gsub("^/%* Generated for the policy [^\n]*\n", "")
  text = text:gsub('"<policy [^"\n]*>"', '"<policy>"')
  text = text:gsub('#include "[^"\n]*/([%w_]+/template%.bpf%.h)"', '#include "%1"')
  if prefix ~= "" then text = text:gsub('(#line %d+ ")' .. plain(prefix), "%1") end
  local parts = { text }
  for _, arg in ipairs(request.args) do
    if not arg:find "^%-I" and not arg:find "^%-iquote" then parts[#parts + 1] = arg end
  end
  return secret.sha256(table.concat(parts, "\0"))
end

-- What a perilune's programs are made of, as one number for its headers and one for each of these templates.
local function ingredients(context, names, list)
  local parts = {}
  for _, name in ipairs(list(context.share .. "/bpf") or {}) do
    local text = name:find "%.h$" and read(context.share .. "/bpf/" .. name, LARGEST)
    if text then parts[#parts + 1] = name .. "\0" .. text end
  end
  local templates = {}
  for _, name in ipairs(names) do
    local manifest = context.templates:get(name)
    local dir = manifest and ("%s/%s/"):format(manifest.dir, name)
    templates[name] = dir and secret.sha256((read(dir .. "manifest.lua", LARGEST) or "") .. "\0"
      .. (read(dir .. "template.bpf.h", LARGEST) or ""))
  end
  return secret.sha256(table.concat(parts, "\0")), templates
end

--- The bytes of a bundle. made: policy (path of its file), files (path → text), objects (key → bytes), set (name → text
--- of options), name, templates (names), kernel (its release), list (of a directory, as core.files has it).
function bundle.bytes(made, context)
  local head = { format = FORMAT, perilune = context.version, policy = made.policy, name = made.name, set = made.set,
    kernel = made.kernel, order = ORDER, files = json.array {}, objects = json.array {} }
  head.headers, head.templates = ingredients(context, made.templates, made.list)
  local parts = {}
  local function take(into, kind, map)
    for _, name in ipairs(words.keys(map)) do
      into[#into + 1] = { [kind] = name, size = #map[name], sha256 = secret.sha256(map[name]) }
      parts[#parts + 1] = map[name]
    end
  end
  take(head.files, "path", made.files)
  take(head.objects, "key", made.objects)
  local text = json.encode(head)
  return ("%s%d %s\n%s\n%s"):format(MAGIC, FORMAT, secret.sha256(text), text, table.concat(parts))
end

local function torn(path) return nil, path .. ": the bundle is damaged (copy or build it again)", "EINVAL" end

-- name → bytes, of what a head lists from `at` on, and the place behind the last; nil for what is not so.
local function contents(text, list, kind, at)
  local map = {}
  for _, one in ipairs(type(list) == "table" and list or { false }) do
    local size = type(one) == "table" and type(one[kind]) == "string" and tonumber(one.size)
    local bytes = size and text:sub(at, at + size - 1)
    if not bytes or #bytes ~= size or secret.sha256(bytes) ~= one.sha256 then return nil end
    map[one[kind]], at = bytes, at + one.size
  end
  return map, at
end

--- Opens one: everything in it is as it was written, or it is an error. → Bundle | nil, message, code
function bundle.open(path)
  local text, message = read(path, LARGEST)
  if not text then return nil, message, "ENOENT" end
  local format, digest, from = text:match("^" .. MAGIC .. "(%d+) (%x+)\n()")
  if format and tonumber(format) ~= FORMAT then
    return nil, ("%s: a bundle of format %s, and this perilune reads format %d (use the perilune that made it)")
      :format(path, format, FORMAT), "EINVAL"
  end
  local head = from and text:match("^[^\n]*", from)
  local known = head and secret.sha256(head) == digest and json.decode(head)
  if type(known) ~= "table" or type(known.templates) ~= "table" then return torn(path) end
  local self = setmetatable({ path = path, head = known }, Bundle)
  local files, objects, at
  files, at = contents(text, self.head.files, "path", from + #head + 1)
  if files then objects, at = contents(text, self.head.objects, "key", at) end
  if not objects or at ~= #text + 1 or not files[known.policy] then return torn(path) end
  self.prefix, self.objects, self.files = path .. "/", objects, {}
  for name, one in pairs(files) do self.files[self.prefix .. name] = one end
  return self
end

--- Whether this perilune's programs are made of the same; nil, message, code.
function Bundle:fits(context, list)
  local head = self.head
  if head.order ~= ORDER then
    return nil, ("%s: made for a %s-endian machine, and this one is %s-endian (build it for this one)")
      :format(self.path, head.order, ORDER), "EINVAL"
  end
  local headers, templates = ingredients(context, words.keys(head.templates), list)
  if headers ~= head.headers then
    local says = "%s: made by perilune %s, whose programs are not those of this perilune %s (build it anew with it)"
    return nil, says:format(self.path, head.perilune, context.version), "EINVAL"
  end
  for _, name in ipairs(words.keys(head.templates)) do
    if templates[name] ~= head.templates[name] then
      return nil, ("%s: the template %s is %s here (build it anew with this one, or set PERILUNE_PATH)")
        :format(self.path, name, templates[name] and "another" or "not"), "EINVAL"
    end
  end
  return true
end

--- What policy.load wants to know.
function Bundle:spec()
  local file = self.prefix .. self.head.policy
  return { file = file, source = self.files[file], files = self.files, bundle = self }
end

--- The options it was built with, under those that are given.
function Bundle:set(given)
  local set = {}
  for name, value in pairs(self.head.set or {}) do set[name] = value end
  for name, value in pairs(given or {}) do set[name] = value end
  return set
end

--- The object of a request | nil, message, code.
function Bundle:object(request)
  local object = self.objects[bundle.key(request, self.prefix)]
  if object then return object end
  local set = {}
  for _, name in ipairs(words.keys(self.head.set or {})) do
    set[#set + 1] = ("--set %s=%s"):format(name, self.head.set[name])
  end
  local says = "%s holds no program for %s as it is set here (it was built %s; what changes programs needs a bundle of "
    .. "its own)"
  return nil, says:format(self.path, request.name, #set > 0 and "with " .. table.concat(set, " ") or "without --set"),
    "EINVAL"
end

--- What may be behind a kernel's refusal of a program that was compiled elsewhere.
function Bundle:explain(message)
  local here = (read("/proc/sys/kernel/osrelease", 200) or "?"):gsub("%s+$", "")
  if here == self.head.kernel then return message end
  return ("%s\n(%s was made under kernel %s, and this is %s)"):format(message, self.path, self.head.kernel, here)
end

return bundle
