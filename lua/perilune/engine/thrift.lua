-- SPDX-License-Identifier: Apache-2.0
--
-- How much the probes of the next window look at: what the budget gives up and what follows load, as the one state that
-- a flip puts in force. Pure.
--
-- A state is { thin, mask, shed, given }: sampled probes look at one packet in 2^thin of those that they would, the
-- probes in shed (a set of names; mask: for the kernel) at none; given is the budget's part of it. It is never changed,
-- a new one takes its place.

local gates = require "perilune.probe.plan_gates"
local sampling = require "perilune.probe.sampling"

local thrift = {}
local Thrift = {}
Thrift.__index = Thrift

local MOST = 31 -- halvings that the kernel can do
local ROOM = 0.8 -- of a target: what a rate may lead to when it is doubled again

-- decl: a declaration, after check.
function thrift.new(decl)
  local self = setmetatable({ decl = decl, given = { thin = 0, shed = {} }, followed = 0 }, Thrift)
  self:renew()
  return self
end

function Thrift:renew()
  local shed = {}
  for _, name in ipairs(self.given.shed) do shed[name] = true end
  self.now = {
    thin = math.min(MOST, self.given.thin + self.followed), mask = gates.mask(self.decl, self.given.shed), shed = shed,
    given = self.given,
  }
end

--- Goes on with the rates that follow load of another declaration's, where a probe that follows it means the same. What
--- the budget has given up is given up anew.
function Thrift:inherit(old, probes)
  for _, probe in ipairs(self.decl.probes) do
    if probe.sample and probe.sample.target and probes[probe.name] then self.followed = old.followed end
  end
  self:renew()
end

--- The state that the next flip is to put in force.
function Thrift:state() return self.now end

--- What the budget gives up from now on: thin (halvings), shed (list of probes).
function Thrift:give(thin, shed)
  self.given = { thin = thin, shed = shed }
  self:renew()
end

--- Whether a window in this state is to end at once, since the budget has changed its mind: the word to cut it by.
function Thrift:cut(state)
  return state.given ~= self.given and "budget" or nil
end

-- How often a probe must be thinned to look at no more than its target.
local function halvings_for(probe, load, thin)
  local wanted = math.log(math.max(load, 1) / (probe.sample.target * probe.sample.one_in)) / math.log(2)
  local up, down = math.ceil(wanted), math.ceil(wanted - math.log(ROOM) / math.log(2))
  local next_thin = up > thin and up or down < thin and down or thin
  return math.min(math.max(next_thin, 0), probe.halvings)
end

--- Rates follow load: `loads`: probe → packets a second that there were for it to look at, of probes that ran. All
--- sampled probes are thinned alike, so the one that needs it most decides. In force from the next window on.
function Thrift:follow(loads)
  local most, any = 0, false
  for _, probe in ipairs(self.decl.probes) do
    local load = probe.sample and probe.sample.target and loads[probe.name]
    if load then most, any = math.max(most, halvings_for(probe, load, self.followed)), true end
  end
  if not any then most = 0 end
  if most == self.followed then return end
  self.followed = most
  self:renew()
end

--- One packet in how many a probe looks at in this state.
function thrift.rate(probe, state) return sampling.rate(probe, state.thin) end

return thrift
