//! What the api promises its clients, over HTTP against a real PostgreSQL.

mod analytics;
mod catalogue;
mod http;
mod locations;
mod operations;
mod orders;
mod people;
mod security;
mod tracking;

use anyhow::Result;
use testbed::{Options, Pipeline, TestDatabase, Via};

/// An api without a worker: orders stay PENDING.
async fn api() -> Result<(TestDatabase, Pipeline)> {
    let database = TestDatabase::new().await?;
    let options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    let pipeline = Pipeline::start(&database, options).await?;
    Ok((database, pipeline))
}
