-- SPDX-License-Identifier: Apache-2.0
--
-- Where compiled objects come from: the compiler and its cache, or the bundle that a policy was loaded from
-- (bundle.lua), and then only that.
local compile = require "perilune.core.compile"
local loop = require "perilune.core.loop"

local objects = {}

-- Calls done later, as a compiler would.
local function from_bundle(request, bundle, done)
  local timer, cancelled
  timer = loop.timer(function()
    timer:close()
    if cancelled then return done(nil, "compiling was cancelled", "ECANCELED") end
    local object, message, code = bundle:object(request)
    if not object then return done(nil, message, code) end
    done(object, { cached = true, seconds = 0 })
  end)
  timer:start(loop.now())
  return { cancel = function() cancelled = true end }
end

--- The object of { name, source, args }, on the loop: done(object, { cached, seconds }) or done(nil, message, code).
--- Returns what can be cancelled. bundle: of the policy, if it came in one.
function objects.start(request, done, bundle)
  if bundle then return from_bundle(request, bundle, done) end
  return compile.start(request, done)
end

--- The same, and the caller waits.
function objects.now(request, bundle)
  if bundle then return bundle:object(request) end
  return compile.now(request)
end

return objects
