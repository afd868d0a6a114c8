//! Bi-level optimisation on Burn.
