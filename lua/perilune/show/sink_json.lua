-- SPDX-License-Identifier: Apache-2.0
-- Events as JSON, one flushed line each.
local event = require "perilune.event"
local output = require "perilune.base.output"

-- wants_records: the events of the records are to be made.
local sink = { wants_records = true }
sink.__index = sink

-- target, options: what output.new takes; standard output by default. labels: { host =, site = } for every event.
function sink.new(target, labels, options)
  return setmetatable({ out = output.new(target or 1, options), labels = labels or {} }, sink)
end

-- true | nil, message, code; "EPIPE" says that nobody reads any more, and the run ends well.
function sink:event(e)
  e.host, e.site = self.labels.host, self.labels.site
  return self.out:write(event.encode(e) .. "\n")
end

-- Progress is for people.
function sink.status()
  return true
end

function sink:close()
  return self.out:close()
end

return sink
