#!/usr/bin/env python3
"""The commands that the program lists, and how it answers what it does not know."""
from support import COMMANDS, COMPRESSOR_COMMANDS, HAS_COMPRESSOR, TRAINED, ProgramTest, is_linked_with, main


class Help(ProgramTest):
    def test_lists_the_commands_that_exist(self):
        out = self.succeed("--help").out
        for command in COMMANDS:
            self.assertIn(f"  {command} ", out)
        for command in COMPRESSOR_COMMANDS:
            (self.assertIn if HAS_COMPRESSOR else self.assertNotIn)(f"  {command} ", out)
        (self.assertIn if is_linked_with("libcpp-httplib") else self.assertNotIn)("  serve ", out)
        self.assertNotIn("  export ", out)  # not there yet

    def test_every_command_explains_itself(self):
        for command in COMMANDS + (COMPRESSOR_COMMANDS if HAS_COMPRESSOR else []):
            self.assertIn("--threads", self.succeed(command, "--help").out)

    def test_version(self):
        self.assertRegex(self.succeed("--version").out, r"^bitsmith \d+\.\d+\.\d+ \((scalar|avx2|avxvnni|avx512|avx512vbmi|neon) kernels\)\s*$")

    def test_wrong_usage_is_code_2(self):
        for arguments in [[], ["frobnicate"], ["inspect"], ["inspect", TRAINED, "--frobnicate"],
                          ["logits", TRAINED, "-o", self.folder / "x"],
                          ["inspect", TRAINED, "--threads", "0"], ["inspect", TRAINED, "--threads", "two"]]:
            self.fail_cleanly(*arguments, codes=(2,))

    def test_near_names(self):
        for arguments, says in [
                (["inspekt", TRAINED], "unknown command 'inspekt'; did you mean 'inspect'?"),
                (["tokenise", TRAINED], "did you mean 'tokenize'?"),
                (["inspect", TRAINED, "--tensros"], "unknown option '--tensros'; did you mean '--tensors'?"),
                (["tokenize", TRAINED, "--txt", "hi"], "did you mean '--text'?"),
                (["run", TRAINED, "--max-tokns=3"], "unknown option '--max-tokns'; did you mean '--max-tokens'?"),
                (["--versoin"], "did you mean '--version'?")]:
            self.fail_cleanly(*arguments, codes=(2,), says=[says])
        result = self.fail_cleanly("inspect", TRAINED, "--zyxwvu", codes=(2,), says=["unknown option '--zyxwvu'\n"])
        self.assertNotIn("did you mean", result.err)


if __name__ == "__main__":
    main()
