//! The judge finds every fault that it is there for, and nothing in a run that went well.

mod events;
mod invariants;
mod rollups;
mod world;
