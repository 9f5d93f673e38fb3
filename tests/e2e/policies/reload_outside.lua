-- SPDX-License-Identifier: Apache-2.0
-- For test_reload_outside.sh: what of a policy is beyond its programs.
local iface = option "iface" { default = "vb" }
local hook  = option "hook"  { default = "tc.ingress", one_of = { "tc.ingress", "tc" } }
local told  = option "told"  { default = "told" }
local dir   = option "dir"   { default = "." }
local netns = option "netns" { type = "text" }
local window = option "window" { default = "100ms" }

return policy "outside" {
  attach = { iface = iface, hook = hook, netns = netns, wait = true },
  window = window,
  always = { counter "totals" {}, flows "from" { key = "src", entries = 64 } },
  levels = { level "calm" {} },
  sets = { set "seen" { of = "src", max = 16, export = true } },
  receivers = { receiver "who" { command = { "sh", "-c", "cat >>" .. dir .. "/" .. told .. "; echo >>" .. dir .. "/" .. told } } },
  captures = { dir = dir },
  rules = {
    rule "talker" { per = "from.src", when = rate("from.packets"):above "1/s", clear = rate("from.packets"):below("1/s"):lasting "1h",
                    act = { notify "who", capture {}, add "seen" } },
  },
}
