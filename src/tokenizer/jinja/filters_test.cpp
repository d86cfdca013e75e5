// Jinja filters and tests.
#include <gtest/gtest.h>

#include "tokenizer/jinja/test_render.h"

namespace bitsmith::jinja {
namespace {

TEST(JinjaFilters, Text) {
  expect_rendered({
      {"{{ name | upper }}{{ name | lower }}{{ 'hELLO wORLD' | capitalize }}{{ \"it's a-b (c) "
       "d.e\" | title }}{{ 'ß' | length }}",
       "ADAadaHello worldIt's A-B (C) D.e1"},
      {"[{{ text | trim }}][{{ 'xxaxx' | trim('x') }}]", "[One two\n\nthree][a]"},
      {"{{ 'aXbXc' | replace('X', '-') }}{{ 'aXbXc' | replace('X', '-', 1) }}{{ 'ab' | replace('', "
       "'.') }}",
       "a-b-ca-bXc.a.b."},
      {"{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb\n\nc' | indent(2, true) }}|{{ 'a\n\nb' | indent(2, "
       "blank=true) }}|{{ 'a\nb' | indent('> ') }}",
       "a\n    b\n\n    c|  a\n  b\n\n  c|a\n  \n  b|a\n> b"},
      {"{{ 'foo bar baz qux' | truncate(9) }}|{{ 'foo bar baz qux' | truncate(9, true) }}|{{ 'foo "
       "bar baz qux' | truncate(11) }}|{{ 'foo bar baz qux' | truncate(11, false, '..', 0) }}",
       "foo...|foo ba...|foo bar baz qux|foo bar.."},
      {"[{{ 'ab' | center(7) }}]", "[   ab  ]"},
      {"{{ '<a href=\"x\">\\'&' | e }}", "&lt;a href=&#34;x&#34;&gt;&#39;&amp;"},
      {"{{ ('<' | safe) + '<' + name }}{{ '<' + ('<' | safe) | upper }}{{ ('<' | safe) ~ '<' }}{{ "
       "'a' | safe is escaped }}{{ '&' | e | e }}{{ '&' | e | forceescape }}",
       "<&lt;Ada&lt;<<<True&amp;&amp;amp;"},
      {"{{ 'a b/ü&?' | urlencode }}", "a%20b/%C3%BC%26%3F"},
      {"{{ \"one two, it's three\" | wordcount }}", "5"},
      {"{{ '%s-%s' | format(1, 'b') }}{{ '%(a)s' | format(a=2) }}", "1-b2"},
      {"{{ 5 | string + 'x' }}{{ none | string }}", "5xNone"},
  });
}

TEST(JinjaFilters, Numbers) {
  expect_rendered({
      {"{{ -3 | abs }}{{ -2.5 | abs }}", "32.5"},
      {"{{ '42' | int }} {{ '4.9' | int }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ 'ff' | int(0, 16) "
       "}} {{ 3.99 | int }} {{ '0x1f' | int(base=16) }} {{ ' 7 ' | int }} {{ true | int }} {{ none "
       "| int }}",
       "42 4 0 7 255 3 31 7 1 0"},
      {"{{ '1.5' | float }} {{ 'x' | float }} {{ 3 | float }} {{ 'x' | float(2.0) }} {{ '1e3' | "
       "float }}",
       "1.5 0.0 3.0 2.0 1000.0"},
      {"{{ 42.55 | round }} {{ 42.55 | round(1) }} {{ 2.5 | round }} {{ 3.5 | round }} {{ 42.55 | "
       "round(1, 'floor') }} {{ 42.51 | round(1, 'ceil') }} {{ 7 | round }} {{ 2.675 | round(2) }}",
       "43.0 42.5 2.0 4.0 42.5 42.6 7 2.67"},
      {"{{ 1 | filesizeformat }} {{ 999 | filesizeformat }} {{ 1000 | filesizeformat }} {{ 1234567 "
       "| filesizeformat }} {{ 1024 | filesizeformat(true) }}",
       "1 Byte 999 Bytes 1.0 kB 1.2 MB 1.0 KiB"},
      {"{{ numbers | sum }} {{ people | sum('age') }} {{ [1.5, 2] | sum(start=1) }} {{ numbers | "
       "min }} {{ numbers | max }} {{ words | min }} {{ people | max(attribute='age') | attr('x') "
       "}}|",
       "6 67 4.5 1 3 A |"},
  });
}

TEST(JinjaFilters, Defaults) {
  expect_rendered({
      {"{{ undefined_name | default('d') }}{{ nothing | default('d') }}{{ nothing | default('d', "
       "true) }}{{ '' | d('x', boolean=true) }}{{ undefined_name | d }}",
       "dNonedx"},
  });
}

TEST(JinjaFilters, Sequences) {
  expect_rendered({
      {"{{ words | length }}{{ map | count }}{{ name | length }}{{ undefined_name | length }}",
       "4330"},
      {"{{ words | first }}{{ words | last }}{{ name | first }}{{ [] | first }}|{{ map | first }}",
       "baA|b"},
      {"{{ words | join }} {{ words | join(', ') }} {{ people | join('+', attribute='name') }} {{ "
       "[1, none, 2.5] | join('-') }}",
       "bAca b, A, c, a Ida+bob+Cy 1-None-2.5"},
      {"{{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ numbers | sort(reverse=true) "
       "}} {{ people | sort(attribute='age') | map(attribute='name') | list }} {{ people | "
       "sort(attribute='age,name') | map(attribute='name') | join }}",
       "['A', 'a', 'b', 'c'] ['A', 'a', 'b', 'c'] [3, 2, 1] ['bob', 'Ida', 'Cy'] bobCyIda"},
      {"{{ map | dictsort }} {{ map | dictsort(true) }} {{ {'a': 2, 'b': 1} | dictsort(by='value') "
       "}} {{ {'a': 2, 'b': 1} | dictsort(reverse=true) }}",
       "[('a', [True, None, 2.5]), ('b', 1), ('C', 'x\"<y>')] [('C', 'x\"<y>'), ('a', [True, None, "
       "2.5]), ('b', 1)] [('b', 1), ('a', 2)] [('b', 1), ('a', 2)]"},
      {"{{ ['a', 'A', 'b'] | unique | list }} {{ people | unique(attribute='age') | "
       "map(attribute='name') | list }}",
       "['a', 'b'] ['Ida', 'bob']"},
      {"{{ numbers | reverse | list }} {{ name | reverse }}", "[2, 1, 3] adA"},
      {"{% for row in range(5) | batch(2, 'x') %}{{ row }}{% endfor %}{% for part in range(5) | "
       "slice(2, 'x') %}{{ part }}{% endfor %}",
       "[0, 1][2, 3][4, 'x'][0, 1, 2][3, 4, 'x']"},
      {"{% for age, group in people | groupby('age') %}{{ age }}:{{ group | map(attribute='name') "
       "| join(',') }};{% endfor %}",
       "7:bob;30:Ida,Cy;"},
      {"{{ map | items | list }} {{ undefined_name | items | list }}",
       "[('b', 1), ('a', [True, None, 2.5]), ('C', 'x\"<y>')] []"},
      {"{{ 'abc' | list }} {{ map | list }}", "['a', 'b', 'c'] ['b', 'a', 'C']"},
  });
}

TEST(JinjaFilters, Selection) {
  expect_rendered({
      {"{{ numbers | select('odd') | list }} {{ numbers | reject('gt', 1) | list }} {{ [0, 1, '', "
       "'a'] | select | list }}",
       "[3, 1] [1] [1, 'a']"},
      {"{{ people | selectattr('age', 'equalto', 30) | map(attribute='name') | list }} {{ people | "
       "rejectattr('tags') | map(attribute='name') | list }} {{ people | selectattr('tags', "
       "'defined') | list | length }}",
       "['Ida', 'Cy'] ['bob', 'Cy'] 2"},
      {"{{ none | map('upper') | list }}{{ none | select('odd') | list }}{{ 0 | selectattr('x') | "
       "list }}",
       "[][][]"},
      {"{{ words | map('upper') | list }} {{ people | map(attribute='tags', default='none') | list "
       "}} {{ words | map('replace', 'a', 'z') | join }}",
       "['B', 'A', 'C', 'A'] [['x'], [], 'none'] bAcz"},
      {"{% set g = numbers | select('odd') %}{{ g | list }}{{ g | list }}{{ 'true' if g }}",
       "[3, 1][]true"},
  });
}

TEST(JinjaFilters, Json) {
  expect_rendered({
      {"{{ map | tojson }}", "{\"b\": 1, \"a\": [true, null, 2.5], \"C\": \"x\\\"<y>\"}"},
      {"{{ map | tojson(indent=2) }}",
       "{\n  \"b\": 1,\n  \"a\": [\n    true,\n    null,\n    2.5\n  ],\n  \"C\": \"x\\\"<y>\"\n}"},
      {"{{ {'b': 1, 'a': {'d': [], 'c': {}}} | tojson(indent=1, sort_keys=true) }}",
       "{\n \"a\": {\n  \"c\": {},\n  \"d\": []\n },\n \"b\": 1\n}"},
      {"{{ [1, 2] | tojson(separators=(',', ':')) }}{{ {'a': 1} | tojson(separators=(',', ':')) }}",
       "[1,2]{\"a\":1}"},
      {"{{ uni | tojson }}{{ uni | tojson(ensure_ascii=true) }}{{ '\\U0001F600' | "
       "tojson(ensure_ascii=true) }}",
       "\"ÄÖ 中 ß\"\"\\u00c4\\u00d6 \\u4e2d \\u00df\"\"\\ud83d\\ude00\""},
      {"{{ [1.0, 1e20, 0.1, true, none, (1, 2), 'a\\n\\t\\x01/\\x7f'] | tojson }} {{ {1: 2, none: "
       "3, true: 4} | tojson }}",
       "[1.0, 1e+20, 0.1, true, null, [1, 2], \"a\\n\\t\\u0001/\x7f"
       "\"] {\"1\": 4, \"null\": 3}"},
  });
}

TEST(JinjaFilters, Tests) {
  expect_rendered({
      {"{{ n is defined }}{{ zz is defined }}{{ zz is undefined }}{{ nothing is none }}{{ n is "
       "number }}{{ pi is float }}{{ n is integer }}{{ yes is boolean }}{{ yes is true }}{{ no is "
       "false }}{{ yes is number }}{{ yes is integer }}",
       "TrueFalseTrueTrueTrueTrueTrueTrueTrueTrueTrueFalse"},
      {"{{ name is string }}{{ map is mapping }}{{ words is sequence }}{{ name is sequence }}{{ "
       "map is sequence }}{{ map.items() is sequence }}{{ words is iterable }}{{ n is iterable "
       "}}{{ range is callable }}{{ name is callable }}{{ zz is iterable }}{{ zz is sequence }}",
       "TrueTrueTrueTrueTrueFalseTrueFalseTrueFalseTrueTrue"},
      {"{{ n is odd }}{{ n is even }}{{ n is divisibleby 7 }}{{ n is divisibleby(2) }}{{ n is eq 7 "
       "}}{{ n is gt 3 }}{{ n is le(3) }}{{ 'a' is in words }}{{ n is not in numbers }}{{ n is "
       "ne(7) }}",
       "TrueFalseTrueFalseTrueTrueFalseTrueTrueFalse"},
      {"{{ 'abc' is lower }}{{ 'ABC' is upper }}{{ 'x' is sameas 'x' }}{{ none is sameas none }}{{ "
       "'upper' is filter }}{{ 'nope' is filter }}{{ 'odd' is test }}",
       "TrueTrueTrueTrueTrueFalseTrue"},
      {"{{ 'y' if n is defined and n is not none else 'z' }}", "y"},
  });
}

}  // namespace
}  // namespace bitsmith::jinja
