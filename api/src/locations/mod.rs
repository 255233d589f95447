//! Locations: where food is made, and who may say what holds there.

pub(crate) mod manage;
pub(crate) mod places;
