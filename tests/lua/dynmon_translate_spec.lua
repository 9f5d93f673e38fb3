-- SPDX-License-Identifier: Apache-2.0
local lexer = require "perilune.dynmon.lexer"
local logs = require "perilune.dynmon.logs"
local translate = require "perilune.dynmon.translate"

local ENTRY = "\nstatic __always_inline int handle_rx(struct CTXTYPE *ctx, struct pkt_metadata *md) { return RX_OK; }\n"

-- What becomes of the code, without what is put around it.
local function body(code, options)
  options = options or {}
  local done, message = translate.code(code .. ENTRY, {
    name = "probe.c", program = "p", xdp = options.xdp, level = options.level, kinds = options.kinds,
  })
  if not done then return nil, message end
  local text = done.source:match '#line 1 "probe.c"\n(.*)\n#line 1 "<dynmon>"'
  return (text:gsub(ENTRY:gsub("%p", "%%%0") .. "$", "")), done
end

local function refused(code, options)
  local text, message = body(code, options)
  assert.is_nil(text, text)
  return message
end

describe("C's tokens", function()
  it("are the source again, with their lines", function()
    local source = '#include <uapi/linux/ip.h>\r\n#define A(x) \\\r\n  x /* two\nlines */ + 0x1fULL\n// to \\\nhere\n'
      .. 'char *s = "a \\" /* b */ // c"; int c = \'"\', d = .5e+3; a->b <<= c...;\n'
    local tokens = assert(lexer.tokens(source))
    local out = {}
    for i, token in ipairs(tokens) do
      out[i] = token.text
      assert.equal(select(2, table.concat(out, "", 1, i - 1):gsub("\n", "")) + 1, token.line)
    end
    assert.equal(source, table.concat(out))
  end)

  it("say what belongs to a directive", function()
    local seen = {}
    for _, token in ipairs(lexer.tokens "# define A B \\\n C /*\n*/ D\nE <x>\n#include <x>\n") do
      if token.kind ~= "space" and token.kind ~= "newline" then
        seen[#seen + 1] = token.text .. (token.directive and "#" or "")
      end
    end
    assert.same({ "##", "define#", "A#", "B#", "C#", "D#", "E", "<", "x", ">", "##", "include#", "<x>#" }, seen)
  end)

  it("that do not end are said", function()
    for _, case in ipairs { { "a\n/* b", 2, "comment" }, { 'a\n\n"b\n"', 3, "text" }, { "'a", 1, "text" } } do
      local tokens, what, line = lexer.tokens(case[1])
      assert.is_nil(tokens)
      assert.equal(case[2], line)
      assert.truthy(what:find(case[3]))
    end
  end)
end)

describe("Dynmon's dialect", function()
  it("declares maps", function()
    for code, c in pairs {
      ["BPF_ARRAY(A)"] = "DYNMON_MAP(A, BPF_MAP_TYPE_ARRAY, int, u64, 10240, 0)",
      ["BPF_ARRAY(A, struct a, 1 << (3))"] = "DYNMON_MAP(A, BPF_MAP_TYPE_ARRAY, int, struct a, 1 << (3), 0)",
      ["BPF_HASH(H)"] = "DYNMON_MAP(H, BPF_MAP_TYPE_HASH, u64, u64, 10240, 0)",
      ["BPF_HASH(H, u32, struct v, 7)"] = "DYNMON_MAP(H, BPF_MAP_TYPE_HASH, u32, struct v, 7, 0)",
      ["BPF_PERCPU_ARRAY(P, u64, 2)"] = "DYNMON_MAP(P, BPF_MAP_TYPE_PERCPU_ARRAY, int, u64, 2, 0)",
      ['BPF_TABLE("lru_percpu_hash", k, v, T, N)'] = "DYNMON_MAP(T, BPF_MAP_TYPE_LRU_PERCPU_HASH, k, v, N, 0)",
      ['BPF_TABLE_SHARED ( "hash" , k,v, T,5 )'] = "DYNMON_MAP(T, BPF_MAP_TYPE_HASH, k, v, 5, 0)",
      ['BPF_F_TABLE("hash", k, v, T, 5, BPF_F_NO_PREALLOC)'] =
        "DYNMON_MAP(T, BPF_MAP_TYPE_HASH, k, v, 5, BPF_F_NO_PREALLOC)",
      ["BPF_QUEUE(Q, struct a, 9)"] = "DYNMON_LIST(Q, BPF_MAP_TYPE_QUEUE, struct a, 9, 0)",
      ["BPF_ARRAY(/* of */ A /* all */, u64, 1)"] = "DYNMON_MAP(A, BPF_MAP_TYPE_ARRAY, int, u64, 1, 0)",
      ["BPF_STACK(S, u32, 9, 0)"] = "DYNMON_LIST(S, BPF_MAP_TYPE_STACK, u32, 9, 0)",
      ['BPF_QUEUESTACK("stack", S, u32, 9)'] = "DYNMON_LIST(S, BPF_MAP_TYPE_STACK, u32, 9, 0)",
    } do
      assert.equal(c .. ";", (body(code .. ";")))
    end
  end)

  it("has methods of maps, wherever there may be blanks", function()
    local maps = "BPF_HASH(H, u32);BPF_QUEUE(Q, u32, 1);"
    local function use(code) return (body(maps .. code):gsub("^.-;.-;", "", 1)) end
    assert.equal("x = DYNMON_LOOKUP(H, &k);", use "x = H.lookup(&k);")
    assert.equal("DYNMON_LOOKUP(H, \n\n/* a */&k)", (use "H\n.lookup\n(/* a */&k)"):gsub("H, ", "H, ", 1))
    assert.equal("DYNMON_LOOKUP(H, DYNMON_LOOKUP_OR_INIT(H, &k, &v))", use "H.lookup(H.lookup_or_try_init(&k, &v))")
    assert.equal("DYNMON_INCREMENT(H, k, 3);DYNMON_PUSH(Q, &v, 0)", use "H.increment(k, 3);Q.push(&v, 0)")
    assert.equal("DYNMON_INSERT(H, &k,&v) DYNMON_UPDATE(H, &k,&v) DYNMON_DELETE(H, &k)",
      use "H.insert(&k,&v) H.update(&k,&v) H.delete(&k)")
  end)

  it("leaves alone what only looks like it", function()
    local maps = "BPF_ARRAY(PKT, u64, 1);BPF_ARRAY(PKT_BYTES, u64, 1);"
    for _, code in ipairs {
      '"PKT.lookup(&k)"', "/* PKT.lookup(&k) BPF_ARRAY(X) */", "// PKT.lookup(&k)\n", "s.PKT.lookup(&k)",
      "s->PKT.lookup(&k)", "PKT_OTHER.lookup(&k)", "other.lookup(&k)", "&PKT", "PKT.field", "'\"' PKT ","BPF_ARRAY",
    } do
      assert.equal(code, (body(maps .. code):gsub("^.-;.-;", "", 1)))
    end
    assert.equal("DYNMON_LOOKUP(PKT, &k)DYNMON_LOOKUP(PKT_BYTES, &k)",
      (body(maps .. "PKT.lookup(&k)PKT_BYTES.lookup(&k)"):gsub("^.-;.-;", "", 1)))
  end)

  it("is understood within macros, also for their parameters", function()
    local text = body "#define GET(m, k) m.lookup(k)\n#define OWN(k) H.lookup(k)\n#define NOT(x) y.lookup(x)\nBPF_HASH(H);"
    assert.truthy(text:find("#define GET(m, k) DYNMON_LOOKUP(m, k)\n", 1, true))
    assert.truthy(text:find("#define OWN(k) DYNMON_LOOKUP(H, k)\n", 1, true))
    assert.truthy(text:find("#define NOT(x) y.lookup(x)\n", 1, true))
  end)

  it("keeps every line where it was", function()
    local code = 'BPF_TABLE(\n  "hash",\n  u32,\n  u64, T,\n  10\n);\n#include <uapi/linux/ip.h>\nT\n.lookup\n(&k);\nlast'
    local text = body(code)
    assert.equal(select(2, code:gsub("\n", "")), select(2, text:gsub("\n", "")))
    local line = 1
    for part in (text .. "\n"):gmatch "(.-)\n" do
      if part:find "include" then assert.equal(7, line) assert.equal("#include <linux/ip.h>", part) end
      if part == "last" then assert.equal(11, line) end
      line = line + 1
    end
  end)

  it("tells its maps, and which are the other path's", function()
    local maps = translate.maps('BPF_TABLE_SHARED("hash", u32, u64, S, 10);\nBPF_TABLE("extern", u32, u64, X, 5);', "a")
    assert.same({ "hash", "shared", 1 }, { maps.S.kind, maps.S.scope, maps.S.line })
    assert.same({ nil, "extern", 2 }, { maps.X.kind, maps.X.scope, maps.X.line })
    assert.equal("DYNMON_MAP(X, BPF_MAP_TYPE_LRU_HASH, u32, u64, 5, 0);",
      (body('BPF_TABLE("extern", u32, u64, X, 5);', { kinds = { X = "lru_hash" } })))
  end)

  it("says what is wrong, and where", function()
    for code, message in pairs {
      ['\nBPF_TABLE("hsh", u32, u64, T, 1);'] = '^probe.c:2: T: there are no maps of the kind "hsh" here %(did you mean "hash"',
      ["BPF_ARRAY(A);\nBPF_HASH(A);"] = "^probe.c:2: the map A is declared twice, first in line 1",
      ["BPF_HASH(H);\n\nH.lookp(&k);"] = '^probe.c:3: H, a map of the kind hash, has no lookp %(did you mean "lookup"',
      ["BPF_QUEUE(Q, u32, 1); Q.lookup(&k);"] = "^probe.c:1: Q, a map of the kind queue, has no lookup",
      ["BPF_QUEUE(Q);"] = "^probe.c:1: BPF_QUEUE: its type of values is missing",
      ["BPF_ARRAY(A, u64, 1, 2);"] = "takes at most 3 arguments",
      ["BPF_ARRAY(A, u64"] = "a bracket is not closed",
      ["BPF_TABLE(hash, u32, u64, T, 1);"] = "the kind of map is a text in quotes",
      ['BPF_TABLE("extern", u32, u64, T, 1);'] = 'the map T is "extern", and the other path declares none',
      ["BPF_PERF_OUTPUT(e);"] = "BPF_PERF_OUTPUT: events are not read here",
      ["BPF_ARRAY(dynmon_x);"] = "names like this are perilune's own",
      ["\n/* "] = "^probe.c:2: a comment does not end",
      ['\n\npcn_log(ctx, LOG_INFO, "%d");'] = "^probe.c:3: pcn_log: its text shows 1 values, and there are 0",
      ['pcn_log(ctx, LOG_INFO, "%s", x);'] = "%%s cannot be shown",
      ["pcn_log(ctx, LOG_INFO,);"] = "the text of pcn_log is missing",
      ["pcn_log(ctx, LOG_INFO, text);"] = "the text of pcn_log is written in quotes",
    } do
      local said = refused(code)
      assert.truthy(said:find(message), said)
    end
    local none, message = translate.code("int x;", { name = "n", program = "p" })
    assert.is_nil(none)
    assert.truthy(message:find "no function handle_rx")
  end)

  it("wraps what the mode needs around it", function()
    local _, tc = body ""
    local _, xdp = body("", { xdp = true })
    assert.truthy(tc.source:find("#define CTXTYPE __sk_buff\n", 1, true))
    assert.truthy(xdp.source:find("#define CTXTYPE xdp_md\n", 1, true))
    assert.truthy(xdp.source:find("#define DYNMON_XDP\n", 1, true))
    assert.is_false(tc.clock)
    assert.is_true(select(2, body "u64 t = pcn_get_time_epoch();").clock)
  end)
end)

describe("pcn_log", function()
  local code = 'pcn_log(ctx, LOG_ERR,\n "a " /* b */ "%I:%P\\n", f(x, y), p);'

  it("hands over a number; the text stays", function()
    local text, done = body(code, { level = 4 })
    assert.equal("DYNMON_LOG(ctx, LOG_ERR, 1\n, f(x, y), p);", text)
    assert.truthy(done.source:find "#define DYNMON_LOGS")
    assert.equal("a 10.0.0.1:443\n", logs.line(done.logs[1], { 0x0100000a, 0xbb01 }))
    assert.same({}, select(2, body(code, { level = 6 })).logs)
  end)

  it("may hold maps' methods", function()
    assert.equal("BPF: DYNMON_LOG(ctx, L(DYNMON_LOOKUP(H, &k)), 1, *DYNMON_LOOKUP(H, &k))",
      (body('BPF_HASH(H);pcn_log(ctx, L(H.lookup(&k)), "%u", *H.lookup(&k))', { level = 0 }):gsub("^.-;", "BPF: ")))
  end)

  it("shows numbers as printf does", function()
    local function show(format, ...)
      return logs.line(assert(logs.parse({ '"' .. format .. '"' }, select("#", ...))), { ... })
    end
    assert.equal("-1 4294967295 255 1 %", show("%d %u %hhu %hd %%", 2 ^ 32 - 1, 2 ^ 32 - 1, 511, 65537))
    assert.equal("5000000000 0x2a 002a", show("%llu %#x %04x", 5e9, 42, 42))
    assert.equal("00:11:22:33:44:55", show("%M", 0x554433221100))
    assert.equal('A\t"A\n', show [[\x41\t\"\101\n]])
  end)
end)
