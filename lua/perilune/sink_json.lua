-- SPDX-License-Identifier: Apache-2.0
-- Events as JSON, one flushed line each.
local event = require "perilune.event"
local output = require "perilune.output"

-- wants_records: the events of the records are to be made.
local sink = { wants_records = true }
sink.__index = sink

-- target: what output.new takes; standard output by default.
function sink.new(target)
  return setmetatable({ out = output.new(target or 1) }, sink)
end

-- true | nil, message, code; "EPIPE" says that nobody reads any more, and the run ends well.
function sink:event(e)
  return self.out:write(event.encode(e) .. "\n")
end

-- Progress is for people.
function sink.status()
  return true
end

function sink:close()
  return self.out:write ""
end

return sink
