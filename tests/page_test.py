#!/usr/bin/env python3
"""The server's page in a headless Chromium. BITSMITH_SCREENSHOTS=FOLDER keeps pictures of both widths."""
import os
import unittest
from pathlib import Path

from browser import CHROMIUM, Page
from server import Server
from support import ProgramTest, main

ENTER, ESCAPE = ("Enter", 13), ("Escape", 27)
LAST = "[...document.querySelectorAll('.assistant div')].at(-1)?.textContent"
IDLE = "!document.getElementById('send').hidden && document.querySelectorAll('.assistant').length > 0"


@unittest.skipUnless(CHROMIUM, "no chromium here")
class PageTest(ProgramTest):
    def setUp(self):
        super().setUp()
        self.server = Server("--context", 100000)
        self.addCleanup(self.server.__exit__)
        self.page = Page()
        self.addCleanup(self.page.close)
        self.page.open(f"http://127.0.0.1:{self.server.port}/")
        self.set(temperature="0")

    def set(self, **settings):
        """Settings by the dialog, as people do it."""
        self.page.run("document.getElementById('open-settings').click()")
        for name, value in settings.items():
            self.page.run(f"document.getElementById('settings-form').elements['{name}'].value = '{value}'")
        self.page.run("document.querySelector('#settings-form button[value=save]').click()")
        self.page.wait("!document.getElementById('settings').open")
        self.page.run("document.getElementById('text').focus()")

    def ask(self, text):
        self.page.type(text)
        self.page.press(*ENTER)

    def test_question_answer_reload_regenerate(self):
        self.page.wait("document.getElementById('model').textContent === 'tiny_llama_trained'")
        self.ask("What is 3 plus 4?")
        self.page.wait(IDLE)
        self.assertEqual(self.page.run(LAST), "3 plus 4 is 7.")
        self.assertRegex(self.page.run("document.querySelector('.assistant .note').textContent"), r"^\d+ tokens, [\d.]+ tokens/s")
        self.assertIn("complete", self.page.run("document.getElementById('status').textContent"))
        # Screen readers get the answer in one piece.
        self.assertEqual(self.page.run("document.querySelector('[aria-live=polite]#spoken').textContent"), "3 plus 4 is 7.")
        self.page.reload()
        self.assertEqual(self.page.run(LAST), "3 plus 4 is 7.")
        # What is answered anew is not there any more, also where the answer never comes.
        self.page.run("window.fetch = () => new Promise(() => {})")
        self.page.run("document.getElementById('again').click()")
        self.page.reload()
        self.assertEqual(self.page.run("document.querySelectorAll('.message').length"), 1)
        self.page.run("document.getElementById('again').click()")
        self.page.wait(IDLE + " && document.querySelector('.assistant .note').textContent !== ''")
        self.assertEqual(self.page.run(LAST), "3 plus 4 is 7.")
        self.assertEqual(self.page.run("document.querySelectorAll('.message').length"), 2)
        self.page.run("document.getElementById('clear').click()")
        self.assertEqual(self.page.run("document.querySelectorAll('.message').length"), 0)
        self.assertEqual(self.page.problems, [])

    def test_an_answer_streams_and_stops(self):
        self.set(temperature="2", max_tokens="90000")
        endless = "window.asked = request; request = () => ({...asked(), ignore_eos: true})"
        self.page.run(endless)
        for stop in (lambda: self.page.run("document.getElementById('stop').click()"), lambda: self.page.press(*ESCAPE)):
            self.ask("Go on and on")
            self.page.wait(f"({LAST} || '').length > 20 && !document.getElementById('stop').hidden")
            stop()
            self.page.wait(IDLE)
            self.assertEqual(self.page.run("document.getElementById('status').textContent"), "Stopped.")
            self.server.wait_until_idle()
        # A tab that goes while it is answered.
        self.ask("Once more")
        self.page.wait("!document.getElementById('stop').hidden")
        self.page.reload()
        self.server.wait_until_idle()

    def test_errors_are_shown(self):
        self.page.run("document.getElementById('settings-form').elements.max_tokens.removeAttribute('max')")
        self.set(max_tokens="1000000000")
        self.ask("a")
        self.page.wait("document.getElementById('status').classList.contains('error')")
        self.assertIn("max_tokens", self.page.run("document.getElementById('status').textContent"))

    def test_names_and_widths(self):
        # Whatever can be used has a name for screen readers.
        self.assertEqual(self.page.run("""[...document.querySelectorAll('button, input, textarea')].filter(
            e => !(e.textContent.trim() && e.tagName === 'BUTTON') && !(e.labels && e.labels.length)).length"""), 0)
        self.assertEqual(self.page.run("document.getElementById('status').getAttribute('aria-live')"), "polite")
        self.ask("What is 3 plus 4?")
        self.page.wait(IDLE)
        folder = os.environ.get("BITSMITH_SCREENSHOTS")
        for width, height in ((360, 640), (1280, 800)):
            self.page.resize(width, height)
            self.assertLessEqual(self.page.run("document.documentElement.scrollWidth"), width)
            self.assertTrue(self.page.run("""[...document.querySelectorAll('header button, footer button:not([hidden]), #text')].every(
                e => { const r = e.getBoundingClientRect(); return r.left >= 0 && r.right <= innerWidth && r.bottom <= innerHeight; })"""))
            if folder:
                self.page.screenshot(Path(folder) / f"page-{width}.png")


if __name__ == "__main__":
    main()
