-- SPDX-License-Identifier: Apache-2.0
--
-- Where compiled objects come from: the compiler and its cache.
local compile = require "perilune.core.compile"

local objects = {}

--- The object of { name, source, args }, on the loop: done(object, { cached, seconds }) or done(nil, message, code).
--- Returns what can be cancelled.
function objects.start(request, done) return compile.start(request, done) end

--- The same, and the caller waits.
function objects.now(request) return compile.now(request) end

return objects
