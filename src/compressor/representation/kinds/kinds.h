// The compressor's half of each kind (format/kinds/kinds.h): a term from its parts.
#pragma once
#include <memory>

#include "compressor/representation/term.h"

namespace bitsmith {

std::unique_ptr<CodedTerm> make_term(const UniformSpec& spec, const QuantizedTensor& tensor);
std::unique_ptr<CodedTerm> make_term(const AdditiveSpec& spec, const QuantizedTensor& tensor);
std::unique_ptr<CodedTerm> make_term(const GvqSpec& spec, const QuantizedTensor& tensor);
std::unique_ptr<CodedTerm> make_term(const E8pSpec& spec, const QuantizedTensor& tensor);
std::unique_ptr<Term> make_term(const SparseSpec& spec, const QuantizedTensor& tensor);
std::unique_ptr<Term> make_term(const LowRankSpec& spec, const QuantizedTensor& tensor);
std::unique_ptr<Term> make_term(const RowsSpec& spec, const QuantizedTensor& tensor);

}  // namespace bitsmith
