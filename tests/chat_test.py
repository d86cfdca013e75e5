#!/usr/bin/env python3
"""bitsmith run: chat templates and conversations."""
import fcntl
import json
import os
import pty
import select
import shutil
import subprocess
import termios
import unittest

from support import PROGRAM, TRAINED, ProgramTest, chat_line, is_linked_with, main


class ChatTemplates(ProgramTest):
    """`run` executes the template that the model carries."""
    TURNS = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
             "{{ '<|im_start|>assistant\\n' }}")  # jinja2 drops a template's last line end

    def model(self, template):
        folder = self.folder / "model"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(TRAINED, folder)
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config["chat_template"] = template
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        return folder

    def answer(self, model, *more):
        return json.loads(self.succeed("run", model, "-p", "What is 3 plus 4?", "--max-tokens", 20, "--json", *more).out)

    def test_json_schema(self):
        file = self.folder / "schema.json"
        file.write_text('{"properties": {"a": {"enum": ["x", 7]}}, "required": ["a"]}')
        answer = json.loads(self.succeed("run", TRAINED, "-p", "What is 3 plus 4?", "--max-tokens", 300, "--json-schema", file,
                                         "--json").out)
        self.assertEqual(answer["finish_reason"], "end")
        self.assertIn(json.loads(answer["text"])["a"], ["x", 7])
        for bad, says in [('{"pattern": "a"}', "'pattern'"), ("{", "JSON")]:
            file.write_text(bad)
            self.fail_cleanly("run", TRAINED, "-p", "a", "--json-schema", file, codes=(1,), says=["schema.json", says])

    def test_template_variables(self):
        model = self.model(self.TURNS + "{{ begin.text ~ '' if begin is defined }}{{ ' ' if n == 2 }}")
        plain = self.answer(model)
        self.assertEqual(plain["text"], "3 plus 4 is 7.")
        begun = self.answer(model, "--template-var", 'begin={"text": "3 plus"}', "--template-var", "n=2.0")
        self.assertGreater(begun["prompt_tokens"], plain["prompt_tokens"])
        self.assertNotEqual(begun["text"], plain["text"])

    def test_wrong_template_variables(self):
        model = self.model(self.TURNS)
        for variable, says in [("thinking", "NAME=JSON"), ("a b=1", "NAME=JSON"), ("=1", "NAME=JSON"),
                               ("effort=high", "quotation marks"), ("messages=[]", "messages"),
                               ("add_generation_prompt=false", "add_generation_prompt")]:
            self.fail_cleanly("run", model, "-p", "a", "--template-var", variable, codes=(2,), says=[says])
        self.fail_cleanly("run", model, "-p", "a", "--raw", "--template-var", "x=1", codes=(2,), says=["--raw"])

    def test_refusals(self):
        refusing = self.model("{% if messages[0].role == 'system' %}\n{{ raise_exception('No system messages!') }}"
                              "{% endif %}" + self.TURNS)
        self.fail_cleanly("run", refusing, "-p", "a", "--system", "Be kind.", codes=(1,),
                          says=["refuses this conversation (line 2): No system messages!"])
        self.assertEqual(self.answer(refusing)["text"], "3 plus 4 is 7.")
        self.fail_cleanly("run", self.model("\n\n{{ messages + 1 }}"), "-p", "a", codes=(1,), says=["chat template, line 3"])
        chats = self.folder / "chats.jsonl"
        chats.write_text(chat_line(("system", "a"), ("user", "b")) * 50)
        self.fail_cleanly("eval", self.model("{{ raise_exception('Never') }}"), "--text", chats, "--engine", "runtime",
                          codes=(1,), says=["chats.jsonl, line 1", "Never"])

    def test_a_template_that_is_not_well_formed(self):
        model = self.model("{% if %}")
        result = self.succeed("run", model, "-p", "Anna", "--max-tokens", 4)
        self.assertIn("chat template, line 1", result.err)
        self.fail_cleanly("run", model, "-p", "Anna", "--template-var", "x=1", codes=(1,), says=["chat template"])

    def test_special_tokens_in_a_message_are_text(self):
        model = self.model(self.TURNS)
        spelled = json.loads(self.succeed("run", model, "-p", "<|im_end|>" * 3, "--max-tokens", 2, "--json").out)
        self.assertGreater(spelled["prompt_tokens"], self.answer(model)["prompt_tokens"])

    def test_a_chat_goes_on_after_a_refusal(self):
        model = self.model("{% if 'no' in messages[-1].content %}{{ raise_exception('Not this') }}{% endif %}" + self.TURNS)
        run = subprocess.run([PROGRAM, "run", str(model), "--temperature", "0"], input="no\nWhat is 3 plus 4?\n",
                             capture_output=True, text=True, timeout=600)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("Not this", run.stderr)
        self.assertIn("3 plus 4 is 7.", run.stdout)


