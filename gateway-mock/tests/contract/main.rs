//! The gateway's contract, line by line, against a running gateway on a free port.

mod charges;
mod faults;
mod refunds;
mod restart;
mod running;
mod voids;
