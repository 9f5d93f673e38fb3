-- SPDX-License-Identifier: Apache-2.0
--
-- The man page and the completion of shells, made of what the commands say of themselves. Pure: commands in, text out.
--
-- commands: a list of { name, usage, summary, help, options } in the order in which they are listed.
local args = require "perilune.args"
local reflow = require "perilune.base.reflow"

local manual = {}

local COLUMNS = 72 -- of help in the page: what a terminal of 80 shows beside the page's margin

-- The code point of one UTF-8 sequence.
local function code_point(sequence)
  local first = sequence:byte()
  local code = first >= 0xF0 and first % 8 or first >= 0xE0 and first % 16 or first % 32
  for i = 2, #sequence do code = code * 64 + sequence:byte(i) % 64 end
  return code
end

-- A line of text as roff, which is ASCII: no line may begin with its control characters, nor hold a bare backslash.
local function roff(line)
  line = line:gsub("\\", "\\e"):gsub("%-", "\\-")
  line = line:gsub("[\194-\244][\128-\191]+", function(s) return ("\\[u%04X]"):format(code_point(s)) end)
  return line:find "^[.']" and "\\&" .. line or line
end

local function block(out, text)
  out[#out + 1] = ".nf"
  for line in (text .. "\n"):gmatch "(.-)\n" do out[#out + 1] = roff(line) end
  out[#out + 1] = ".fi"
end

local HEAD = {
  name = "perilune \\- adaptive network monitoring on eBPF, scripted in Lua",
  description = [[
perilune watches a network interface cheaply and goes deeper the moment a policy says so, then backs off again, without
losing a count. A policy is a short Lua file; the runtime compiles, verifies, attaches and reads the eBPF programs for
it.]],
  files = {
    { "~/.cache/perilune", "compiled objects (PERILUNE_CACHE names another directory)" },
    { "~/.perilune_history", "lines of perilune repl" },
    { "/run/perilune/perilune.sock", "where the daemon listens" },
    { "/run/perilune", "what has been attached by clsact, for the sweep after a crash" },
  },
  environment = {
    { "PERILUNE_PATH", "directories, colon-separated, whose lua/ and templates/ come before perilune's own" },
    { "PERILUNE_CLANG", "the clang to use" },
    { "PERILUNE_CACHE", "where compiled objects are kept" },
    { "PERILUNE_SERVER", "which daemon status, events, level and reload talk to, like http://127.0.0.1:9000" },
    { "PERILUNE_TOKEN", "the bearer token that they show it" },
    { "PERILUNE_STATE", "where what outlives a run is kept: baselines, state of policies" },
    { "NO_COLOR", "no colours on a terminal" },
  },
  exit = {
    { "0", "done, also after Ctrl\\-C, SIGTERM, SIGHUP, or when the output is closed" },
    { "1", "the work failed" },
    { "2", "the command or the policy is wrong" },
    { "3", "not permitted, or the kernel cannot" },
    { "130", "a second Ctrl\\-C" },
  },
}

local function tagged(out, list)
  for _, item in ipairs(list) do
    out[#out + 1] = ".TP\n.B " .. roff(item[1])
    out[#out + 1] = item[2]:find "\\" and item[2] or roff(item[2])
  end
end

--- The man page in roff (man(7)).
function manual.page(commands, version)
  local out = { (".TH PERILUNE 1 \"\" \"perilune %s\" \"User Commands\""):format(version), ".ad l", ".nh",
    ".SH NAME", HEAD.name, ".SH SYNOPSIS", ".B perilune", ".I COMMAND", "[\\fIARGUMENT\\fR ...]", ".SH DESCRIPTION" }
  for line in HEAD.description:gmatch "[^\n]+" do out[#out + 1] = roff(line) end
  out[#out + 1] = ".SH COMMANDS"
  for _, command in ipairs(commands) do
    out[#out + 1] = ".SS " .. command.name
    out[#out + 1] = ".B " .. roff((command.usage:gsub("%s+", " ")))
    out[#out + 1] = ".PP"
    out[#out + 1] = roff(command.summary) .. "."
    if command.help then
      out[#out + 1] = ".PP"
      block(out, reflow.text(command.help, COLUMNS))
    end
  end
  for _, section in ipairs { { "ENVIRONMENT", HEAD.environment }, { "FILES", HEAD.files },
    { "EXIT STATUS", HEAD.exit } } do
    out[#out + 1] = ".SH " .. section[1]
    tagged(out, section[2])
  end
  out[#out + 1] = ".SH SEE ALSO"
  out[#out + 1] = ".BR bpf (2),\n.BR pcap\\-filter (7),\n.BR tc (8)"
  return table.concat(out, "\n") .. "\n"
end

-- What a command's options are called by a person; those between processes are not.
local HIDDEN = { parent = true, eval = true, channel = true, names = true }

function manual.options(command)
  local list = {}
  for _, name in ipairs(args.long(command.options or {})) do
    if not HIDDEN[name] then list[#list + 1] = "--" .. name end
  end
  list[#list + 1] = "--help"
  return list
end

--- Completion for bash: commands, their options, names of templates, files.
function manual.bash(commands)
  local names, cases = {}, {}
  for i, command in ipairs(commands) do
    names[i] = command.name
    cases[i] = ("    %s) options='%s' ;;"):format(command.name, table.concat(manual.options(command), " "))
  end
  return ([[
# bash completion for perilune: commands, options, templates, files.
_perilune_names() { # the first words of what a command lists
  perilune "$1" 2>/dev/null | sed -n 's/^ *\([a-z0-9_]*\)  *.*/\1/p'
}
_perilune() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} options=
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '%s --help --version -e' -- "$word"))
    return
  fi
  case $command in
%s
  esac
  case $before in
  --template) COMPREPLY=($(compgen -W "$(_perilune_names templates)" -- "$word")) ; return ;;
  --set) COMPREPLY=($(compgen -W 'iface= hook= window=' -- "$word")) ; compopt -o nospace ; return ;;
  --token-file|--socket|--credentials|--config|--audit) COMPREPLY=($(compgen -f -- "$word")) ; return ;;
  --role) COMPREPLY=($(compgen -W 'read operate admin' -- "$word")) ; return ;;
  esac
  case $word in
  -*) COMPREPLY=($(compgen -W "$options" -- "$word")) ; return ;;
  esac
  case $command in
  templates|top) COMPREPLY=($(compgen -W "$(_perilune_names templates)" -- "$word")) ;;
  map) [ "$COMP_CWORD" -gt 2 ] || { COMPREPLY=($(compgen -W 'list dump' -- "$word")) ; return ; } ;;
  status|events) COMPREPLY=($(compgen -W "$(perilune status --names 2>/dev/null)" -- "$word")) ; return ;;
  level)
    local offered="status --names"
    [ "$COMP_CWORD" -eq 2 ] || offered="level ${COMP_WORDS[2]} --names"
    COMPREPLY=($(compgen -W "$(perilune $offered 2>/dev/null)" -- "$word"))
    return ;;
  reload) return ;;
  bench) COMPREPLY=($(compgen -W "$(_perilune_names bench)" -- "$word")) ;;
  esac
  local kind
  for kind in lua 'pcap*' log; do COMPREPLY+=($(compgen -f -X "!*.$kind" -- "$word")); done
  COMPREPLY+=($(compgen -d -S / -- "$word"))
}
complete -o filenames -F _perilune perilune
]]):format(table.concat(names, " "), table.concat(cases, "\n"))
end

--- Completion for zsh, by way of bash's.
function manual.zsh(commands)
  return "#compdef perilune\nautoload -U +X bashcompinit && bashcompinit\n" .. manual.bash(commands)
end

return manual
