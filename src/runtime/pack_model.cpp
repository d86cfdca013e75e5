#include "runtime/pack_model.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "format/companion_files.h"
#include "format/output_exists.h"
#include "format/output_folder.h"
#include "kernels/cpu_features.h"
#include "runtime/model_source.h"

namespace bitsmith {
namespace {

namespace fs = std::filesystem;

void check_output_file(const fs::path& out, bool force) {
  make_parent(out);
  if (!fs::exists(fs::symlink_status(out))) return;
  if (!force) throw OutputExists(out.string() + " exists; give another name");
  if (fs::is_symlink(out) || !PackedFile::recognizes(out)) {
    throw UsageError(concat(out.string(), " is not a packed model and is never replaced; give ",
                            "another name"));
  }
}

void check_room(const fs::path& out, uint64_t bytes) {
  const uint64_t free = free_disk_bytes(out);
  if (free < bytes) {
    throw Error(concat(out.string(), " would have ", format_bytes(static_cast<double>(bytes)),
                       ", but only ", format_bytes(static_cast<double>(free)),
                       " are free on that disk"));
  }
}

// The arrays as sources that show how much is written.
std::vector<TensorSource> reported(const std::vector<TensorView>& arrays, uint64_t all_bytes,
                                   ReportedTask& task, uint64_t& written,
                                   const RunContext& context) {
  std::vector<TensorSource> sources;
  for (const TensorView& array : arrays) {
    sources.push_back(
        {array.name, array.dtype, array.shape, [&, all_bytes](const ByteSink& sink) {
           constexpr size_t kPiece = size_t{16} << 20;
           for (size_t at = 0; at < array.bytes.size(); at += kPiece) {
             if (context.cancelled()) throw Interrupted("stopped; no file is left");
             const auto piece = array.bytes.subspan(at, std::min(kPiece, array.bytes.size() - at));
             sink(piece);
             written += piece.size();
             const auto done = static_cast<double>(written), all = static_cast<double>(all_bytes);
             task.update(done / all, concat(format_bytes(done), " of ", format_bytes(all)));
           }
         }});
  }
  return sources;
}

}  // namespace

PackResult pack_model(const fs::path& model, const fs::path& out, bool force,
                      const RunContext& context) {
  const fs::path path = output_path(out);
  check_output_file(path, force);
  const auto files = ModelFiles::open(model);
  const Checkpoint& checkpoint = files->checkpoint();
  auto texts = companion_files(checkpoint);
  texts["config.json"] = checkpoint.config_json().dump(2) + "\n";

  NewArrays arrays;
  load_weights(*files, DensePrecision::kFast, arrays, context);
  uint64_t bytes = 0;
  for (const TensorView& array : arrays.made()) bytes += array.bytes.size();
  check_room(path, bytes);

  const OrderedJson about = {{"isa", isa_name(selected_isa())},
                             {"packed_from",
                              {{"sha256", checkpoint.content_hash()},
                               {"file_bytes", checkpoint.file_bytes()},
                               {"decoder_bits", files->decoder_bits()},
                               {"file_bits", files->file_bits()}}}};
  {
    ReportedTask task(context, "writing");
    uint64_t written = 0;
    write_packed_file(path, about, reported(arrays.made(), bytes, task, written, context), texts);
  }
  const auto packed = ModelSource::open(path);
  packed->weights(DensePrecision::kFast);  // what was written is what readers expect
  return {isa_name(selected_isa()), checkpoint.file_bytes(), packed->file_bytes()};
}

}  // namespace bitsmith
