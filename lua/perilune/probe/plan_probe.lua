-- SPDX-License-Identifier: Apache-2.0
-- The C of one probe: what its template is told by macros, and the template, or the operator's own code in its place.
-- Also a program of that alone, from whose object can be read what own code counts (describe.lua). Pure text work.
local gates = require "perilune.probe.plan_gates"
local patterns = require "perilune.probe.patterns"
local words = require "perilune.base.words"

local plan_probe = {}

-- Lines behind own code are the generated program's again; which, is known once it is whole.
local RESUME = "#line RESUME"

--- Names in policies may hold what C's may not.
function plan_probe.c_name(name)
  return (name:gsub("[^%w_]", "_"):gsub("^%d", "_%0"))
end

local c_name = plan_probe.c_name

local function quoted(text) return '"' .. text:gsub('[\\"]', "\\%0"):gsub("%c", " ") .. '"' end

-- What is between the macros: the template's file, or own code under its own file and line.
local function body_of(probe)
  local code = probe.code
  if not code then return ('#include "%s/%s/template.bpf.h"'):format(probe.manifest.dir, probe.template) end
  return ("#line %d %s\n%s\n%s"):format(code.line, quoted(code.file), code.text, RESUME)
end

--- probe: name, template, manifest, key, features, knobs, code, sample, as in a declaration.
function plan_probe.source(probe)
  local defines, undefines = {}, {}
  local function define(name, value)
    defines[#defines + 1] = ("#define %s%s"):format(name, value and " " .. value or "")
    table.insert(undefines, 1, "#undef " .. name:match "^[%w_]+")
  end
  define("PROBE", c_name(probe.name))
  define("PROBE_SAMPLED", gates.is_sampled(probe) and "1" or "0")
  for _, field in ipairs(probe.code and {} or probe.key or {}) do define("KEY_" .. field) end
  for _, feature in ipairs(probe.features) do define("FEATURE_" .. feature) end
  for _, knob in ipairs(words.keys(probe.knobs)) do
    local value = probe.knobs[knob]
    if type(value) == "table" then
      for _, one in ipairs(patterns.defines("KNOB_" .. knob, value)) do define(one[1], one[2]) end
    else
      local declared = probe.manifest.knobs[knob]
      local scale = declared and declared.type == "duration" and 1e9 or 1
      define("KNOB_" .. knob, ("%.0f"):format(value * scale)) -- durations in ns
    end
  end
  return ('\n/* probe %s: %s */\n%s\n%s\n%s\n'):format(probe.name, probe.template, table.concat(defines, "\n"),
    body_of(probe), table.concat(undefines, "\n"))
end

--- A whole program's text with its own lines' numbers behind own code. `name`: what the compiler calls it.
function plan_probe.numbered(text, name)
  if not text:find(RESUME, 1, true) then return text end
  local out, number = {}, 0
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    out[number] = line == RESUME and ("#line %d %s"):format(number + 1, quoted(name)) or line
  end
  return table.concat(out, "\n")
end

--- What the compiler is told of where own code lies, for what it includes beside itself.
function plan_probe.args(probes)
  local args, seen = {}, {}
  for _, probe in ipairs(probes) do
    local beside = probe.code and probe.code.beside
    if beside and not seen[beside] then
      seen[beside] = true
      args[#args + 1] = "-iquote" .. (beside == "" and "." or beside)
    end
  end
  return args
end

--- A program of one probe alone, which nobody loads: { name, source, args }, for the compiler.
--- `name`: of the probe, for messages; at: { file, line } where it was written; share: the directory that holds bpf/.
function plan_probe.alone(probe, at, share, kind)
  local xdp = kind == "xdp"
  local function_name = c_name(probe.name) .. "_on_packet"
  local name = ("<source %s>"):format(probe.name)
  local source = ([[
%s#include <perilune.h>
%s
#line %d %s
SEC("%s") int perilune_describe(%s *ctx) { struct packet p = {.ctx = ctx}; %s(&p); return 0; }
char LICENSE[] SEC("license") = "Dual BSD/GPL";
]]):format(xdp and "#define HOOK_XDP\n" or "", plan_probe.source(probe), at.line or 1, quoted(at.file or name),
    xdp and "xdp" or "tc", xdp and "struct xdp_md" or "struct __sk_buff", function_name)
  local args = { "-I" .. share .. "/bpf", unpack(plan_probe.args { probe }) }
  return { name = name, source = plan_probe.numbered(source, name), args = args }
end

return plan_probe
