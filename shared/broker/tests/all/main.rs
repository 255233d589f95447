//! Both brokers by one suite, and what RabbitMQ alone can do: refuse us, speak TLS, be one of several.

mod conformance;
mod refusals;
mod ways;

use anyhow::Result;
use broker::{Broker, Consumer, Depth};
use domain::message::PaymentsDue;
use testbed::until;
use uuid::Uuid;

fn message() -> PaymentsDue {
    PaymentsDue::new(vec![Uuid::now_v7(), Uuid::now_v7()])
}

async fn take(consumer: &mut Consumer) -> Result<(PaymentsDue, bool)> {
    let delivery = consumer.next().await?;
    let taken = (delivery.message.clone()?, delivery.redelivered);
    delivery.ack().await?;
    Ok(taken)
}

async fn until_depth(broker: &Broker, wanted: Depth) -> Result<()> {
    until(&format!("the broker holds {wanted:?}"), async || {
        Ok((broker.depth().await? == wanted).then_some(()))
    })
    .await
}

/// Sends a message and takes it again.
async fn carries(broker: &Broker) -> Result<()> {
    let sent = message();
    let mut consumer = broker.consumer(10).await?;
    broker.publisher().await?.publish(std::slice::from_ref(&sent)).await?;
    assert_eq!(take(&mut consumer).await?.0, sent);
    consumer.close().await;
    Ok(())
}

/// Why a broker cannot be used.
async fn refusal(broker: &Broker) -> broker::Refused {
    let error = broker.depth().await.expect_err("it must not be used");
    let said = format!("{error:#}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!said.contains("comanda:"), "a password in {said}");
    error.downcast().unwrap_or_else(|error| panic!("told as one that is away: {error:#}"))
}
