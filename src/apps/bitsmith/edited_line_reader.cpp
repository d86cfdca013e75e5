// Line editing by libedit (the editline library of NetBSD).
#include <errno.h>
#include <histedit.h>
#include <langinfo.h>

#include <clocale>
#include <cstdio>
#include <cstring>
#include <cwchar>

#include "apps/bitsmith/line_reader.h"
#include "apps/bitsmith/standard_input.h"

namespace bitsmith {
namespace {

class EditedLineReader : public LineReader {
 public:
  // libedit reads and writes in the locale's characters.
  EditedLineReader() {
    std::setlocale(LC_CTYPE, "");
    if (std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) std::setlocale(LC_CTYPE, "C.UTF-8");
    // Answers go to standard output, what is typed is shown beside them.
    editor_ = el_init("bitsmith", stdin, stderr, stderr);
    history_ = history_init();
    if (!works()) return;
    HistEvent event;
    history(history_, &event, H_SETSIZE, 1000);
    history(history_, &event, H_SETUNIQUE, 1);
    el_set(editor_, EL_CLIENTDATA, this);
    el_set(editor_, EL_PROMPT, &EditedLineReader::prompt_of);
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_HIST, history, history_);
    el_set(editor_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_wset(editor_, EL_GETCFN, &EditedLineReader::read_character);
    el_source(editor_, nullptr);  // the user's own ~/.editrc
  }
  ~EditedLineReader() override {
    if (editor_) el_end(editor_);
    if (history_) history_end(history_);
  }
  EditedLineReader(const EditedLineReader&) = delete;
  EditedLineReader& operator=(const EditedLineReader&) = delete;
  bool works() const { return editor_ && history_; }

  Event next(const std::string& prompt, std::string& line) override {
    prompt_ = prompt;
    interrupted_ = false;
    int count = 0;
    // Before the prompt is shown, so that a key typed at once is the editor's, Ctrl-D above all.
    el_set(editor_, EL_PREP_TERM, 1);
    const char* text = el_gets(editor_, &count);
    if (interrupted_) {
      el_reset(editor_);
      return Event::kInterrupt;
    }
    if (!text || count <= 0) return Event::kEnd;
    line.assign(text, static_cast<size_t>(count));
    while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
    HistEvent event;
    if (!line.empty()) history(history_, &event, H_ENTER, line.c_str());
    return Event::kLine;
  }

 private:
  static EditedLineReader& self(EditLine* editor) {
    void* reader = nullptr;
    el_get(editor, EL_CLIENTDATA, &reader);
    return *static_cast<EditedLineReader*>(reader);
  }
  static char* prompt_of(EditLine* editor) { return self(editor).prompt_.data(); }

  // One character of standard input: 1, or 0 for its end and where Ctrl-C came.
  static int read_character(EditLine* editor, wchar_t* character) {
    std::mbstate_t state = {};
    for (;;) {
      char byte;
      const ssize_t n = read_standard_input(&byte, 1);
      if (n < 0 && errno == EINTR) self(editor).interrupted_ = true;
      if (n <= 0) return 0;
      const size_t length = std::mbrtowc(character, &byte, 1, &state);
      if (length == static_cast<size_t>(-2)) continue;  // more bytes belong to it
      if (length == static_cast<size_t>(-1)) *character = L'?';
      return 1;
    }
  }

  EditLine* editor_ = nullptr;
  History* history_ = nullptr;
  std::string prompt_;
  bool interrupted_ = false;
};

}  // namespace

std::unique_ptr<LineReader> make_edited_line_reader() {
  auto reader = std::make_unique<EditedLineReader>();
  if (!reader->works()) return nullptr;
  return reader;
}

}  // namespace bitsmith
