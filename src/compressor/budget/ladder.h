// What follows from the measured candidates of a ladder for those that were not measured. Plain
// numbers, nothing of models.
#pragma once
#include <cstddef>
#include <optional>
#include <vector>

namespace bitsmith {

// Of `count` like units, in the order of their blocks: those whose ladders are measured whole. The
// first and the last, which may be unlike the others; the second and the last but one; between
// these at even steps of at most kWholeLadderStep.
std::vector<size_t> whole_ladders(size_t count);
inline constexpr size_t kWholeLadderStep = 10;

// The relative errors [unit][candidate] of like units, those of whole_ladders() and some of every
// other unit given. The ratio of two candidates' errors is one of their bits and methods: it
// changes little from block to block, whatever the errors are. So a missing error is that of the
// unit's nearest given candidate times the ratio of the two in the whole ladders before and after:
// their geometric mean, by distance.
std::vector<std::vector<double>> completed_ladders(
    const std::vector<std::vector<std::optional<double>>>& errors);

// KL of each candidate from the relative errors of all and the KL of some, of one at least. KL is
// quadratic in an error of the outputs and so linear in the relative error as long as that is small
// (Malinovskii et al. 2024, HIGGS, theorem 1): proportional to it beyond the measured ones; between
// two, a power of it through both. Of no candidate less than kLeastKl, which is what rounding in
// the passes may be.
std::vector<double> interpolated_kl(const std::vector<double>& relative_errors,
                                    const std::vector<std::optional<double>>& measured);
inline constexpr double kLeastKl = 1e-8;

}  // namespace bitsmith
