-- SPDX-License-Identifier: Apache-2.0
-- perilune doctor: what this kernel and machine can do, found by trying, and what each thing's absence costs.
local format = require "perilune.base.format"
local kernel = require "perilune.core.kernel"
local pinned = require "perilune.core.pinned"

local doctor = {
  usage = "perilune doctor [--json]",
  summary = "what this kernel and machine can do, and what not",
  options = { json = "flag" },
  help = [[
Tries what perilune uses of the kernel, attaches nothing and leaves nothing behind. For what is absent it says
what that costs and what to do. Exit status 3 when something is missing that perilune cannot work without.

  --json  prints one object a line: versions, rights, every capability, how maps of each type are read
          (quiet: a window's, used: while others write, large: of more than 16384 entries), the verdict, pins]],
}

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t" }

local function json_value(value)
  if type(value) ~= "string" then return tostring(value) end
  return '"' .. format.utf8(value):gsub('[%c"\\]', function(c)
    return ESCAPES[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

-- One line with these keys in this order; those without a value are left out.
local function json_line(kind, record, keys)
  local parts = { '"v":1', '"kind":' .. json_value(kind) }
  for _, key in ipairs(keys) do
    if record[key] ~= nil then parts[#parts + 1] = ('"%s":%s'):format(key, json_value(record[key])) end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function denied(capability)
  return capability.code == "EPERM" or capability.code == "EACCES"
end

local function state(capability)
  if capability.ok then return "ok" end
  if denied(capability) then return "DENIED" end
  return capability.required and "MISSING" or "absent"
end

local function versions(context, capabilities)
  local found = kernel.versions()
  found.perilune = context.version
  found.luajit = jit.version:gsub("^LuaJIT ", "")
  found.jit = (jit.status())
  for _, capability in ipairs(capabilities) do
    if capability.name == "clang" and capability.ok then found.clang = capability.detail end
  end
  found.interface = kernel.default_interface()
  return found
end

-- What takes CAP_SYS_ADMIN, and is off without it.
local PRIVILEGED = "run-time statistics (budgets), maps of others by id, other network namespaces"

-- The rights of this process that count here, and what is off for want of one.
local function rights()
  local held, now = {}, kernel.effective() or {}
  for _, name in ipairs { "bpf", "net_admin", "perfmon", "sys_admin" } do
    if now["cap_" .. name] then held[#held + 1] = "CAP_" .. name:upper() end
  end
  return held, not now.cap_sys_admin and PRIVILEGED or nil
end

-- One line, and whether perilune works here.
local function verdict(capabilities)
  local missing, absent, permission = {}, {}, nil
  for _, capability in ipairs(capabilities) do
    if not capability.ok and capability.required then
      if denied(capability) then
        permission = ("not permitted to use BPF (%s)"):format(capability.remedy)
      else
        missing[#missing + 1] = ("there is no %s (%s)"):format(capability.what, capability.remedy)
      end
    elseif not capability.ok then
      absent[#absent + 1] = capability.what
    end
  end
  if permission then table.insert(missing, 1, permission) end
  if #missing > 0 then return "perilune does not work here: " .. table.concat(missing, "; "), false end
  if #absent > 0 then return "perilune works here, without: " .. table.concat(absent, ", "), true end
  return "perilune works here, with everything it can use", true
end

local function print_json(context, capabilities)
  local line, ok = verdict(capabilities)
  local ways = kernel.map_ways()
  context.out(json_line("versions", versions(context, capabilities),
    { "perilune", "kernel", "machine", "clang", "libbpf", "luajit", "jit", "interface" }))
  local held, off = rights()
  context.out(json_line("rights", { held = table.concat(held, " "), off = off }, { "held", "off" }))
  for _, capability in ipairs(capabilities) do
    context.out(json_line("capability", capability,
      { "name", "what", "required", "ok", "code", "detail", "costs", "remedy" }))
  end
  for _, map in ipairs(ways) do
    context.out(json_line("map", map, { "type", "quiet", "used", "large", "code" }))
  end
  context.out(json_line("verdict", { ok = ok, text = line }, { "ok", "text" }))
  return ok
end

-- How maps are read; types that are read the same way stand in one line.
local function print_ways(context)
  local lines, known = {}, {}
  for _, map in ipairs(kernel.map_ways()) do
    local way = map.code and ("not (%s)"):format(map.code) or map.quiet
    if not map.code and map.large ~= map.quiet then way = ("%s; large ones: %s"):format(way, map.large) end
    if not map.code and map.used ~= map.quiet then way = ("%s; in use: %s"):format(way, map.used) end
    if not known[way] then
      known[way] = { way = way }
      lines[#lines + 1] = known[way]
    end
    table.insert(known[way], map.type)
  end
  context.out "\nmaps are read"
  for _, line in ipairs(lines) do context.out(("  %-40s %s"):format(line.way, table.concat(line, ", "))) end
end

local function print_table(context, capabilities)
  local found = versions(context, capabilities)
  local line, ok = verdict(capabilities)
  local wide = 0
  for _, capability in ipairs(capabilities) do wide = math.max(wide, #capability.what) end
  local row = "  %-8s %-" .. wide .. "s  %s"

  context.out(("perilune %s, Linux %s (%s), libbpf %s, LuaJIT %s with its JIT %s"):format(found.perilune,
    found.kernel or "?", found.machine or "?", found.libbpf, found.luajit, found.jit and "on" or "off"))
  context.out(("clang: %s; default interface: %s"):format(found.clang or "none", found.interface or "none"))
  local held, off = rights()
  context.out(("rights: %s%s\n"):format(#held > 0 and table.concat(held, " ") or "none",
    off and "; off without CAP_SYS_ADMIN: " .. off or ""))
  for _, capability in ipairs(capabilities) do
    local note = capability.detail or ""
    if denied(capability) then
      note = ("not permitted (%s)"):format(capability.remedy)
    elseif not capability.ok and note == "" then
      note = capability.code
    end
    context.out((row:format(state(capability), capability.what, note):gsub("%s+$", "")))
    if not capability.ok and not denied(capability) then
      context.out((" "):rep(11) .. capability.costs)
      context.out((" "):rep(11) .. "→ " .. capability.remedy)
    end
  end
  print_ways(context)
  context.out("\n" .. line)
  return ok
end

-- What processes have left that were killed, and what goes on without them.
local function print_pinned(context, json)
  for _, one in ipairs(pinned.list() or {}) do
    if json then
      context.out(json_line("pinned", one, { "policy", "file", "version", "pid", "alive", "seq", "whole" }))
    elseif not one.alive then
      context.out(("\n%s is pinned, and counts without a process (perilune run %s --pin goes on with it, perilune "
        .. "unpin %s gives it up)"):format(one.policy, one.file ~= "" and one.file or "FILE", one.policy))
    end
  end
end

function doctor.run(parsed, context)
  if parsed[1] then return context.fail(("doctor takes no argument %s"):format(parsed[1])) end
  local show = parsed.json and print_json or print_table
  local ok = show(context, kernel.capabilities())
  print_pinned(context, parsed.json)
  return ok and context.exit.done or context.exit.refused
end

return doctor
