-- SPDX-License-Identifier: Apache-2.0
--
-- The verbs of a session, beside the words of the policy language: what a person types to make something happen.

local blame = require "perilune.base.blame"
local drive = require "perilune.client.drive"
local far = require "perilune.repl.far"
local files = require "perilune.core.files"
local help = require "perilune.repl.help"
local kernel = require "perilune.core.kernel"
local links = require "perilune.core.links"
local list = require "perilune.records.list"
local maps = require "perilune.core.map"
local policy = require "perilune.policy"
local probe = require "perilune.repl.probe"
local running = require "perilune.repl.policy"
local save = require "perilune.repl.save"

local verbs = {}

local function rows(fields, items) return list.new(items, { fields = fields }) end

-- Which map `dump` and `follow` are about.
local Map = { __metatable = "map" }
Map.__index = Map

function Map:dump()
  local it, message = maps.dump(self.which, {})
  if not it then error(message, 0) end
  io.stdout:flush()
  self.session:await(function(done)
    self.session:on_cancel(function() it:stop() end)
    return it:run(done)
  end)
end

function Map:__tostring() return ("map %s"):format(self.which.name or self.which.path or self.which.id) end

local function map_of(session, which)
  if type(which) == "number" then return setmetatable({ session = session, which = { id = which } }, Map) end
  if type(which) ~= "string" then blame.fail 'map takes a name, a path or an id: map("flows_rows")' end
  return setmetatable({ session = session, which = which:find("/", 1, true) and { path = which } or { name = which } },
    Map)
end

local function all_maps()
  local all, message = maps.list()
  if not all then error(message, 0) end
  local out = {}
  for i, m in ipairs(all) do
    local users = {}
    for j, program in ipairs(m.programs) do users[j] = program.name end
    out[i] = { id = m.id, type = m.type, name = m.name, key = m.key_size, value = m.value_size, entries = m.max_entries,
      used_by = table.concat(users, " ") }
  end
  return rows({ "id", "type", "name", "key", "value", "entries", "used_by" }, out)
end

local function all_templates(session)
  local out = {}
  for i, name in ipairs(session.templates:names()) do
    local manifest, message = session.templates:get(name)
    out[i] = { name = name, what = manifest and manifest.help or message }
  end
  return rows({ "name", "what" }, out)
end

local function all_interfaces(session)
  local monitor, message = links.open { changed = function() end }
  if not monitor then error(message, 0) end
  local found = session:await(function(done) return monitor:list(done) end)
  monitor:close()
  local default, out = kernel.default_interface(), {}
  for i, link in ipairs(found) do
    out[i] = { index = link.index, name = link.name, default = link.name == default and "the default route's" or "" }
  end
  return rows({ "name", "index", "default" }, out)
end

local function all_probes(session)
  local out = {}
  for i, p in ipairs(session.probes) do
    local own = probe.runner(p)
    out[i] = { name = p.name, template = p.template, key = p.key_name or "",
      features = table.concat(p.features, " "), windows = own.last and own.last.seq or 0,
      iface = own.attached[1] and own.attached[1].iface or "" }
  end
  return rows({ "name", "template", "key", "features", "iface", "windows" }, out)
end

-- Each policy of the daemon becomes a variable of its name, if that can be one and is free.
local function name_policies(session, d, all)
  local told = {}
  for i, one in ipairs(all) do
    local free = one.name:find "^[%a_][%w_]*$" and session.variables[one.name] == nil and not session.known[one.name]
    local running_at = one.state == "running" and one.level or one.state
    if one.state ~= "running" then free = true end -- and nothing to name
    if one.state == "running" and free then session.variables[one.name] = d:policy(one.name) end
    told[i] = ("%s (%s)"):format(free and one.name or ("daemon:policy %q"):format(one.name), running_at)
  end
  return told
end

-- attach(), attach "/run/x.sock", attach "http://127.0.0.1:9000": a daemon that runs.
local function attach_to(session, where)
  if where ~= nil and type(where) ~= "string" then blame.fail 'attach takes a socket or a URL: attach "/run/x.sock"' end
  local parsed = session.place or {}
  if where then
    parsed = { [where:find "^%a+:" and "server" or "socket"] = where, ["token-file"] = parsed["token-file"] }
  end
  local daemon, message = drive.daemon(parsed)
  if not daemon then error(message, 0) end
  local d, all = far.attach(session, daemon, function(own) return running.of(session, own) end)
  local told = name_policies(session, d, all)
  if #told == 0 then told[1] = "no policies" end
  session:note(("attached to %s: %s"):format(daemon.target.shown, table.concat(told, ", ")))
  return d
end

-- Where all probes that run are attached, which a policy has only one place for.
local function attach_of(session)
  local ifaces, seen, attach = {}, {}, {}
  for _, p in ipairs(session.probes) do
    local more = p.more
    if attach.hook and attach.hook ~= more.hook then
      blame.fail('the probes are on different hooks (%s and %s), and a policy has one', attach.hook, more.hook)
    end
    attach.hook, attach.netns = more.hook, more.netns
    for _, iface in ipairs(probe.runner(p).decl.attach.iface) do
      if not seen[iface] then ifaces[#ifaces + 1], seen[iface] = iface, true end
    end
  end
  if #ifaces > 0 then attach.iface = #ifaces == 1 and ifaces[1] or ifaces end
  return attach
end

local function write_file(path, text)
  local file, message = io.open(path, "w")
  if not file then error(message, 0) end
  local ok, why = file:write(text)
  local closed, why_closed = file:close()
  if not ok or not closed then error(("%s: %s"):format(path, why or why_closed), 0) end
end

-- save "x.lua": nothing is written unless the text is a policy.
local function save_session(session, path, how)
  if type(path) ~= "string" then blame.fail 'save takes a file: save "x.lua"' end
  if files.kind(path) and not (how and how.over) then
    blame.fail('%s exists (save(%q, { over = true }) writes over it)', path, path)
  end
  local text, message = save.policy {
    name = path:match "([^/]+)$":gsub("%.lua$", ""):gsub("[^%w_-]", "-"):gsub("^[^%a_]", "p%0"),
    attach = attach_of(session), window = session.probes[1] and session.probes[1].more.window or "1s",
    probes = session.probes,
    declared = session.declared, chunks = session.chunks,
  }
  local decl
  if text then
    decl, message = policy.load { source = text, name = path, file = path, templates = session.templates }
  end
  if not decl then error("this is no policy yet: " .. message, 0) end
  write_file(path, text)
  session:note(("saved as %s: %d probe%s, %d rule%s"):format(path, #decl.probes, #decl.probes == 1 and "" or "s",
    #decl.rules, #decl.rules == 1 and "" or "s"))
end

--- The verbs of one session, by name.
function verbs.of(session)
  local out = {}
  function out.start(p)
    probe.start(session, p)
    return p
  end
  function out.run(file, set) return running.start(session, file, set) end
  function out.attach(where) return attach_to(session, where) end
  function out.save(path, how) save_session(session, path, how) end
  function out.map(which) return map_of(session, which) end
  function out.maps() return all_maps() end
  function out.templates(name)
    if name == nil then return all_templates(session) end
    session:print(help.template(session.templates, name))
  end
  function out.interfaces() return all_interfaces(session) end
  function out.probes() return all_probes(session) end
  function out.help(topic) session:print(help.lines(session, topic)) end
  function out.quit() session.quitting = true end
  return out
end

return verbs
