//! A broker that is there and will not have us, and one that speaks TLS.

use anyhow::{Context, Result};
use broker::amqp::Limits;
use servers::{RabbitMq, RabbitMqSettings};
use testbed::{Authority, Options, Pipeline, TestDatabase, TestQueue, Via};
use tokio::task::spawn_blocking;

use crate::logs::Logs;
use crate::outages::{until_broker, until_confirmed, until_the_broker_carries};
use crate::program::{Program, client};
use crate::settled;

#[tokio::test]
async fn with_queues_of_other_arguments_the_sweep_carries_and_the_remedy_is_told_once() -> Result<()> {
    let logs = Logs::listen();
    let (database, queue) = (TestDatabase::new().await?, TestQueue::new()?);
    // As another version might have made them.
    let others = queue.with_limits(Limits { waiting: 7, ..Limits::default() });
    others.broker().depth().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::RabbitMq(queue.clone()))).await?;
    let client = &pipeline.client;
    assert_eq!(client.get("/ready").await?["status"], "degraded");
    client.orders(50, 8).await?;
    until_confirmed(&database, 50).await?;
    for module in ["api::orders::publish", "worker::consume"] {
        let told = logs.of(module);
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].contains("delete_queue") && told[0].contains(&queue.config().amqp_queue), "{told:?}");
    }

    others.delete().await?;
    until_broker(client, "up").await?;
    until_the_broker_carries(&database, client).await?;
    assert_eq!(settled(database.url(), client, Some(&pipeline.broker)).await?, 150);
    pipeline.stop().await?;
    queue.delete().await
}

#[tokio::test]
async fn an_api_trusts_the_authorities_of_its_system() -> Result<()> {
    let (database, authority, stranger) = (TestDatabase::new().await?, Authority::new()?, Authority::new()?);
    let settings =
        RabbitMqSettings { tls: Some(authority.certify(&["localhost"])?), ..RabbitMqSettings::temporary() };
    let rabbitmq = spawn_blocking(move || RabbitMq::start(&settings)).await??;
    let amqp_url = rabbitmq.tls_url("localhost").context("it takes no TLS")?;
    for (trusted, state) in [(&authority, "up"), (&stranger, "down")] {
        let mut api = Program::start(
            "api",
            &[
                ("API_ADDR", "127.0.0.1:0"),
                ("DATABASE_URL", database.url()),
                ("AMQP_URL", &amqp_url),
                // Where OpenSSL, and all that follow it, look for the system's.
                ("SSL_CERT_FILE", &trusted.file().display().to_string()),
            ],
        )?;
        let url = api.says("accepting orders at ").await?;
        let client = client(&url, "http://unused")?;
        if state == "up" {
            until_broker(&client, "up").await?;
        } else {
            api.says("of no authority that is trusted here").await?;
            assert_eq!(client.get("/ready").await?["broker"], "down");
        }
        api.stop().await?;
    }
    spawn_blocking(move || drop(rabbitmq)).await?;
    Ok(())
}
