-- SPDX-License-Identifier: Apache-2.0
--
-- columns() → how many columns standard output has; so many where it is no terminal that everything stays as it was
-- written.
local term = require "perilune.core.term"

local WIDE = 1000

return function() return (term.size(1)) or WIDE end
