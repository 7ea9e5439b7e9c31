// CPU launcher of mean-field inference over built lattices.
#pragma once

#include "csrc/core/meanfield.h"

namespace deeplab {

// Writes the marginals [L, P].
template <typename scalar_t>
void meanfield_cpu(const MeanfieldProblem<scalar_t>& problem, scalar_t* out);

}  // namespace deeplab
