//! What the store promises, on a real PostgreSQL.

mod additions;
mod board;
mod clock;
mod described;
mod facts;
mod failover;
mod feed;
mod guards;
mod migrate;
mod moves;
mod orders;
mod prepare;
mod reads;
