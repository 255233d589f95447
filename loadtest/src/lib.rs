//! Load for a running pipeline, and the proof that it kept its promises: [`reconcile()`] compares every order with
//! what the payment gateway really did.

pub mod reconcile;

pub use reconcile::{accepted_missing, reconcile};
