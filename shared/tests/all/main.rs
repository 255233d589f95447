//! What the store and the broker promise, on a real PostgreSQL and a real RabbitMQ.

mod additions;
mod board;
mod broker;
mod channels;
mod facts;
mod feed;
mod kitchen;
mod migrate;
mod orders;
mod prepare;
mod rules;
mod store;
