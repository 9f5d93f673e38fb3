-- SPDX-License-Identifier: Apache-2.0
--
-- A policy that is written on the command line: -e 'LUA' where the name of a file would be.
--
--   perilune run   -e 'policy "x" { … }'           a policy; `return` goes without saying
--   perilune check -e 'flows { key = "src" }'      probes: the policy that watches them; options iface, hook, window
--
-- Among the arguments it is a word that no file's name is: "-e " and the text (args.lua).
local one_line = {}

local NAME = "-e" -- in the place of the file's name: "-e:1: what is wrong"

-- On one line, so that lines of what is put in are counted from 1.
local WATCH = 'local iface = option "iface" { type = "iface" } '
  .. 'local hook = option "hook" { default = "tc", one_of = { "xdp", "tc.ingress", "tc.egress", "tc" } } '
  .. 'local window = option "window" { default = "1s" } '
  .. "return policy %q { attach = { iface = iface, hook = hook }, window = window, always = { %s } }"

function one_line.is(word) return word:sub(1, 3) == "-e " end

function one_line.word(text) return "-e " .. text end

--- What the command line said.
function one_line.text(word) return word:sub(4) end

--- The text of a policy that watches probes, given as Lua: `flows { key = "src" }, counter {}`.
function one_line.watch(name, probes) return WATCH:format(name, probes) end

local function is_expression(text) return loadstring("return " .. text) ~= nil end

--- What policy.load takes: { source =, file = } of such a word.
function one_line.spec(word)
  local text = one_line.text(word)
  if not text:find "%f[%w_]policy%f[^%w_]" and text:find "%S" and is_expression(text) then
    text = one_line.watch("line", text)
  elseif is_expression(text) then
    text = "return " .. text
  end
  return { source = text, file = NAME }
end

return one_line
