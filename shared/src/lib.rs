//! What the api and the worker must agree on: the order and its legal moves, money, the payment and the
//! gateway's contract, the broker's message, every SQL statement that moves something, and the few pieces of
//! machinery (group commit, supervised tasks, the accept loop) that all processes run on.

pub mod batch;
pub mod broker;
pub mod channel;
pub mod channel_order;
pub mod chaos;
pub mod config;
pub mod details;
pub mod event;
pub mod health;
pub mod message;
pub mod metric_list;
pub mod money;
pub mod moves;
pub mod order;
pub mod origin;
pub mod payment;
pub mod price_list;
mod problems;
pub mod retry;
pub mod serve;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod trace;
