-- SPDX-License-Identifier: Apache-2.0
-- Finding templates and reading their manifests, in directories of the test's own.
local template = require "perilune.probe.template"

local GOOD = 'return { name = "%s", help = "%s", fields = {}, features = {}, knobs = {}, hooks = { "xdp" }, windows = {} }'

describe("a registry of templates", function()
  local root, listed

  local function put(dir, name, text)
    assert.equal(0, os.execute(("mkdir -p '%s/%s/%s'"):format(root, dir, name)))
    listed[root .. "/" .. dir] = listed[root .. "/" .. dir] or {}
    table.insert(listed[root .. "/" .. dir], name)
    if not text then return end
    local file = assert(io.open(("%s/%s/%s/manifest.lua"):format(root, dir, name), "w"))
    file:write(text)
    file:close()
  end

  local function registry(...)
    local dirs = {}
    for i, dir in ipairs { ... } do dirs[i] = root .. "/" .. dir end
    return template.registry(dirs, function(dir) return listed[dir] end)
  end

  before_each(function()
    root, listed = os.tmpname(), {}
    os.remove(root)
  end)
  after_each(function() os.execute(("rm -rf '%s'"):format(root)) end)

  it("finds one's own before those that come with perilune", function()
    put("own", "flows", GOOD:format("flows", "mine"))
    put("stock", "flows", GOOD:format("flows", "theirs"))
    put("stock", "counter", GOOD:format("counter", "theirs"))
    local templates = registry("own", "absent", "stock")
    assert.same({ "counter", "flows" }, templates:names())
    assert.equal("mine", templates:get("flows").help)
    assert.equal(root .. "/own", templates:get("flows").dir)
    assert.equal("theirs", templates:get("counter").help)
    assert.equal("theirs", registry("stock", "own"):get("flows").help)
  end)

  it("reads a manifest once", function()
    put("own", "one", GOOD:format("one", "first"))
    local templates = registry "own"
    local manifest = templates:get "one"
    put("own", "one", GOOD:format("one", "second"))
    assert.equal(manifest, templates:get "one")
  end)

  it("does not name directories without a manifest", function()
    put("own", "notes")
    put("own", "one", GOOD:format("one", ""))
    assert.same({ "one" }, registry("own"):names())
    assert.same({}, registry("absent"):names())
    assert.same({}, registry():names())
  end)

  it("offers the nearest of what there is", function()
    put("own", "flows", GOOD:format("flows", ""))
    local manifest, message = registry("own"):get "flosw"
    assert.is_nil(manifest)
    assert.equal('there is no template flosw (did you mean "flows"?)', message)
    manifest, message = registry("absent"):get "x"
    assert.is_nil(manifest)
    assert.truthy(message:find("there is no template x", 1, true))
  end)

  it("says what is wrong with a manifest, and where", function()
    for text, expected in pairs {
      ["return {"] = "manifest.lua:1:",
      ["error 'oh'"] = "attempt to call global 'error'",
      ["return os.time()"] = "global 'os'",
      ["return 5"] = "a manifest returns a table",
      [""] = "a manifest returns a table",
      ["return {}"] = "`name` is missing",
      ['return { name = "x" }'] = "`help` is missing",
      [GOOD:format("y", "")] = "it calls itself y",
      [GOOD:format("x", ""):gsub("windows", "window")] = 'unknown key window (did you mean "windows"?)',
      [GOOD:format("x", ""):gsub("fields = {}", "1")] = "unknown key 1",
      ["return { 1, 2 }"] = "unknown key 1",
    } do
      put("own", "x", text)
      local manifest, message = registry("own"):get "x"
      assert.is_nil(manifest, text)
      assert.truthy(tostring(message):find(expected, 1, true), text .. ": " .. tostring(message))
      assert.truthy(tostring(message):find("manifest.lua", 1, true), tostring(message))
    end
  end)

  it("does not go on to another directory when the first manifest is broken", function()
    put("own", "x", "return {")
    put("stock", "x", GOOD:format("x", ""))
    assert.is_nil((registry("own", "stock"):get "x"))
  end)

  it("keeps a manifest from everything but data", function()
    put("own", "x", 'leaked = 1 ' .. GOOD:format("x", ""))
    assert.truthy(registry("own"):get "x")
    assert.is_nil(rawget(_G, "leaked"))
  end)
end)

describe("the templates that come with perilune", function()
  local templates = template.registry({ "templates" }, function() return { "counter", "flows", "README.md" } end)

  local function names(list)
    local out = {}
    for i, field in ipairs(list) do out[i] = field.name end
    return table.concat(out, " ")
  end

  it("have the fields of their records in order", function()
    assert.same({ "counter", "flows" }, templates:names())
    local flows, counter = templates:get "flows", templates:get "counter"
    assert.equal("src dst sport dport proto ip_version packets skbs bytes",
      names(template.fields(flows, flows.key.choices["5tuple"], {})))
    assert.equal("dst ip_version packets skbs bytes syn syn_ack fin rst psh ack urg ece cwr first last",
      names(template.fields(flows, { "dst" }, { "tcp_flags", "timing" })))
    assert.equal("direction packets skbs bytes frame_bytes", names(template.fields(counter, nil, nil)))
  end)

  it("say of each field what it is", function()
    for _, name in ipairs(templates:names()) do
      local manifest = templates:get(name)
      local features = {}
      for feature in pairs(manifest.features) do features[#features + 1] = feature end
      for _, field in ipairs(template.fields(manifest, manifest.key and manifest.key.choices["5tuple"], features)) do
        assert.truthy(field.unit and #field.unit > 0, name .. "." .. field.name)
        assert.truthy(field.help and #field.help > 0, name .. "." .. field.name)
      end
    end
  end)
end)