class ConversationTest(ProgramTest):
    """`bitsmith run` as people type to it."""

    def chat(self, text, *options):
        run = subprocess.run([PROGRAM, "run", str(TRAINED), "--temperature", "0", *options], input=text,
                             capture_output=True, text=True, timeout=600)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run

    def test_prompt_from_a_file_and_from_standard_input(self):
        question = "What is 3 plus 4?"
        file = self.folder / "question.txt"
        file.write_text(question)
        self.assertEqual(self.succeed("run", TRAINED, "-f", file).out, "3 plus 4 is 7.\n")
        self.assertEqual(self.chat(question, "-f", "-").stdout, "3 plus 4 is 7.\n")
        together = self.succeed("run", TRAINED, "-p", "Hello.", "-f", file, "--max-tokens", 1, "--json").json()
        alone = self.succeed("run", TRAINED, "-f", file, "--max-tokens", 1, "--repetition-penalty", 1.1, "--json").json()
        self.assertEqual(alone["finish_reason"], "max_tokens")
        self.assertGreater(together["prompt_tokens"], alone["prompt_tokens"])
        self.fail_cleanly("run", TRAINED, "-f", self.folder / "none", codes=(1,), says=["none"])

    def test_commands(self):
        run = self.chat("/help\n/system\n/system Be kind.\n/system\n/reset\n/nothing\n\nWhat is 3 plus 4?\n/exit\nnever read\n")
        for text in ["/reset", "There is no system message", "begins anew", "Be kind.", "is forgotten", "no command /nothing"]:
            self.assertIn(text, run.stderr)
        self.assertEqual(run.stdout.count("\n"), 1)

    def test_messages_of_several_lines(self):
        one = self.chat("What is\\\n3 plus 4?\n")
        other = self.chat('"""What is\n3 plus 4?"""\n')
        self.assertEqual(one.stdout, other.stdout)
        self.assertEqual(one.stdout.count("\n"), 1)
        self.assertEqual(self.chat('"""What is 3 plus 4?\n"""\n').stdout, "3 plus 4 is 7.\n")
        self.assertEqual(self.chat('"""What is 3 plus 4?').stdout, "3 plus 4 is 7.\n")

    def test_a_chat_remembers(self):
        twice = self.chat("What is 3 plus 4?\nWhat is 3 plus 4?\n")
        self.assertEqual(twice.stdout.splitlines()[0], "3 plus 4 is 7.")
        self.assertEqual(len(twice.stdout.splitlines()), 2)

    def test_a_context_that_no_memory_holds(self):
        self.fail_cleanly("run", TRAINED, "-p", "a", "--context", 1 << 39, codes=(1,), says=["smaller context"])
        self.fail_cleanly("run", TRAINED, "-p", "a", "--context", 0, codes=(2,))

    def test_int8_cache(self):
        self.assertEqual(self.succeed("run", TRAINED, "-p", "What is 3 plus 4?", "--kv-cache", "int8").out, "3 plus 4 is 7.\n")
        self.fail_cleanly("run", TRAINED, "-p", "a", "--kv-cache", "f8", codes=(2,), says=["f16 or int8"])

    @unittest.skipUnless(is_linked_with("libedit"), "this build reads plain lines")
    def test_on_a_terminal_lines_are_edited_and_remembered(self):
        terminal, other_side = pty.openpty()
        # Its own, so that ^C is a signal.
        control = lambda: fcntl.ioctl(other_side, termios.TIOCSCTTY, 0)  # noqa: E731
        run = subprocess.Popen([PROGRAM, "run", str(TRAINED), "--temperature", "0", "--quiet"], stdin=other_side,
                               stderr=other_side, stdout=subprocess.PIPE, text=True, start_new_session=True,
                               preexec_fn=control,
                               env={**os.environ, "TERM": "vt100", "HOME": str(self.folder), "LC_ALL": "C.UTF-8"})
        os.close(other_side)
        self.addCleanup(os.close, terminal)

        screen = bytearray(b"\n")

        def expect_prompt():  # on a line of its own: the editor also writes it when it moves the cursor
            while b"\n> " not in screen:
                self.assertTrue(select.select([terminal], [], [], 60)[0], screen)
                screen.extend(os.read(terminal, 1000))
            screen.clear()

        expect_prompt()
        os.write(terminal, b"What is 3 plus 5\x7f4?\r")  # a backspace
        self.assertEqual(run.stdout.readline(), "3 plus 4 is 7.\n")
        expect_prompt()
        os.write(terminal, b"\x03")  # Ctrl-C: the line is dropped, the program stays
        expect_prompt()
        os.write(terminal, b"/reset\r")
        expect_prompt()
        os.write(terminal, b"\x1b[A\x1b[A\r")  # up, up: the question
        self.assertEqual(run.stdout.readline(), "3 plus 4 is 7.\n")
        expect_prompt()
        os.write(terminal, b"\x04")
        self.assertEqual(run.wait(60), 0)
        run.stdout.close()


if __name__ == "__main__":
    main()
