-- SPDX-License-Identifier: Apache-2.0
-- What people read: every link leads somewhere, every file, command and option that is named is there, and the language is whole.
local HERE = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local ROOT = HERE .. "/../../"

local PAGES = { "README.md", "CONTRIBUTING.md", "docs/policies.md", "docs/replay.md", "docs/commands.md", "docs/daemon.md",
  "templates/README.md", "bpf/README.md" }

local function read(path)
  local file = assert(io.open(ROOT .. path))
  local text = file:read "*a"
  file:close()
  return text
end

local function exists(path)
  local file = io.open(ROOT .. path)
  if file then file:close() end
  return file ~= nil
end

-- A heading as GitHub's anchors have it.
local function anchors(text)
  local known = {}
  for heading in ("\n" .. text):gmatch "\n#+ ([^\n]+)" do
    known[heading:lower():gsub("[^%w%s_-]", ""):gsub("%s", "-")] = true
  end
  return known
end

-- dir/../x → x
local function plain(path)
  local count = 1
  while count > 0 do path, count = path:gsub("[^/]+/%.%./", "", 1) end
  return path
end

-- What stands in code: spans and blocks, one after the other.
local function code_of(text)
  local parts = {}
  text = ("\n" .. text):gsub("\n```%l*\n(.-)\n```", function(block)
    parts[#parts + 1] = block
    return "\n"
  end)
  for line in text:gmatch "\n    ([^\n]+)" do parts[#parts + 1] = line end
  for span in text:gmatch "`([^`]+)`" do parts[#parts + 1] = span end
  return parts
end

local function commands()
  local list = read("lua/perilune/main.lua"):match "local COMMANDS = (%b{})"
  local known = {}
  for name in list:gmatch '"(%l+)"' do known[name] = true end
  assert(next(known))
  return known
end

describe("what people read", function()
  it("has no link that leads nowhere", function()
    for _, page in ipairs(PAGES) do
      for target in read(page):gmatch "%]%(([^)]+)%)" do
        if not target:find "^https?:" then
          local path, anchor = target:match "^([^#]*)#?(.*)$"
          path = path == "" and page or plain((page:match "^(.*/)" or "") .. path)
          assert.is_true(exists(path), page .. ": there is no " .. target)
          if anchor ~= "" then assert.is_true(anchors(read(path))[anchor], page .. ": no heading for " .. target) end
        end
      end
    end
  end)

  it("names files that there are", function()
    for _, page in ipairs(PAGES) do
      for _, code in ipairs(code_of(read(page))) do
        local path = code:match "^([%l_]+/[%w_/.-]+%.%l+)$"
        local room = path and path:match "^(%l+)/"
        if room and exists(room .. "/.") and not path:find "NAME" then assert.is_true(exists(path), page .. ": there is no " .. path) end
      end
    end
  end)

  it("names commands and options that there are", function()
    local known = commands()
    local sources = {}
    for name in pairs(known) do sources[#sources + 1] = read("lua/perilune/command/" .. name .. ".lua") end
    sources = table.concat(sources) .. read "lua/perilune/client/place.lua" .. "--help --version"
    for _, page in ipairs { "README.md", "docs/policies.md", "docs/replay.md", "docs/commands.md", "docs/daemon.md" } do
      for _, code in ipairs(code_of(read(page))) do
        for command in (" " .. code):gmatch "[%s/]perilune (%l+)" do
          assert.is_true(known[command], ("%s: there is no command %s"):format(page, command))
        end
        if code:find "^perilune " or code:find "^%-%-" then
          for option in code:gmatch "%-%-(%l[%l-]*)" do
            assert.truthy(sources:find("--" .. option, 1, true), ("%s: no command takes --%s"):format(page, option))
          end
        end
      end
    end
  end)

  it("leaves out no command", function()
    local text = read "docs/commands.md" .. read "docs/daemon.md"
    for name in pairs(commands()) do
      assert.truthy(text:find("%f[%w]" .. name .. "%f[%W]"), "nothing is said of perilune " .. name)
    end
  end)

  it("leaves out no template", function()
    local text = read "docs/policies.md"
    local listing = io.popen(("ls -d '%s'templates/*/"):format(ROOT))
    for dir in listing:lines() do
      local name = dir:match "([^/]+)/$"
      assert.truthy(text:find("`" .. name .. "`", 1, true), "nothing is said of the template " .. name)
    end
    listing:close()
  end)
end)
