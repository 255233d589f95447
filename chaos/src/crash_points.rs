//! crash-points
