-- SPDX-License-Identifier: Apache-2.0
-- Bundles: by what an object is found, and that whatever is not as it was written is an error. The hash is a poor one here: that of
-- the runtime is C.
local function poor_hash(text)
  local a, b = 1, 0
  for i = 1, #text do
    a = (a * 31 + text:byte(i)) % 4294967296
    b = (b + a) % 4294967296
  end
  return ("%08x%08x"):format(a, b)
end

package.preload["perilune.core.secret"] = package.preload["perilune.core.secret"] or function() return { sha256 = poor_hash } end
local bundle = require "perilune.build.bundle"

local function request(source, args) return { name = "<policy p>", source = source, args = args or { "-I/share/bpf" } } end

local PROGRAM = [[
/* Generated for the policy p. */
#include "/share/templates/flows/template.bpf.h"
#line 1 "dir/own.bpf.c"
int own;
#line 6 "<policy p>"
]]

describe("an object of a bundle", function()
  it("is found wherever the policy lies and whatever it is called", function()
    local elsewhere = PROGRAM:gsub("policy p", "policy q"):gsub("/share/", "/usr/share/"):gsub("dir/own", "x.bundle/own")
    assert.equal(bundle.key(request(PROGRAM), "dir/"),
      bundle.key(request(elsewhere, { "-I/usr/share/bpf", "-iquotex.bundle/" }), "x.bundle/"))
  end)

  it("is another when the program or how it is compiled is", function()
    local key = bundle.key(request(PROGRAM), "dir/")
    for _, other in ipairs { request((PROGRAM:gsub("int own", "int other"))), request(PROGRAM, { "-I/share/bpf", "-DHOOK_CALLS" }),
      request((PROGRAM:gsub("flows", "netflow"))), request((PROGRAM:gsub("#line 1 ", "#line 2 "))) } do
      assert.not_equal(key, bundle.key(other, "dir/"))
    end
  end)
end)

describe("a bundle", function()
  local path, context = os.tmpname(), { share = "/nowhere", version = "1.2.3", templates = { get = function() end } }
  local made = { policy = "a.lua", name = "a", set = { hook = "xdp" }, kernel = "6.1", templates = {},
    files = { ["a.lua"] = "return 1", ["b/c.lua"] = "return 2" }, objects = {}, list = function() return {} end }
  made.objects[bundle.key(request(PROGRAM), "dir/")] = "\127ELF\0object"

  local function write(bytes)
    local file = assert(io.open(path, "wb"))
    file:write(bytes)
    file:close()
  end

  teardown(function() os.remove(path) end)

  it("gives back what was put in", function()
    write(bundle.bytes(made, context))
    assert.is_true(bundle.is(path))
    local opened = assert(bundle.open(path))
    local spec = opened:spec()
    assert.equal(path .. "/a.lua", spec.file)
    assert.equal("return 1", spec.source)
    assert.equal("return 2", spec.files[path .. "/b/c.lua"])
    assert.same({ hook = "tc", iface = "lo" }, opened:set { hook = "tc", iface = "lo" })
    assert.same({ hook = "xdp" }, opened:set())
    assert.equal("\127ELF\0object", opened:object(request((PROGRAM:gsub("dir/", (path:gsub("%%", "%%%%")) .. "/")))))
    local object, message = opened:object(request "other")
    assert.is_nil(object)
    assert.matches("holds no program for <policy p> as it is set here %(it was built with %-%-set hook=xdp;", message)
    assert.is_true(opened:fits(context, made.list))
  end)

  it("says which kernel it was made under, when another refuses it", function()
    write(bundle.bytes(made, context))
    assert.matches("^refused\n%(.* was made under kernel 6%.1, and this is ", bundle.open(path):explain "refused")
  end)

  it("with any byte changed, or cut anywhere, is an error", function()
    local bytes = bundle.bytes(made, context)
    for i = #"perilune bundle 1 " + 1, #bytes do
      local changed = string.char((bytes:byte(i) + 1) % 256)
      write(bytes:sub(1, i - 1) .. changed .. bytes:sub(i + 1))
      local opened, message = bundle.open(path)
      assert.is_nil(opened, ("byte %d"):format(i))
      assert.matches("the bundle is damaged", message)
      write(bytes:sub(1, i - 1))
      assert.is_nil(bundle.open(path))
    end
  end)
end)
