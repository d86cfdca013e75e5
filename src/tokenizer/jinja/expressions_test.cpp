// Jinja expressions, with the values and the text of Python.
#include <gtest/gtest.h>

#include "tokenizer/jinja/test_render.h"

namespace bitsmith::jinja {
namespace {

TEST(JinjaExpressions, Literals) {
  expect_rendered({
      {"{{ 1 }} {{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 1.5 }} {{ 2e3 }} {{ 1e-7 }} {{ 1e16 }} {{ "
       "123456789.125 }} {{ 0.1 }}",
       "1 1000 31 5 1.5 2000.0 1e-07 1e+16 123456789.125 0.1"},
      {"{{ true }} {{ False }} {{ none }} {{ None }}", "True False None None"},
      {"{{ 'a\\n\\x41\\u00e9\\t\\q\\'' }}", "a\nAé\t\\q'"},
      {"{{ \"a'b\" 'c' \"d\" }}", "a'bcd"},
      {"{{ [] }} {{ [1, 'a', none] }} {{ (1,) }} {{ () }} {{ (1, 2) }} {{ {} }} {{ {'a': 1, 2: "
       "[3]} }}",
       "[] [1, 'a', None] (1,) () (1, 2) {} {'a': 1, 2: [3]}"},
      {"{{ 1, 2 }}", "(1, 2)"},
      {"{{ ['it\\'s', 'say \"x\"', 'both \\' \"', 'é\\n\\x07', '\\u200b'] }}",
       "[\"it's\", 'say \"x\"', 'both \\' \"', 'é\\n\\x07', '\\u200b']"},
  });
}

TEST(JinjaExpressions, Arithmetic) {
  expect_rendered({
      {"{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 4 / 2 }} {{ 2 ** 10 }} "
       "{{ 2 ** -1 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}",
       "3 -4 1 2 3.5 2.0 1024 0.5 3.0 0.5"},
      {"{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ -2 ** 2 }} {{ 2 * -3 }} {{ +5 }}", "3 9 4 -6 5"},
      {"{{ true + 1 }} {{ 1.0 * 3 }} {{ 0.1 + 0.2 }} {{ 1e300 * 10 }}",
       "2 3.0 0.30000000000000004 1e+301"},
      {"{{ 'ab' * 3 }} {{ 2 * 'x' }} {{ [1] * 2 }} {{ [1] + [2] }} {{ (1,) + (2,) }} {{ 'a' + 'b' "
       "}} {{ 'a' * -1 }}",
       "ababab xx [1, 1] [1, 2] (1, 2) ab "},
      {"{{ 1 ~ 2 ~ none ~ 1.0 ~ undefined_name ~ [1] }}", "12None1.0[1]"},
      {"{{ 1 ~ 2 * 3 }}", "16"},
  });
}

TEST(JinjaExpressions, Comparisons) {
  expect_rendered({
      {"{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' < 'b' }} {{ [1, 2] < "
       "[1, 3] }} {{ 'a' != 'b' }} {{ none == none }}",
       "True False True True True True True True"},
      {"{{ 'a' in 'cat' }} {{ 1 in [1] }} {{ 'b' in map }} {{ 'x' not in map }} {{ 3 in (1, 2) }} "
       "{{ 'z' in undefined_name }}",
       "True True True True False False"},
      {"{{ not 1 == 2 }} {{ not yes and no }} {{ yes or no and no }}", "True False True"},
      {"{{ [1, {'a': 2}] == [1, {'a': 2}] }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }} {{ (1,) == "
       "[1] }}",
       "True True False"},
      {"{{ undefined_name == undefined_other }} {{ undefined_name == none }}", "True False"},
  });
}

TEST(JinjaExpressions, Logic) {
  expect_rendered({
      {"{{ 0 or 'x' }} {{ 1 and 'y' }} {{ '' or none }} {{ [] and 1 }} {{ nothing or name }}",
       "x y None [] Ada"},
      {"{{ 'a' if yes else 'b' }} {{ 'a' if no }}|{{ 'a' if no else 'b' if no else 'c' }}", "a |c"},
  });
}

TEST(JinjaExpressions, Subscripts) {
  expect_rendered({
      {"{{ name[0] }} {{ name[-1] }} {{ uni[1] }} {{ words[0] }} {{ words[-1] }} {{ words[9] }}|{{ "
       "map['b'] }} {{ map.b }} {{ people.0.name }} {{ people[1]['age'] }}",
       "A a Ö b a |1 1 Ida 7"},
      {"{{ name[1:] }} {{ name[:-1] }} {{ name[::-1] }} {{ uni[1:4] }} {{ words[1:3] }} {{ "
       "words[::2] }} {{ words[::-1] }} {{ words[5:] }} {{ words[-3:-1] }} {{ numbers[2:0:-1] }} "
       "{{ numbers[:-9:-1] }}",
       "da Ad adA Ö 中 ['A', 'c'] ['b', 'c'] ['a', 'c', 'A', 'b'] [] ['A', 'c'] [2, 1] [2, 1, 3]"},
      {"{{ map.items is defined }} {{ {'items': 1}['items'] }} {{ {'items': 1}.items() | list }}",
       "True 1 [('items', 1)]"},
      {"{{ missing is defined }} {{ map.missing is defined }} {{ map['missing'] }}|{{ name.foo "
       "}}|{{ nothing.x }}|{{ words.append is defined }}",
       "False False |||False"},
  });
}

TEST(JinjaExpressions, Calls) {
  expect_rendered({
      {"{{ range(3) | list }} {{ range(1, 7, 2) | list }} {{ range(3, 0, -1) | list }} {{ range(3) "
       "| length }}",
       "[0, 1, 2] [1, 3, 5] [3, 2, 1] 3"},
      {"{{ dict(a=1, b=2) }} {{ dict([('x', 1)]) }} {{ dict(map, b=3).b }}",
       "{'a': 1, 'b': 2} {'x': 1} 3"},
      {"{% set args = [1, 5] %}{{ range(*args) | list }} {{ dict(**{'k': 1}) }}",
       "[1, 2, 3, 4] {'k': 1}"},
      {"{{ map.get('b') }} {{ map.get('z') }} {{ map.get('z', 9) }} {{ map.keys() | list }} {{ "
       "map.values() | list }} {{ map.items() | list }}",
       "1 None 9 ['b', 'a', 'C'] [1, [True, None, 2.5], 'x\"<y>'] [('b', 1), ('a', [True, None, "
       "2.5]), ('C', 'x\"<y>')]"},
      {"{{ map.keys() }} {{ map.items() | length }}", "dict_keys(['b', 'a', 'C']) 3"},
  });
}

TEST(JinjaExpressions, PercentFormat) {
  expect_rendered({
      {"{{ '%s is %d' % (name, n) }} {{ '%5.2f|%-5s|%05d|%x|%X|%o' % (pi, 'ab', 42, 255, 255, 8) "
       "}}",
       "Ada is 7  3.14|ab   |00042|ff|FF|10"},
      {"{{ '%(a)s-%(b)03d' % {'a': 1, 'b': 2} }} {{ '100%%' % () }} {{ '%s' % [1] }} {{ '%r' % 'x' "
       "}}",
       "1-002 100% [1] 'x'"},
      {"{{ '%+d % d %e %g %g' % (5, 5, 1234.5, 1e10, 0.0001) }} {{ '%.3s|%5s|%c' % ('abcdef', "
       "'ab', 'z') }} {{ '%d' % 3.9 }}",
       "+5  5 1.234500e+03 1e+10 0.0001 abc|   ab|z 3"},
  });
}

TEST(JinjaExpressions, BraceFormat) {
  expect_rendered({
      {"{{ '{} {} {}'.format(1, 'a', none) }} {{ '{1}{0}'.format('a', 'b') }} {{ "
       "'{x}-{x!r}'.format(x='q') }}",
       "1 a None ba q-'q'"},
      {"{{ '{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}'.format('a', 'b', 'c', 42, pi, 1234567) }}",
       "    a|b    |  c  |00042|3.14|1,234,567"},
      {"{{ '{0[name]} {0[age]} {{}}'.format(people[0]) }}", "Ida 30 {}"},
      {"{{ '{:*^7}{:x}{:#x}{:%}{:e}'.format('m', 255, 255, 0.5, 12345.678) }}",
       "***m***ff0xff50.000000%1.234568e+04"},
  });
}

}  // namespace
}  // namespace bitsmith::jinja
