-- SPDX-License-Identifier: Apache-2.0
-- Plain Lua between the forms.
local names = {}
for _, name in ipairs { "a", "b" } do names[#names + 1] = name:upper() end
assert(table.concat(names) == "AB" and math.max(1, 2) == 2 and select("#", unpack { 1, 2 }) == 2)
local ok = pcall(error, "caught")
assert(not ok and tostring(tonumber "5") == "5" and type(next) == "function" and not pairs {} ({}))
print("loading", 1, nil)
string.mine = true -- luacheck: ignore
return policy "plain" { always = { counter {} } }
