#include "kernels/additive_lookup.h"

#include <set>
#include <vector>

#include "kernels/additive_layout.h"
#include "kernels/test_support.h"

namespace bitsmith {
namespace {

struct Problem {
  LookupLayout w = {};  // in planes
  AlignedBuffer<uint8_t> codes;
  AlignedBuffer<int16_t> codebooks;
  AlignedBuffer<float> x;

  Problem(int num_codebooks, int64_t group_size, int64_t groups, int64_t bundles) {
    Random random(static_cast<uint64_t>(group_size * 100 + groups));
    const int64_t pairs = (group_size + 1) / 2;
    w.num_codebooks = num_codebooks;
    w.in_group_size = group_size;
    w.groups = groups;
    w.bundles = bundles;
    w.set_groups = kLookupSet / num_codebooks;
    w.codebook_step = 1e-4f;
    codes = AlignedBuffer<uint8_t>(bundles * groups * num_codebooks * kLookupRows);
    for (int64_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(random.next());
    codebooks = AlignedBuffer<int16_t>(num_codebooks * pairs * kLookupEntries * 2);
    // Every second centroid as long as allowed, so that sums come near 32 bits.
    const double longest = kLookupNorm / std::sqrt(static_cast<double>(group_size));
    for (int64_t k = 0; k < codebooks.size(); ++k) {
      const int64_t i = k / (2 * kLookupEntries) % pairs * 2 + k % 2;
      const double value = k / 2 % 2 ? longest : longest * std::tanh(random.normal());
      codebooks[k] = i < group_size ? static_cast<int16_t>(value) : int16_t{0};
    }
    x = outlier_values(groups * group_size, random);
    std::fill_n(x.data(), group_size, 2.0f);  // parallel to a longest centroid
    w.codes = codes.data();
    w.codebooks = codebooks.data();
  }
  int64_t sets() const { return (w.groups + w.set_groups - 1) / w.set_groups; }
};

// Less kLookupZero.
int entry(LookupForm form, const uint8_t* tables, int64_t table, int64_t e) {
  const uint8_t* from = tables + table * kLookupTable;
  if (form == LookupForm::planes) return from[e] + 256 * from[kLookupEntries + e] - kLookupZero;
  return static_cast<int16_t>(from[2 * e] + 256 * from[2 * e + 1]);
}

void set_entry(LookupForm form, uint8_t* tables, int64_t table, int64_t e, int value) {
  uint8_t* to = tables + table * kLookupTable;
  const bool planes = form == LookupForm::planes;
  const int bits = planes ? value + kLookupZero : value;
  to[planes ? e : 2 * e] = static_cast<uint8_t>(bits);
  to[planes ? kLookupEntries + e : 2 * e + 1] = static_cast<uint8_t>(bits >> 8);
}

AlignedBuffer<uint8_t> new_tables() { return AlignedBuffer<uint8_t>(kLookupSet * kLookupTable); }

// The same centroids where another form has them.
AlignedBuffer<int16_t> codebooks_in(LookupForm form, const Problem& p) {
  AlignedBuffer<int16_t> to(p.codebooks.size());
  for (int64_t i = 0; i < to.size(); i += 2 * kLookupEntries) {
    for (int64_t e = 0; e < kLookupEntries; ++e) {
      std::copy_n(p.codebooks.data() + i + 2 * lookup_place(LookupForm::planes, e), 2,
                  to.data() + i + 2 * lookup_place(form, e));
    }
  }
  return to;
}

template <typename Check>
void for_all_sizes(const Check& check) {
  for (const int num_codebooks : {1, 2, 3, 8}) {
    for (const int64_t group_size : {1, 3, 8, 16, 64}) {
      for (const int64_t groups : {1, 2, 5, 33}) {
        for (const int64_t bundles : {1, 2, 5}) {
          SCOPED_TRACE(testing::Message() << num_codebooks << "x8g" << group_size << ", " << groups
                                          << " groups, " << bundles << " bundles");
          check(Problem(num_codebooks, group_size, groups, bundles));
        }
      }
    }
  }
}

void expect_dot_products(const Problem& p) {
  const LookupLayout& w = p.w;
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  AlignedBuffer<uint8_t> tables = new_tables(), found = new_tables();
  const int64_t pairs = (w.in_group_size + 1) / 2;
  for (int64_t set = 0; set < p.sets(); ++set) {
    const float step = scalar.lookup.build_tables(w, p.x.data(), set, tables.data());
    const int64_t first = set * w.set_groups;
    const int64_t count = std::min(w.set_groups, w.groups - first) * w.num_codebooks;
    for (int64_t t = 0; t < count; ++t) {
      const int64_t j = first + t / w.num_codebooks, m = t % w.num_codebooks;
      for (int64_t e = 0; e < kLookupEntries; ++e) {
        double dot = 0;
        for (int64_t i = 0; i < w.in_group_size; ++i) {
          const int64_t pair =
              (m * pairs + i / 2) * kLookupEntries + lookup_place(LookupForm::planes, e);
          dot += double{p.x[j * w.in_group_size + i]} * w.codebooks[2 * pair + i % 2];
        }
        // 1/2 from the entry, sqrt(G) / 4 at most from rounding the inputs.
        const int from_scalar = entry(LookupForm::planes, tables.data(), t, e);
        ASSERT_NEAR(from_scalar, dot * w.codebook_step / step,
                    0.51 + 0.25 * std::sqrt(static_cast<double>(w.in_group_size)));
        ASSERT_LE(std::abs(from_scalar), kLookupMost);
      }
    }
    for (const KernelTable& level : vector_levels()) {
      const LookupForm form = level.lookup.form;
      const AlignedBuffer<int16_t> codebooks = codebooks_in(form, p);
      LookupLayout level_w = w;
      level_w.codebooks = codebooks.data();
      const float level_step = level.lookup.build_tables(level_w, p.x.data(), set, found.data());
      EXPECT_NEAR(level_step, step, 1e-6 * step);
      for (int64_t t = 0; t < count; ++t) {
        for (int64_t e = 0; e < kLookupEntries; ++e) {
          // The norms differ in their last bit, which may turn the rounding of inputs.
          const int from_level = entry(form, found.data(), t, e);
          ASSERT_NEAR(from_level, entry(LookupForm::planes, tables.data(), t, e),
                      1 + w.in_group_size / 2)
              << isa_name(level.isa);
          ASSERT_LE(std::abs(from_level), kLookupMost) << isa_name(level.isa);
        }
      }
    }
  }
}

TEST(AdditiveLookup, TablesAreTheDotProducts) { for_all_sizes(expect_dot_products); }

void expect_same_sums(const Problem& p) {
  const LookupLayout& w = p.w;
  const KernelTable scalar = make_kernel_table(Isa::scalar);
  AlignedBuffer<uint8_t> tables = new_tables(), level_tables = new_tables();
  const int64_t rows = w.bundles * kLookupRows;
  for (const KernelTable& level : vector_levels()) {
    std::vector<float> expected(rows, 0.5f), found(rows, 0.5f);
    for (int64_t set = 0; set < p.sets(); ++set) {
      const float step = scalar.lookup.build_tables(w, p.x.data(), set, tables.data());
      scalar.lookup.add_lookups(w, set, tables.data(), step, expected.data());
      for (int64_t i = 0; i < kLookupSet * kLookupEntries; ++i) {
        const int64_t t = i / kLookupEntries, e = i % kLookupEntries;
        set_entry(level.lookup.form, level_tables.data(), t, e,
                  entry(LookupForm::planes, tables.data(), t, e));
      }
      level.lookup.add_lookups(w, set, level_tables.data(), step, found.data());
    }
    expect_near_by_norm(found.data(), expected.data(), rows, 1e-6);
  }
}

TEST(AdditiveLookup, EveryLevelSumsTheSameEntries) { for_all_sizes(expect_same_sums); }

TEST(AdditiveLookup, SumsDoNotOverflow) {
  // All entries at their largest and smallest: sums fill 16-bit lanes.
  Problem p(1, 8, kLookupSet, 1);
  AlignedBuffer<uint8_t> tables = new_tables();
  for (const KernelTable& level : all_levels()) {
    // Bytes may be any.
    const bool planes = level.lookup.form == LookupForm::planes;
    const int least = planes ? -kLookupZero : -kLookupMost;
    const int most = planes ? kLookupZero - 1 : kLookupMost;
    for (const int value : {least, most}) {
      for (int64_t i = 0; i < kLookupSet * kLookupEntries; ++i) {
        set_entry(level.lookup.form, tables.data(), i / kLookupEntries, i % kLookupEntries, value);
      }
      std::vector<float> sums(kLookupRows);
      level.lookup.add_lookups(p.w, 0, tables.data(), 1.0f, sums.data());
      EXPECT_EQ(sums, std::vector<float>(kLookupRows, static_cast<float>(kLookupSet * value)))
          << isa_name(level.isa);
    }
  }
}

TEST(AdditiveLayout, OrdersArePermutations) {
  std::set<int64_t> bytes;
  for (int64_t r = 0; r < kLookupRows; ++r) bytes.insert(lookup_byte(r));
  EXPECT_EQ(bytes.size(), 64u);
  EXPECT_EQ(*bytes.rbegin(), 63);
  for (const LookupForm form : {LookupForm::planes, LookupForm::words}) {
    std::set<int64_t> places;
    for (int64_t e = 0; e < kLookupEntries; ++e) places.insert(lookup_place(form, e));
    EXPECT_EQ(places.size(), 256u);
    EXPECT_EQ(*places.rbegin(), 255);
  }
}

}  // namespace
}  // namespace bitsmith
