//! The ways to a broker: several hosts, and TLS.

use anyhow::{Context, Result};
use broker::Broker;
use servers::{RabbitMq, RabbitMqSettings};
use testbed::{Authority, TestQueue};
use tokio::task::spawn_blocking;

use crate::{carries, refusal};

#[tokio::test]
async fn the_next_of_several_brokers_is_tried_when_one_is_away() -> Result<()> {
    let ours = TestQueue::new()?;
    let (before, after) = ours.config().amqp_url.split_once('@').context("no user in the tests' URL")?;
    let away = "127.0.0.1:1";
    let (host, path) = after.split_once('/').context("no path in the tests' URL")?;
    for hosts in [format!("{away},{host}"), format!("{host},{away}"), format!("{away},[::1]:1,{host}")] {
        carries(&ours.by(&format!("{before}@{hosts}/{path}"))?.broker()).await?;
    }
    let nowhere = ours.by(&format!("{before}@{away},[::1]:1/{path}"))?.broker();
    let error = format!("{:#}", nowhere.depth().await.expect_err("both are away"));
    assert!(error.contains("127.0.0.1:1: ") && error.contains("[::1]:1: "), "{error}");
    carries(&ours.broker()).await?;
    ours.delete().await
}

#[tokio::test]
async fn amqps_trusts_the_named_authorities_and_no_others() -> Result<()> {
    let (authority, stranger) = (Authority::new()?, Authority::new()?);
    let settings =
        RabbitMqSettings { tls: Some(authority.certify(&["localhost"])?), ..RabbitMqSettings::temporary() };
    let rabbitmq = spawn_blocking(move || RabbitMq::start(&settings)).await??;
    let url = |host| rabbitmq.tls_url(host).context("it takes no TLS");
    let ca = format!("cacertfile={}", authority.file().display());
    let queue = TestQueue::on(&rabbitmq.url())?;
    let by = |url: String| anyhow::Ok(queue.by(&url)?.broker());

    carries(&by(format!("{}?{ca}", url("localhost")?))?).await?;
    carries(&by(format!("{}?heartbeat=5&{ca}", url("127.0.0.1:1,localhost")?))?).await?;

    let said = refusal(&by(format!("{}?{ca}", url("127.0.0.1")?))?).await.to_string();
    assert!(said.contains("not for 127.0.0.1"), "{said}");
    let stranger = format!("cacertfile={}", stranger.file().display());
    let said = refusal(&by(format!("{}?{stranger}", url("localhost")?))?).await.to_string();
    assert!(said.contains("no authority that is trusted"), "{said}");

    let plain = rabbitmq.url().replacen("amqp:", "amqps:", 1);
    let said = refusal(&by(format!("{plain}?{ca}"))?).await.to_string();
    assert!(said.contains("no TLS on this port"), "{said}");
    let clear = url("localhost")?.replacen("amqps:", "amqp:", 1);
    assert!(by(clear)?.depth().await.is_err(), "a port that takes TLS alone");
    carries(&Broker::Amqp(queue.amqp())).await?;
    spawn_blocking(move || drop(rabbitmq)).await?;
    Ok(())
}
