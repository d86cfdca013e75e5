// The server from its start to its end.
#pragma once
#include <filesystem>
#include <functional>

#include "base/run_context.h"
#include "server/serve_options.h"

namespace bitsmith {

// Serves the model until run.cancel is raised; then running answers have options.grace seconds to
// end, the others are failed, and everybody is told. on_listening gets the port. Throws Error for a
// model that cannot be read or an address that cannot be had.
void serve(const std::filesystem::path& model, const ServeOptions& options, const RunContext& run,
           const std::function<void(int port)>& on_listening);

}  // namespace bitsmith
