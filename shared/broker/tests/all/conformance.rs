//! One suite for both variants of the broker.

use std::future::Future;

use anyhow::Result;
use broker::amqp::Limits;
use broker::{Broker, Confirm, Depth, in_process::InProcess};
use domain::message::Malformed;
use domain::origin::{Headers, Origin, RequestId};
use domain::trace_parent::TraceParent;
use testbed::TestQueue;

use crate::{message, take, until_depth};

/// Room for so many messages in the queues of these tests.
const ROOM: u32 = 4;
/// Room for so many dead letters.
const DEAD: u32 = 3;

/// Runs a test on both variants, each with an empty queue.
async fn on_both<F: Future<Output = Result<()>>>(test: impl Fn(Subject) -> F) -> Result<()> {
    let channel = InProcess::with_dead(ROOM as usize, DEAD as usize);
    test(Subject { broker: Broker::InProcess(channel.clone()), stranger: Stranger::InProcess(channel) })
        .await?;
    let queue = TestQueue::new()?;
    let amqp = queue.amqp().with_limits(Limits { waiting: ROOM, dead: DEAD, ..Limits::default() });
    test(Subject { broker: Broker::Amqp(amqp.clone()), stranger: Stranger::Amqp(amqp.clone()) }).await?;
    amqp.delete().await
}

struct Subject {
    broker: Broker,
    stranger: Stranger,
}

enum Stranger {
    Amqp(broker::amqp::Amqp),
    InProcess(InProcess),
}

impl Stranger {
    async fn publish(&self, bytes: &[u8]) -> Result<()> {
        self.publish_with(bytes, Headers::default()).await
    }

    async fn publish_with(&self, bytes: &[u8], headers: Headers) -> Result<()> {
        match self {
            Self::Amqp(amqp) => amqp.publish_with_headers(bytes, &headers).await,
            Self::InProcess(channel) => {
                assert_eq!(channel.publish_with_headers(bytes.to_vec(), headers), Confirm::Taken);
                Ok(())
            }
        }
    }
}

#[tokio::test]
async fn what_was_confirmed_arrives_in_order_and_once_when_acknowledged() -> Result<()> {
    on_both(async |Subject { broker, .. }| {
        let sent = [message(), message(), message()];
        let confirms = broker.publisher().await?.publish(&sent).await?;
        assert_eq!(confirms, [Confirm::Taken; 3]);
        let mut consumer = broker.consumer(10).await?;
        for expected in sent {
            assert_eq!(take(&mut consumer).await?, (expected, false));
        }
        consumer.close().await;
        until_depth(&broker, Depth { waiting: 0, dead: 0 }).await
    })
    .await
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_once_its_consumer_is_gone() -> Result<()> {
    on_both(async |Subject { broker, .. }| {
        let sent = message();
        broker.publisher().await?.publish(std::slice::from_ref(&sent)).await?;
        let mut consumer = broker.consumer(10).await?;
        let delivery = consumer.next().await?;
        assert!(!delivery.redelivered);
        drop(delivery);
        consumer.close().await;
        let mut consumer = broker.consumer(10).await?;
        assert_eq!(take(&mut consumer).await?, (sent, true));
        consumer.close().await;
        until_depth(&broker, Depth { waiting: 0, dead: 0 }).await
    })
    .await
}

#[tokio::test]
async fn a_full_queue_refuses_and_keeps_what_it_has() -> Result<()> {
    on_both(async |Subject { broker, .. }| {
        let sent: Vec<_> = std::iter::repeat_with(message).take(ROOM as usize * 4).collect();
        let mut publisher = broker.publisher().await?;
        let mut confirms = Vec::new();
        // One by one: RabbitMQ decides about the bound a message or two late when they come in a burst.
        for one in &sent {
            confirms.extend(publisher.publish(std::slice::from_ref(one)).await?);
        }
        let taken = confirms.iter().filter(|confirm| **confirm == Confirm::Taken).count();
        assert!((ROOM as usize..=ROOM as usize + 2).contains(&taken), "{confirms:?}");
        assert_eq!(confirms.last(), Some(&Confirm::Refused));
        let mut consumer = broker.consumer(10).await?;
        for (expected, confirm) in sent.into_iter().zip(confirms) {
            if confirm == Confirm::Taken {
                assert_eq!(take(&mut consumer).await?.0, expected, "a confirmed message was dropped");
            }
        }
        consumer.close().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn poison_is_named_and_laid_aside() -> Result<()> {
    on_both(async |Subject { broker, stranger }| {
        // Declares the queue.
        let mut consumer = broker.consumer(10).await?;
        stranger.publish(b"not ours").await?;
        let delivery = consumer.next().await?;
        assert!(matches!(delivery.message, Err(Malformed::Unreadable(_))));
        delivery.bury().await?;
        until_depth(&broker, Depth { waiting: 0, dead: 1 }).await?;
        consumer.close().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn dead_letters_are_bounded_and_never_hold_up_the_living() -> Result<()> {
    on_both(async |Subject { broker, stranger }| {
        let mut consumer = broker.consumer(10).await?;
        for _ in 0..DEAD + 4 {
            stranger.publish(b"not ours").await?;
            consumer.next().await?.bury().await?;
        }
        until_depth(&broker, Depth { waiting: 0, dead: DEAD.into() }).await?;
        let sent = message();
        broker.publisher().await?.publish(std::slice::from_ref(&sent)).await?;
        assert_eq!(take(&mut consumer).await?.0, sent);
        consumer.close().await;
        until_depth(&broker, Depth { waiting: 0, dead: DEAD.into() }).await
    })
    .await
}

#[tokio::test]
async fn where_payments_came_from_travels_along() -> Result<()> {
    on_both(async |Subject { broker, .. }| {
        let trace = TraceParent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let origins = [
            vec![None, Origin::new(trace, None)],
            vec![
                Origin::new(trace, RequestId::parse("my,own")),
                Origin::new(None, RequestId::parse("another")),
            ],
        ];
        let sent = origins.map(|origins| message().from_origins(origins));
        broker.publisher().await?.publish(&sent).await?;
        let mut consumer = broker.consumer(10).await?;
        for expected in sent {
            assert_eq!(take(&mut consumer).await?.0, expected);
        }
        consumer.close().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn forged_headers_are_no_fault_of_the_message() -> Result<()> {
    on_both(async |Subject { broker, stranger }| {
        let mut consumer = broker.consumer(10).await?;
        let sent = message();
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for forged in ["", "garbage", trace, &format!("{trace} {trace} {trace}"), &"x ".repeat(20_000)] {
            let headers = Headers { traceparent: Some(forged.into()), request_id: Some(forged.into()) };
            stranger.publish_with(&sent.to_bytes(), headers).await?;
            let (taken, _) = take(&mut consumer).await?;
            assert_eq!(taken.payments, sent.payments);
            assert!(taken.origins.iter().all(Option::is_none), "{:?}", taken.origins);
        }
        consumer.close().await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_consumer_that_waits_hears_of_what_comes_later() -> Result<()> {
    on_both(async |Subject { broker, .. }| {
        let mut consumer = broker.consumer(10).await?;
        let sent = message();
        let publish = async {
            broker.publisher().await?.publish(std::slice::from_ref(&sent)).await?;
            anyhow::Ok(())
        };
        let (published, taken) = tokio::join!(publish, take(&mut consumer));
        published?;
        assert_eq!(taken?.0, sent);
        consumer.close().await;
        Ok(())
    })
    .await
}
