//! Private servers for `make run` and the tests: a PostgreSQL cluster, a RabbitMQ node and a pooler of our own, started from
//! the programs installed on the machine, on free ports of 127.0.0.1, beside whatever else runs there.
//!
//! What it promises: nothing outlives the process that started it, not even after its kill -9 (`guard`); what was
//! killed starts again on the same data and port; and the cluster always commits for real (fsync), for
//! durability is what Comanda is about. Nothing here reads the environment: settings are arguments.
//!
//! All calls block. From async code, make them in `tokio::task::spawn_blocking`.

mod find;
mod guard;
mod home;
mod operator;
mod pgbouncer;
mod port;
mod postgres;
mod process;
mod rabbitmq;
mod tls;
mod wait;

pub use guard::{Guard, Watched};
pub use home::Home;
pub use operator::{Machine, Operator};
pub use pgbouncer::{PgBouncer, PoolMode};
pub use postgres::{Postgres, PostgresSettings};
pub use rabbitmq::{RabbitMq, RabbitMqSettings};
pub use tls::Tls;
