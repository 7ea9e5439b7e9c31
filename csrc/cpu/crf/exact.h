// CPU launcher of mean-field inference over all pairs of points.
#pragma once

#include "csrc/core/crf/exact.h"

namespace deeplab {

// Writes the marginals [L, P] and returns a bound on the error of any of them
// that comes from skipped pairs (rounding aside); 0 where nothing is skipped.
template <typename scalar_t>
double meanfield_exact_cpu(const ExactProblem<scalar_t>& problem,
                           scalar_t* out);

}  // namespace deeplab
