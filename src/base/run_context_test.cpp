#include "base/run_context.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "base/log.h"
#include "base/terminal.h"

namespace bitsmith {
namespace {

struct Recorder : ProgressSink {
  std::string text;
  void begin(const std::string& task) override { text += task + ":"; }
  void update(double fraction, const std::string& detail) override {
    text += " " + std::to_string(fraction).substr(0, 3) + " " + detail;
  }
  void end() override { text += "."; }
};

TEST(RunContext, ATaskIsShownToItsEndAlsoWhereItFails) {
  Recorder recorder;
  const RunContext context{.progress = &recorder};
  const auto work = [&](bool fails) {
    ReportedTask task(context, "work");
    task.update(0.5, "half");
    if (fails) throw 1;
  };
  work(false);
  EXPECT_THROW(work(true), int);
  EXPECT_EQ(recorder.text, "work: 0.5 half.work: 0.5 half.");
  ReportedTask({}, "nobody listens").update(1, "");
}

TEST(RunContext, IsCancelledByItsFlagOnly) {
  CancelFlag one, other;
  const RunContext context{.cancel = &one};
  other.raise();
  EXPECT_FALSE(context.cancelled());
  EXPECT_FALSE(RunContext().cancelled());
  one.raise();
  EXPECT_TRUE(context.cancelled());
  one.clear();
  EXPECT_FALSE(context.cancelled());
}

TEST(RunContext, ASignalRaisesTheFlag) {
  static CancelFlag flag;
  install_interrupt_handler(flag);
  std::raise(SIGINT);
  EXPECT_TRUE(flag.raised());
  for (const int signal : {SIGTERM, SIGUSR1}) {
    flag.clear();
    std::raise(signal);
    EXPECT_TRUE(flag.raised());
  }
  EXPECT_EXIT(std::raise(SIGINT), testing::ExitedWithCode(130), "");
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGUSR1, SIG_DFL);
}

TEST(RunContext, ASignalWakesWhoWaitsForInput) {
  static CancelFlag flag;
  install_interrupt_handler(flag);
  int input[2];
  ASSERT_EQ(::pipe(input), 0);
  const auto type = [&] { EXPECT_EQ(::write(input[1], "x", 1), 1); };
  type();
  EXPECT_TRUE(wait_for_input(input[0]));
  std::raise(SIGINT);
  EXPECT_FALSE(wait_for_input(input[0]));  // came before
  flag.clear();
  EXPECT_TRUE(wait_for_input(input[0]));  // what is left of it does not wake
  char byte;
  EXPECT_EQ(::read(input[0], &byte, 1), 1);
  for (const int signal : {SIGINT, SIGTERM}) {
    std::thread other([signal] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      std::raise(signal);  // taken by that thread
    });
    EXPECT_FALSE(wait_for_input(input[0]));
    other.join();
    flag.clear();
  }
  ::close(input[1]);
  EXPECT_TRUE(wait_for_input(input[0]));  // the end
  ::close(input[0]);
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

TEST(Log, GoesToTheSinkOrNowhere) {
  std::string said;
  log_warning("lost");
  set_log_sink([&](Severity severity, const std::string& message) {
    said += (severity == Severity::kWarning ? "w " : "i ") + message + ";";
  });
  log_info("one");
  log_warning("two");
  set_log_sink({});
  log_info("lost");
  EXPECT_EQ(said, "i one;w two;");
}

}  // namespace
}  // namespace bitsmith
