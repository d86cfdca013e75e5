#include "tokenizer/chat_template.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace bitsmith {
namespace {

const std::vector<ChatMessage> kUser = {{"user", "Hi"}};
const std::vector<ChatMessage> kTalk = {
    {"system", "Short."}, {"user", "Hi"}, {"assistant", "Yes?"}, {"user", "No {% x %}\n"}};

const std::string kLoop =
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}";
const std::string kPrompt =
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const std::string kPlain = "{% for message in messages %}" + kLoop + "{% endfor %}" + kPrompt;
const std::string kWithDefault =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe a test.<|im_end|>\n' }}{% endif %}" +
    kLoop + "{% endfor %}" + kPrompt;
const std::string kWithTools = R"({%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'Be a test.' }}
    {%- endif %}
    {%- for tool in tools %}
        {{- tool | tojson }}
    {%- endfor %}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nBe a test.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.last %}
            {{- message.content }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
)";

TEST(ChatTemplate, Plain) {
  const ChatTemplate t(kPlain);
  ASSERT_TRUE(t.supported()) << t.reason();
  EXPECT_EQ(t.render(kUser), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(t.render(kUser, false), "<|im_start|>user\nHi<|im_end|>\n");
  EXPECT_EQ(t.render(kTalk, false),
            "<|im_start|>system\nShort.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nYes?<|im_end|>\n<|im_start|>user\nNo {% x %}\n<|im_end|>\n");
  EXPECT_EQ(t.render({}), "<|im_start|>assistant\n");
}

TEST(ChatTemplate, DefaultSystemMessage) {
  for (const std::string& source : {kWithDefault, kWithTools}) {
    const ChatTemplate t(source);
    ASSERT_TRUE(t.supported()) << t.reason();
    EXPECT_EQ(t.render(kUser),
              "<|im_start|>system\nBe a test.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
              "<|im_start|>assistant\n");
    EXPECT_EQ(t.render(kTalk), ChatTemplate(kPlain).render(kTalk));
  }
}

// The same template in other layouts and spellings.
TEST(ChatTemplate, Spellings) {
  for (const std::string source :
       {"{% for message in messages %}\n<|im_start|>{{ message.role }}\n{{ message.content }}"
        "<|im_end|>\n{% endfor %}\n{% if add_generation_prompt %}\n<|im_start|>assistant\n"
        "{% endif %}\n",
        "{%- for message in messages -%}\n  {{ \"<|im_start|>\" + message[\"role\"] }}{{ '\\n' }}"
        "{{- message.content + '<|im_end|>\\n' -}}\n\n{%- endfor -%}\n{# end #}\n"
        "{%- if add_generation_prompt -%}\n  <|im_start|>assistant{{ '\\n' }}\n{%- endif -%}"}) {
    const ChatTemplate t(source);
    ASSERT_TRUE(t.supported()) << source;
    EXPECT_EQ(t.render(kTalk), ChatTemplate(kPlain).render(kTalk));
  }
}

TEST(ChatTemplate, OthersAreRefused) {
  EXPECT_EQ(ChatTemplate("").reason(), "the model has no chat template");
  std::string trimmed = kPlain, no_newline = kPlain, other_tags = kPlain;
  trimmed.replace(trimmed.find("['content']"), 11, "['content'] | trim");
  no_newline.replace(no_newline.find(" + '\n'}}"), 8, "}}");
  other_tags.replace(other_tags.find("<|im_start|>"), 12, "<|start|>");
  for (const std::string& source :
       {trimmed, no_newline, other_tags, kPlain + "!", kPlain.substr(0, 40), std::string("{{"),
        std::string("{% if x"), std::string("{{ 'a }}"), kLoop}) {
    const ChatTemplate t(source);
    EXPECT_FALSE(t.supported()) << source;
    EXPECT_FALSE(t.reason().empty());
    EXPECT_THROW(t.render(kUser), Error);
  }
}

}  // namespace
}  // namespace bitsmith
