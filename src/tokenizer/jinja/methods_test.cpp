// Methods of strings, lists and dicts.
#include <gtest/gtest.h>

#include "tokenizer/jinja/test_render.h"

namespace bitsmith::jinja {
namespace {

TEST(JinjaMethods, Search) {
  expect_rendered({
      {"{{ name.startswith('A') }}{{ name.endswith('da') }}{{ name.startswith(('x', 'A')) }}{{ "
       "'abc'.startswith('b', 1) }}{{ uni.find('中') }}{{ uni.find('x') }}{{ 'abab'.rfind('ab') "
       "}}{{ 'abab'.index('b') }}{{ 'aaaa'.count('aa') }}{{ 'abc'.count('') }}",
       "TrueTrueTrueTrue3-12124"},
      {"{{ 'a-b-c'.split('-') }}{{ 'a-b-c'.split('-', 1) }}{{ '  a  b '.split() }}{{ ' a  b  c "
       "'.split(none, 1) }}{{ 'a-b-c'.rsplit('-', 1) }}{{ ' a b c '.rsplit(none, 1) }}{{ "
       "''.split() }}{{ ''.split('x') }}{{ 'a-b'.split('-', maxsplit=0) }}",
       "['a', 'b', 'c']['a', 'b-c']['a', 'b']['a', 'b  c ']['a-b', 'c'][' a b', 'c'][]['']['a-b']"},
      {"{{ 'a\nb\r\nc\n'.splitlines() }}{{ 'a\nb'.splitlines(true) }}",
       "['a', 'b', 'c']['a\\n', 'b']"},
      {"{{ 'k=v=w'.partition('=') }}{{ 'k=v=w'.rpartition('=') }}{{ 'k'.partition('=') }}{{ "
       "'k'.rpartition('=') }}",
       "('k', '=', 'v=w')('k=v', '=', 'w')('k', '', '')('', '', 'k')"},
      {"{{ 'aXbX'.replace('X', '') }}{{ 'aXbX'.replace('X', 'y', 1) }}{{ "
       "'prefix'.removeprefix('pre') }}{{ 'name.txt'.removesuffix('.txt') }}",
       "abaybXfixname"},
      {"{{ ', '.join(words) }}{{ ''.join(['a', 'b']) }}", "b, A, c, aab"},
  });
}

TEST(JinjaMethods, Shape) {
  expect_rendered({
      {"[{{ text.strip() }}][{{ text.lstrip() }}][{{ text.rstrip() }}][{{ 'xyaxy'.strip('xy') "
       "}}][{{ '\\u00a0a\\u2003'.strip() }}]",
       "[One two\n\nthree][One two\n\nthree  ][  One two\n\nthree][a][a]"},
      {"{{ uni.lower() }}{{ 'äö'.upper() }}{{ 'aBc'.swapcase() }}{{ 'hello world'.capitalize() "
       "}}{{ \"they're bill's\".title() }}",
       "äö 中 ßÄÖAbCHello worldThey'Re Bill'S"},
      {"[{{ 'ab'.center(7, '*') }}][{{ 'ab'.center(5) }}][{{ 'abc'.center(6) }}][{{ 'ab'.ljust(4) "
       "}}][{{ 'ab'.rjust(4, '.') }}][{{ '-5'.zfill(4) }}][{{ '5'.zfill(3) }}]",
       "[***ab**][  ab ][ abc  ][ab  ][..ab][-005][005]"},
      {"{{ 'a\\tb'.expandtabs(4) }}", "a   b"},
  });
}

TEST(JinjaMethods, Characters) {
  expect_rendered({
      {"{{ 'abc'.isalpha() }}{{ 'ab1'.isalnum() }}{{ '12'.isdigit() }}{{ '12'.isnumeric() }}{{ ' "
       "\\n'.isspace() }}{{ ''.isspace() }}{{ 'ab'.islower() }}{{ 'AB'.isupper() }}{{ 'Ab "
       "Cd'.istitle() }}{{ 'a_1'.isidentifier() }}{{ '1a'.isidentifier() }}{{ 'é'.isascii() }}",
       "TrueTrueTrueTrueTrueFalseTrueTrueTrueTrueFalseFalse"},
  });
}

TEST(JinjaMethods, Containers) {
  expect_rendered({
      {"{{ [1, 2, 1].count(1) }}{{ [1, 2].index(2) }}{{ (1, 1).count(1) }}{{ map.copy() == map }}",
       "212True"},
  });
}

}  // namespace
}  // namespace bitsmith::jinja
