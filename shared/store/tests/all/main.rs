//! What the store promises, on a real PostgreSQL.

mod additions;
mod board;
mod described;
mod facts;
mod feed;
mod guards;
mod migrate;
mod moves;
mod orders;
mod prepare;
