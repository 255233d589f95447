//! What the store promises, on a real PostgreSQL.

mod additions;
mod board;
mod channels;
mod facts;
mod feed;
mod kitchen;
mod migrate;
mod orders;
mod prepare;
mod store;
