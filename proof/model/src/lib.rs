//! The protocol as a model: what accept, publish, claim, charge, settle, sweep and cancel do to the rows, the queue
//! and the gateway's ledger, one atomic step at a time, with everything that can go wrong between any two steps. The
//! checker walks through every order of those steps and holds each state against the promises.
//!
//! It mirrors the code verb by verb: [`accept`] is `shared/store/src/accept/` and the api around it, [`claim`] is
//! `store/claim/`, `store/sweep.rs` and their loops, [`charge`] is the worker's request and the gateway that gets
//! it, [`settle`] is `store/settle/` with the policy of `worker/src/policy.rs`, [`requests`] is what people and the kitchen's
//! deadline ask, [`late`] is `store/call_off/`, and [`finish`] what every end of an order does.
//! [`promises`] says what must hold; [`weakenings`] breaks the protocol in one place at a time and names the promise
//! that then falls. [`rows`] is a second, smaller model, one layer down: the statements of concurrent transactions, lock by
//! lock. [`feed`] is a third: how what has happened is read without a gap. [`locks`] is a fourth: in which sequence those lock who
//! have several orders in one transaction. [`in_hand`] is a fifth: orders for which no gateway is asked. [`for_later`] is a sixth: orders whose
//! charge is held until their time comes. [`stock`] is a seventh: what orders take of what is counted, and give back. What is left out, and
//! why, is in the README beside this.

pub mod accept;
pub mod action;
pub mod bits;
pub mod charge;
pub mod checked;
pub mod claim;
pub mod design;
pub mod ending;
pub mod feed;
pub mod finish;
pub mod for_later;
pub mod in_hand;
pub mod late;
pub mod locks;
pub mod moves;
pub mod promises;
pub mod protocol;
pub mod requests;
pub mod rows;
pub mod search;
pub mod settle;
pub mod state;
pub mod stock;
pub mod verb;
pub mod weakenings;
