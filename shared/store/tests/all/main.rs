//! What the store promises, on a real PostgreSQL.

mod additions;
mod at_sight;
mod board;
mod bounded;
mod clock;
mod connecting;
mod connections;
mod described;
mod facts;
mod failover;
mod feed;
mod forgetting;
mod guards;
mod in_hand;
mod late;
mod lock_order;
mod migrate;
mod moves;
mod orders;
mod pooler;
mod prepare;
mod reads;
mod refunds;
mod replays;
mod tls;
mod tries;
