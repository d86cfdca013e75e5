#include <gtest/gtest.h>

#include "base/error.h"
#include "compressor/quantize/test_linears.h"

namespace bitsmith {
namespace {

TEST(Gptvq, BeatsGptqAndNearestVectorsAtTheSameBits) {
  const TestLinear linear = random_linear(96, 256);
  const double nearest = quantize(linear, "gvq2d2b-n2048", "rtn").relative_error;
  QuantizeOptions sweep_only;
  sweep_only.max_rounds = 0;
  const double scalar = quantize(linear, "int2g128", "gptq", sweep_only).relative_error;
  const double vectors = quantize(linear, "gvq2d2b-n2048", "gptvq").relative_error;
  EXPECT_LT(vectors, nearest);
  EXPECT_LT(vectors, scalar);
}

TEST(Gptvq, EveryStartOfTheCodebooksWorks) {
  const TestLinear linear = random_linear(32, 128);
  for (const char* spec : {"gvq1d2b-n512", "gvq2d2b-n1024"}) {
    for (const char* start : {"best", "kmeans++", "mahalanobis", "quantiles"}) {
      QuantizeOptions options;
      parse_option(start, options.codebook_init);
      EXPECT_LT(quantize(linear, spec, "gptvq", options).relative_error,
                quantize(linear, spec, "rtn").relative_error)
          << spec << " " << start;
    }
  }
  CodebookInit init;
  EXPECT_THROW(parse_option("random", init), UsageError);
}

TEST(Gptvq, TheUpdateOfTheWholeMatrixHelps) {
  const TestLinear linear = random_linear(64, 256);
  QuantizeOptions sweep_only;
  sweep_only.codebook_update = false;
  EXPECT_LT(quantize(linear, "gvq2d2b-n2048", "gptvq").relative_error,
            quantize(linear, "gvq2d2b-n2048", "gptvq", sweep_only).relative_error);
}

}  // namespace
}  // namespace bitsmith
