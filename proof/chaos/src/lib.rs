//! Chaos: the real programs on real servers, orders without end, and everything that can break breaks, by a schedule
//! that is a pure function of a seed. Then all is mended, and what was promised is checked: against the clients' own
//! log of what they were told, the database, the broker, and the gateway's books.
//!
//! [`run`] does it once; [`crash_points`] lets a process die at every named place; [`sabotage`] gives the programs one
//! bug after another and expects each to be found, so that a green run means something.

pub mod armed;
mod basket;
mod cart;
pub mod check;
mod client;
pub mod clock;
pub mod crash_points;
mod document;
pub mod fault;
pub mod fleet;
mod follow;
pub mod ground;
pub mod happened;
pub mod hear;
pub mod inject;
mod judge;
mod known;
pub mod life;
pub mod order;
mod people;
pub mod plan;
pub mod program;
pub mod progress;
pub mod proxy;
pub mod quiet;
pub mod recovery;
pub mod report;
pub mod run;
pub mod sabotage;
pub mod sales;
pub mod scenario;
pub mod schedule;
pub mod sender;
pub mod settings;
pub mod shop;
pub mod steps;
pub mod tally;
pub mod told;
