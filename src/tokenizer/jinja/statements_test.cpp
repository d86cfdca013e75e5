// Jinja statements: loops, scopes, macros, blocks.
#include <gtest/gtest.h>

#include "tokenizer/jinja/test_render.h"

namespace bitsmith::jinja {
namespace {

TEST(JinjaStatements, If) {
  expect_rendered({
      {"{% if no %}a{% elif n == 7 %}b{% else %}c{% endif %}", "b"},
      {"{% if no %}a{% elif no %}b{% else %}c{% endif %}", "c"},
      {"{% if words %}w{% endif %}{% if [] %}e{% endif %}{% if '' %}s{% endif %}{% if "
       "undefined_name %}u{% endif %}",
       "w"},
  });
}

TEST(JinjaStatements, For) {
  expect_rendered({
      {"{% for w in words %}{{ loop.index }}/{{ loop.length }}{{ w }}{{ ',' if not loop.last }}{% "
       "endfor %}",
       "1/4b,2/4A,3/4c,4/4a"},
      {"{% for w in words %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first "
       "}}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
       "043TrueA;132Falsebc;221FalseAa;310Falsec;"},
      {"{% for x in [] %}a{% else %}none{% endfor %}{% for x in [1] %}a{% else %}none{% endfor %}",
       "nonea"},
      {"{% for k, v in map.items() %}{{ k }}={{ v }};{% endfor %}{% for k in map %}{{ k }}{% "
       "endfor %}",
       "b=1;a=[True, None, 2.5];C=x\"<y>;baC"},
      {"{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "123"},
      {"{% for c in uni %}[{{ c }}]{% endfor %}", "[Ä][Ö][ ][中][ ][ß]"},
      {"{% for p in people if p.age > 10 %}{{ loop.index }}{{ p.name }}{{ loop.last }}{% endfor %}",
       "1IdaFalse2CyTrue"},
      {"{% for x in undefined_name %}a{% else %}b{% endfor %}", "b"},
      {"{% for x in numbers %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{% endfor %}",
       "aTruebTrueaTrue"},
  });
}

TEST(JinjaStatements, ConditionsAreAskedInTurn) {
  expect_rendered({
      {"{% set ns = namespace(stop=false) %}{% for x in [1, 2, 3] if not ns.stop %}{{ x }}{% set "
       "ns.stop = x == 2 %}{% endfor %}",
       "12"},
  });
}

TEST(JinjaStatements, BreakAndContinue) {
  expect_rendered({
      {"{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break "
       "%}{% endif %}{{ x }}{% endfor %}",
       "0134"},
      {"{% for x in [1, 2] %}{% for y in [1, 2, 3] %}{% if y == 2 %}{% break %}{% endif %}{{ x "
       "}}{{ y }} {% endfor %}{% endfor %}",
       "11 21 "},
      {"{% for x in [1] %}{% break %}{% else %}never{% endfor %}.", "never."},
  });
}

TEST(JinjaStatements, Recursive) {
  expect_rendered({
      {"{% for t in tree recursive %}{{ t.v }}{% if t.kids %}({{ loop(t.kids) }}){% endif %}{{ "
       "loop.depth }}{% endfor %}",
       "1(223(43)2)151"},
  });
}

TEST(JinjaStatements, Scopes) {
  expect_rendered({
      {"{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 9 %}{{ x }}{% endfor %}{{ x }}",
       "19191"},
      {"{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}", "2"},
      {"{% set ns = namespace(x=1, y=[]) %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% set "
       "ns.y = ns.y + [i] %}{% endfor %}{{ ns.x }}{{ ns.y }}",
       "4[1, 2]"},
      {"{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t = 1, %}{{ t }}", "12(1,)"},
      {"{% with a = 1, b = n %}{{ a }}{{ b }}{% set c = 3 %}{{ c }}{% endwith %}{{ a }}{{ c }}|",
       "173|"},
      {"{% for i in [1] %}{% set inner = 1 %}{% endfor %}{{ inner is defined }}", "False"},
  });
}

TEST(JinjaStatements, Blocks) {
  expect_rendered({
      {"{% set x %}a{{ n }}{% endset %}[{{ x }}]", "[a7]"},
      {"{% set x | upper | replace('A', 'b') %}a{{ n }}{% endset %}[{{ x }}]", "[b7]"},
      {"{% filter upper %}a{{ name }}{% endfilter %}", "AADA"},
      {"{% filter trim | indent(2) %}  a\nb  {% endfilter %}", "a\n  b"},
      {"a{% generation %}b{% set q = 1 %}{% endgeneration %}{{ q is defined }}", "abFalse"},
      {"{% print n, name %}", "7Ada"},
  });
}

TEST(JinjaStatements, Macros) {
  expect_rendered({
      {"{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ "
       "f(1, c=5) }} {{ f(b=1, a=2) }}",
       "121 131 125 212"},
      {"{% macro f(x) %}{{ x is defined }}{% endmacro %}{{ f() }}{{ f.name }}", "Falsef"},
      {"{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, z=3) }}",
       "(1, 2){'z': 3}"},
      {"{% macro f(x) %}{{ x }}{% if x > 0 %}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
       "3210"},
      {"{% set g = 1 %}{% macro f() %}{{ g }}{% set g = 5 %}{{ g }}{% endmacro %}{{ f() }}{{ g "
       "}}{% set g = 2 %}{{ f() }}",
       "15125"},
      {"{% macro f() %} a {% endmacro %}[{{ f() | trim }}]{{ f() | length }}", "[a]3"},
  });
}

TEST(JinjaStatements, CallBlocks) {
  expect_rendered({
      {"{% macro f(x) %}<{{ caller() }}{{ x }}>{% endmacro %}{% call f(1) %}body{{ n }}{% endcall "
       "%}",
       "<body71>"},
      {"{% macro f() %}{{ caller(1, 'b') }}{% endmacro %}{% call(x, y='d') f() %}{{ x }}{{ y }}{% "
       "endcall %}",
       "1b"},
      {"{% macro f() %}{{ caller is defined }}{{ caller() if caller }}{% endmacro %}{{ f() }}",
       "False"},
  });
}

TEST(JinjaStatements, Helpers) {
  expect_rendered({
      {"{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}",
       "abab"},
      {"{% set j = joiner('|') %}{{ j() }}{{ j() }}{{ j() }}", "||"},
  });
}

}  // namespace
}  // namespace bitsmith::jinja
