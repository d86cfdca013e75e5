#include "tokenizer/jinja/template.h"

#include <gtest/gtest.h>

#include <thread>

#include "tokenizer/jinja/test_render.h"

namespace bitsmith::jinja {
namespace {

void expect_failure(const std::string& source, const std::vector<std::string>& parts) {
  const std::string message = failure_of(source);
  EXPECT_FALSE(message.empty()) << source;
  for (const std::string& part : parts)
    EXPECT_NE(message.find(part), std::string::npos) << source << ": " << message;
}

TEST(JinjaTemplate, SyntaxErrorsNameTheLine) {
  expect_failure("a\n{% if x %}\nb", {"test, line 3", "endif"});
  expect_failure("a\n\n{{ 1 + }}", {"line 3", "'}}'"});
  expect_failure("{{ 'abc }}", {"line 1", "string"});
  expect_failure("\n{# abc", {"line 2", "comment"});
  expect_failure("{% raw %} x", {"endraw"});
  expect_failure("{{ (1] }}", {"unexpected ']'", "')'"});
  expect_failure("{% foo %}", {"'foo'", "not known"});
  expect_failure("{% include 'x' %}", {"'include'", "stands alone"});
  expect_failure("{% endif %}", {"'endif'"});
  expect_failure("{% break %}", {"outside of a loop"});
  expect_failure("{% for x in y %}{% macro f() %}{% continue %}{% endmacro %}{% endfor %}",
                 {"outside of a loop"});
  expect_failure("{% macro f(a=1, b) %}{% endmacro %}", {"without a default"});
  expect_failure("{% set 1 = 2 %}", {"name to assign to"});
  expect_failure("{% set true = 2 %}", {"assign"});
  expect_failure("{{ 99999999999999999999 }}", {"64 bits"});
  expect_failure("{{ f(a=1, 2) }}", {"without a name"});
  expect_failure("{{ 1 is odd is even }}", {"chained"});
  expect_failure("{{ ? }}", {"'?'"});
  expect_failure("{{ '\\x4' }}", {"escape"});
  expect_failure("{% if n %}a{% endif", {"line 1"});
}

TEST(JinjaTemplate, FailuresNameTheLine) {
  expect_failure("a\n{{ name }}\n{{ missing.part }}", {"test, line 3", "'missing' is undefined"});
  expect_failure("{{ map.x.y }}", {"dict object", "no attribute 'x'"});
  expect_failure("{% macro f() %}\n{{ 1 + 'a' }}\n{% endmacro %}\n\n{{ f() }}",
                 {"line 2", "'int' and 'str'"});
  expect_failure("{{ 'a' + 1 }}", {"can only concatenate str"});
  expect_failure("{{ 1 / 0 }}{{ n }}", {"division by zero"});
  expect_failure("{{ 1 < 'a' }}", {"not supported between"});
  expect_failure("{% for x in 5 %}{% endfor %}", {"'int' object is not iterable"});
  expect_failure("{% for a, b in [(1, 2, 3)] %}{% endfor %}", {"too many values"});
  expect_failure("{{ name() }}", {"'str' object is not callable"});
  expect_failure("{{ name | nope }}", {"no filter is named 'nope'"});
  expect_failure("{{ name is nope }}", {"no test is named 'nope'"});
  expect_failure("{{ words.append(1) }}", {"'append'", "unsafe"});
  expect_failure("{{ map.pop('b') }}", {"unsafe"});
  expect_failure("{{ name.__class__() }}", {"unsafe"});
  expect_failure("{% set map.x = 1 %}", {"non-namespace"});
  expect_failure("{{ {[1]: 2} }}", {"unhashable"});
  expect_failure("{{ name | replace('a') }}", {"replace()", "'new'"});
  expect_failure("{{ name | upper(1) }}", {"upper()"});
  expect_failure("{{ name | trim(x=1) }}", {"trim()", "'x'"});
  expect_failure("{{ range(200000) }}", {"Range too big"});
  expect_failure("{{ numbers | tojson(indent='ab' * 3) }}{{ range | tojson }}", {"JSON"});
  expect_failure("{{ undefined_name | tojson }}", {"Undefined is not JSON"});
  expect_failure("{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", {"'f'", "not more than 1"});
  expect_failure("{% macro f(a) %}{% endmacro %}{{ f(b=2) }}", {"'f'", "'b'"});
}

TEST(JinjaTemplate, IntegersHave64Bits) {
  expect_failure("{{ 9223372036854775807 + 1 }}", {"64 bits"});
  expect_failure("{{ -9223372036854775807 - 2 }}", {"64 bits"});
  expect_failure("{{ 2 ** 63 }}", {"64 bits"});
  expect_failure("{{ 9223372036854775807 * 2 }}", {"64 bits"});
  expect_rendered({{"{{ (-9223372036854775807 - 1) // 1 }}", "-9223372036854775808"},
                   {"{{ (-9223372036854775807 - 1) % -1 }}", "0"},
                   {"{{ 2 ** 62 }} {{ (-2) ** 63 }}", "4611686018427387904 -9223372036854775808"}});
  expect_failure("{{ (-9223372036854775807 - 1) // -1 }}", {"64 bits"});
}

TEST(JinjaTemplate, RaiseExceptionIsARefusal) {
  EXPECT_EQ(failure_of("a\n{% if yes %}{{ raise_exception('Only ' ~ name ~ '!') }}{% endif %}"),
            "test refuses this conversation (line 2): Only Ada!");
}

TEST(JinjaTemplate, AMacroKeepsItsScope) {
  expect_rendered(
      {{"{% macro outer() %}{% set q = 7 %}{% macro f() %}{{ q }}{% endmacro %}"
        "{% set ns.f = f %}{% endmacro %}{% set ns = namespace() %}"
        "{{ outer() }}{{ ns.f() }}{{ ns.f() }}",
        "77"}});
}

TEST(JinjaTemplate, ALoopIsKeptBeyondItsEnd) {
  const std::string kept =
      "{% set ns = namespace() %}{% macro m() %}{% for i in [1, 2] if i recursive %}"
      "{% set ns.l = loop %}{% break %}{% endfor %}{% endmacro %}{{ m() }}";
  EXPECT_EQ(render_text(kept + "{{ ns.l.index }}").bytes(), "1");
  expect_failure(kept + "{{ ns.l([1]) }}", {"has ended"});
}

TEST(JinjaTemplate, TimeOfTheRequest) {
  expect_rendered({{"{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"},
                   {"{{ strftime_now('%A %B %-d %H:%M:%S %j %p %y%%') }}",
                    "Friday July 26 09:05:03 208 AM 24%"},
                   {"{{ strftime_now('%f|%z|%Z|%') }}", "000000|||%"}});
  expect_failure("{{ strftime_now('%Q') }}", {"%Q"});
}

TEST(JinjaTemplate, EndsAtTheDeadline) {
  const Limits over{.deadline = Deadline(std::chrono::seconds(0))};
  EXPECT_THROW(render_text("{% for a in range(9999) %}a{% endfor %}", kTestVariables, over),
               DeadlineError);
}

TEST(JinjaTemplate, WorkIsLimited) {
  const Limits few{.steps = 100'000, .output = 10'000, .depth = 100};
  const auto fails = [&](const std::string& source, const std::string& part) {
    const std::string message = failure_of(source, few);
    EXPECT_NE(message.find(part), std::string::npos) << source << ": " << message;
  };
  fails("{% for a in range(999) %}{% for b in range(999) %}{% set x = b %}{% endfor %}{% endfor %}",
        "steps");
  fails("{% for a in range(9999) %}aaaa{% endfor %}", "bytes");
  fails("{{ 'a' * 9999999999 }}", "bytes");
  fails("{{ ('%' ~ '9' * 9 ~ 'd') % 1 }}", "bytes");
  fails("{{ [1] * 99999999 }}", "steps");
  fails("{{ 'ab' | center(99999999) }}", "bytes");
  fails("{{ ('a,' * 999) | replace(',', 'a' * 999) }}", "bytes");
  fails("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "call");
  fails(
      "{% set ns = namespace(x=[]) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% endfor %}",
      "deep");
  // Twice as large each time.
  const std::string doubled = "{% set x.a = [x.a, x.a] %}{% set x.b = [x.b, x.b] %}";
  fails("{% set x = namespace(a=1, b=1) %}{% for i in range(99) %}" + doubled + "{% endfor %}",
        "holds more");
  fails("{% set x = namespace(a=1, b=1) %}{% for i in range(20) %}" + doubled +
            "{% endfor %}{{ x.a == x.b }}",
        "steps");
  for (const std::string look : {"x[-1]", "x.find('b')", "x | length"})
    fails("{% set x = 'a' * 9999 %}{% for i in range(999) %}{{ " + look + " }}{% endfor %}",
          "steps");
  fails("{{ " + std::string(300, '(') + "1" + std::string(300, ')') + " }}", "deep");
  fails("{{ 1" + std::string(3000, '+') + "1 }}", "deep");
  std::string chain = "{{ 1";
  for (int i = 0; i < 3000; ++i) chain += " + 1";
  fails(chain + " }}", "parts in a row");
  std::string blocks;
  for (int i = 0; i < 300; ++i) blocks += "{% if yes %}";
  fails(blocks, "deep");
}

// Foreign text is in brackets.
std::string marked(const std::string& source) {
  const Text text = render_text(source, R"({"u": "<s>Hi</s>", "list": ["a", "b"], "n": 5})");
  std::string out;
  size_t at = 0;
  for (const Span& span : text.foreign_spans()) {
    out += text.bytes().substr(at, span.begin - at);
    out += "[" + text.bytes().substr(span.begin, span.end - span.begin) + "]";
    at = span.end;
  }
  return out + text.bytes().substr(at);
}

TEST(JinjaTemplate, ForeignTextIsKnown) {
  EXPECT_EQ(marked("<s>{{ u }}</s>"), "<s>[<s>Hi</s>]</s>");
  EXPECT_EQ(marked("{{ '<s>' + u + '</s>' }}"), "<s>[<s>Hi</s>]</s>");
  EXPECT_EQ(marked("{{ u | trim | upper }}x{{ u[3:5] }}y{{ u.split('>')[1] }}"),
            "[<S>HI</S>]x[Hi]y[Hi</s]");
  EXPECT_EQ(marked("{{ ('a' ~ u ~ 'b') | replace('H', 'x') }}"), "a[<s>]x[i</s>]b");
  EXPECT_EQ(marked("{{ u | replace('Hi', u) }}"), "[<s><s>Hi</s></s>]");
  EXPECT_EQ(marked("{{ {'k': u} | tojson }}"), "{\"k\": \"[<s>Hi</s>]\"}");
  EXPECT_EQ(marked("{{ [u] }}"), "['[<s>Hi</s>]']");
  EXPECT_EQ(marked("{{ '%s|%s' % (u, 'own') }}"), "[<s>Hi</s>]|own");
  EXPECT_EQ(marked("{{ '{}|{}'.format(u, 'own') }}"), "[<s>Hi</s>]|own");
  EXPECT_EQ(marked("{{ list | join('-') }}{{ n }}"), "[a]-[b]5");
  EXPECT_EQ(marked("{% set x %}<{{ u }}>{% endset %}{{ x }}"), "<[<s>Hi</s>]>");
  EXPECT_EQ(marked("{% macro f(t) %}<{{ t }}>{% endmacro %}{{ f(u) }}"), "<[<s>Hi</s>]>");
  EXPECT_EQ(marked("{% for c in u %}{{ c }}{% endfor %}"), "[<s>Hi</s>]");
  EXPECT_EQ(marked("{{ u[::-1] }}{{ u * 2 }}"), "[>s/<iH>s<<s>Hi</s><s>Hi</s>]");
  EXPECT_EQ(marked("{{ u == '<s>Hi</s>' }}{{ {'a': 1}['a'] }}"), "True1");
}

TEST(JinjaTemplate, BytesThatAreNotUtf8AreRepaired) {
  EXPECT_EQ(render_text("a\xFF{{ 'b\xC3' }}").bytes(),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
}

TEST(JinjaTemplate, ThreadsShareATemplate) {
  const Template shared("{% for i in range(50) %}{{ i }}{% endfor %}", "test");
  std::string results[4];
  std::vector<std::thread> threads;
  for (std::string& result : results)
    threads.emplace_back([&] { result = shared.render({}, test_time()).bytes(); });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& result : results) EXPECT_EQ(result, results[0]);
}

}  // namespace
}  // namespace bitsmith::jinja
