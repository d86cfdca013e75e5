// Jinja white space: tags, trim_blocks, lstrip_blocks, raw, comments.
#include <gtest/gtest.h>

#include "tokenizer/jinja/test_render.h"

namespace bitsmith::jinja {
namespace {

TEST(JinjaWhiteSpace, TagsTakeTheirLine) {
  expect_rendered({
      {"a\n{% if yes %}\nb\n{% endif %}\nc\n", "a\nb\nc"},
      {"  {% if yes %}\n  b\n  {% endif %}\nc", "  b\nc"},
      {"x {% if yes %} y {% endif %} z", "x  y  z"},
      {"\n\n{% if yes %}\n\nb{% endif %}", "\n\n\nb"},
      {"{% if yes %}{% if yes %}\n  {% endif %}\n{% endif %}e", "e"},
      {"\t {% set a = 1 %} \nx", " \nx"},
      {"a\n   {{ n }}\n  b", "a\n   7\n  b"},
  });
}

TEST(JinjaWhiteSpace, MinusTakesAllSpace) {
  expect_rendered({
      {"a \n {%- if yes -%} \n b \n {%- endif -%} \n c", "abc"},
      {"a  {{- n -}}  b", "a7b"},
      {"a {{- ' ' }}\n{{ n -}}\n\n b", "a \n7b"},
      {"{#- c -#} x", "x"},
      {"a {#- c #} b\n {# d -#}\n c", "a b\nc"},
  });
}

TEST(JinjaWhiteSpace, PlusKeepsSpace) {
  expect_rendered({
      {"  {%+ if yes %}\nb{% endif %}", "  b"},
      {"  {% if yes +%}\nb{% endif %}", "\nb"},
      {"{#+ c +#}\nx", "\nx"},
  });
}

TEST(JinjaWhiteSpace, CommentsAreLeftOut) {
  expect_rendered({
      {"a{# {{ x }} {% y %} #}b", "ab"},
      {"{# one #}\n{# two #}\nx", "x"},
      {"a # {# \n\n #}b", "a # b"},
  });
}

TEST(JinjaWhiteSpace, Raw) {
  expect_rendered({
      {"{% raw %}{{ x }} {% if %}{% endraw %}y", "{{ x }} {% if %}y"},
      {"{%- raw -%}  {{ x }}  {%- endraw -%}  y", "{{ x }}y"},
      {"a\n{% raw %}\n b\n{% endraw %}\nc", "a\n\n b\nc"},
  });
}

TEST(JinjaWhiteSpace, NewlineAtTheEnd) {
  expect_rendered({
      {"a\n", "a"},
      {"a\n\n", "a\n"},
      {"a\r\nb\rc\r\n", "a\nb\nc"},
  });
}

TEST(JinjaWhiteSpace, BracesThatAreText) {
  expect_rendered({
      {"{ {{ n }} }", "{ 7 }"},
      {"a { b } c }} %} #}", "a { b } c }} %} #}"},
      {"{{ '}}' }}{{ \"{%\" }}", "}}{%"},
  });
}

}  // namespace
}  // namespace bitsmith::jinja
