// bitsmith report: results side by side on one page.
#include <memory>

#include "apps/bitsmith/commands.h"
#include "apps/command.h"
#include "base/error.h"
#include "base/log.h"
#include "pipeline/report/report.h"

namespace bitsmith {
namespace {

struct ReportCommand {
  CommonOptions common;
  ReportJob job;

  void run() const {
    const ReportOutcome outcome = write_report(job);
    for (const std::string& warning : outcome.warnings) log_warning(excerpt(warning, 400));
    const std::string out = job.out.string();
    print_result(common, {{"out", out}, {"results", outcome.results}, {"bytes", outcome.bytes}},
                 concat(out, ": ", outcome.results.size(),
                        outcome.results.size() == 1 ? " result" : " results", " on ",
                        format_bytes(static_cast<double>(outcome.bytes)), " of HTML"));
  }
};

}  // namespace

void add_report(CLI::App& app) {
  const auto command = std::make_shared<ReportCommand>();
  CLI::App& sub = *app.add_subcommand(
      "report",
      "Results side by side on one HTML page: KL against megabytes, errors, learning curves, "
      "bytes,\n"
      "tables, commands, warnings. It needs no network and no scripts.\n"
      "  bitsmith eval out/a --teacher MODEL --text wiki.txt --json > a.json\n"
      "  bitsmith report out/a out/b --eval a.json --eval b.json -o report.html");
  sub.add_option("OUT", command->job.results, "Directories made by quantize, tune or compress")
      ->required();
  sub.add_option("--eval", command->job.judgments,
                 "Output of bitsmith eval --json on one of them, or on their original; repeat for "
                 "several")
      ->allow_extra_args(false);
  sub.add_option("-o,--out", command->job.out, "The page, as report.html")->required();
  sub.add_flag("--force", command->job.force, "Replace an existing file");
  add_common_options(sub, command->common);
  sub.callback([command] { command->run(); });
}

}  // namespace bitsmith
