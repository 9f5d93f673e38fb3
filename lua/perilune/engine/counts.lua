-- SPDX-License-Identifier: Apache-2.0
--
-- What a window has counted, for the engine: the views of its maps, the totals of the hooks, what is lost and where.
local shape = require "perilune.records.shape"
local view = require "perilune.records.view"

local counts = {}

counts.LOSS = { "map_full", "evicted", "ring_full", "not_parsed", "late", "limited" }
counts.NOT_PARSED = { "not_ip", "truncated", "malformed" }
counts.FLAWS = { "bad_length", "bad_headers", "bad_transport" }
counts.COUNTS = { "packets", "skbs", "bytes" }

function counts.zeros(names)
  local out = {}
  for _, name in ipairs(names) do out[name] = 0 end
  return out
end

function counts.add(into, from, names)
  for _, name in ipairs(names) do into[name] = into[name] + from[name] end
end

-- Views of the probes' batches by name, and the totals of the hook.
function counts.open_views(planned, batches, closed)
  local views = { rows = {}, other = {}, lost = {} }
  for position, declared in ipairs(planned.windows) do
    local batch = batches[position]
    if batch then
      local opened = declared.role ~= "state"
        and view.new(batch, { window = closed.seq, seconds = closed.seconds })
      if not opened then
        batch:close()
      elseif declared.role == "totals" then
        views.totals = opened
      else
        views[declared.role][declared.probe or declared.map] = opened -- the policy's own have no probe
      end
    end
  end
  return views
end

function counts.close_views(views)
  views.totals:close()
  for _, role in ipairs { "rows", "other", "lost" } do
    for _, opened in pairs(views[role]) do opened:close() end
  end
end

-- What the hook counted: packets, skbs, bytes, each way, and what no row can hold.
function counts.read_totals(views, directions)
  local totals = {
    not_parsed_by = counts.zeros(counts.NOT_PARSED), flawed_by = counts.zeros(counts.FLAWS), directions = {},
  }
  for _, name in ipairs(counts.COUNTS) do totals[name] = 0 end
  for _, row in views.totals:rows() do
    if directions[row.direction] then
      totals.directions[row.direction] = { packets = row.packets, skbs = row.skbs, bytes = row.bytes }
    end
    for _, name in ipairs(counts.COUNTS) do totals[name] = totals[name] + row[name] end
    for _, name in ipairs(counts.NOT_PARSED) do totals.not_parsed_by[name] = totals.not_parsed_by[name] + row[name] end
    for _, name in ipairs(counts.FLAWS) do totals.flawed_by[name] = totals.flawed_by[name] + row[name] end
  end
  return totals
end

local function sum_of(t)
  local sum = 0
  for _, value in pairs(t) do sum = sum + value end
  return sum
end

-- Loss of one probe: what did not fit in its map, and what had no key to be counted under.
function counts.probe_loss(views, name, totals)
  local loss = counts.zeros(counts.LOSS)
  local other = views.other[name]
  loss.map_full = other and shape.total(other, "packets") or 0
  loss.limited = other and view.has(other, "limited") and shape.total(other, "limited") or 0
  if other then loss.not_parsed = sum_of(totals.not_parsed_by) end
  loss.ring_full = views.lost[name] and shape.total(views.lost[name], "events") or 0
  return loss
end

function counts.window_loss(views, totals)
  local loss, names = counts.zeros(counts.LOSS), {}
  for name in pairs(views.other) do names[name] = true end
  for name in pairs(views.lost) do names[name] = true end
  for name in pairs(names) do
    counts.add(loss, counts.probe_loss(views, name, totals), { "map_full", "limited", "ring_full" })
  end
  loss.not_parsed = sum_of(totals.not_parsed_by)
  return loss
end

return counts
