-- SPDX-License-Identifier: Apache-2.0
--
-- /metrics and /open-metrics: for scrapers. Looking changes nothing, and clears nothing.
local openmetrics = require "perilune.metrics.openmetrics"

local routes = {}

-- default: for clients that do not say what they accept.
local function add(path, default, summary)
  routes[#routes + 1] = {
    method = "GET", path = path, role = "read", summary = summary,
    answers = { [200] = {
      help = "OpenMetrics 1.0 or Prometheus's text format 0.0.4, as the header Accept has it",
      type = { "application/openmetrics-text", "text/plain" },
    } },
    run = function(call)
      local which = openmetrics.negotiate(call.request:header "Accept", default)
      call.context.scrape:collect(which, call:guard(function(text)
        call:text(200, openmetrics.content_type[which], text)
      end))
    end,
  }
end

add("/metrics", "text", "metrics of all policies, and of perilune itself")
add("/open-metrics", "openmetrics", "the same, as OpenMetrics for those that do not ask for another format")

return routes
