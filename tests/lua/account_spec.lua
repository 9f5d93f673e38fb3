-- SPDX-License-Identifier: Apache-2.0
local account = require "perilune.engine.account"

local function engine(first)
  local n = first
  local function some(...)
    local out = {}
    for _, name in ipairs { ... } do
      out[name] = n
      n = n + 1
    end
    return out
  end
  local made = some("windows", "transitions", "seconds")
  made.totals = some("packets", "skbs", "bytes")
  made.loss = some("map_full", "evicted", "ring_full", "not_parsed", "late", "limited")
  made.not_parsed_by = some("not_ip", "truncated", "malformed")
  made.flawed_by = some("bad_length", "bad_headers", "bad_transport")
  made.directions = { ingress = some("packets", "skbs", "bytes"), egress = some("packets", "skbs", "bytes") }
  return made
end

describe("an account", function()
  it("gives an engine what it was taken of", function()
    local from, into = engine(100), engine(0)
    assert.is_true(account.give(into, account.take(from)))
    assert.same(from, into)
  end)

  it("begins with nothing where nothing was entered yet", function()
    local into = engine(100)
    assert.is_true(account.give(into, {}))
    assert.equal(0, into.totals.packets)
    assert.equal(0, into.directions.egress.bytes)
  end)

  it("of other directions is not taken", function()
    local from, into = engine(100), engine(0)
    from.directions.egress = nil
    local ok, message = account.give(into, account.take(from))
    assert.is_nil(ok)
    assert.equal("21 sums are pinned, and 24 are known", message)
  end)

  it("fits what the kernel keeps", function()
    assert.is_true(#account.take(engine(0)) <= 48) -- LEDGER_SUMS
  end)
end)
