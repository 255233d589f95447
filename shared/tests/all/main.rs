//! What the store and the broker promise, on a real PostgreSQL and a real RabbitMQ.

mod broker;
mod channels;
mod facts;
mod kitchen;
mod store;
