// Messages of libraries to people, and numbers as people read them.
#pragma once
#include <functional>
#include <string>

namespace bitsmith {

enum class Severity { kInfo, kWarning };

// Receives one message, without an end of line. From any thread.
using LogSink = std::function<void(Severity, const std::string& message)>;
// Where messages of this process go; none, as at the start: nowhere. Not while other threads log.
void set_log_sink(LogSink sink);

void log_info(const std::string& message);
void log_warning(const std::string& message);

// "1:23:45", "2:31" from seconds; "1.23 GiB", "509 MiB" from bytes of memory; "71.3 MB",
// "0.0516 MB" from bytes of weights (decimal, always MB: for columns of tables).
std::string format_duration(double seconds);
std::string format_bytes(double bytes);
std::string format_megabytes(double bytes);

}  // namespace bitsmith
