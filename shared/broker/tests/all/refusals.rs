//! A broker that is there and will not have us says what to do about it.

use anyhow::Result;
use broker::Broker;
use broker::amqp::Limits;
use testbed::TestQueue;

use crate::{carries, refusal};

#[tokio::test]
async fn queues_with_other_arguments_are_named_with_the_remedy() -> Result<()> {
    let ours = TestQueue::new()?;
    let name = &ours.config().amqp_queue;
    for (queue, argument, limits) in [
        (name.clone(), "x-max-length", Limits { waiting: 7, ..Limits::default() }),
        (name.clone(), "x-delivery-limit", Limits { returns: 7, ..Limits::default() }),
        (format!("{name}.dead"), "x-max-length", Limits { dead: 7, ..Limits::default() }),
    ] {
        let others = ours.with_limits(limits);
        carries(&others.broker()).await?;
        let said = refusal(&ours.broker()).await.to_string();
        for expected in [
            &*format!("the queue {queue} exists"),
            argument,
            &*format!("rabbitmqctl -p / delete_queue {queue}"),
        ] {
            assert!(said.contains(expected), "no {expected:?} in {said}");
        }
        // The remedy.
        others.delete().await?;
        carries(&ours.broker()).await?;
        ours.delete().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_or_virtual_host_is_a_refusal() -> Result<()> {
    let ours = TestQueue::new()?;
    let url = &ours.config().amqp_url;
    let (before, _) = url.split_once("%2f").expect("the tests' URL names the virtual host");
    let said = refusal(&Broker::Amqp(ours.by(&format!("{before}nowhere"))?.amqp())).await.to_string();
    assert!(said.contains("nowhere"), "{said}");
    let host = url.split_once('@').expect("the tests' URL names a user").1;
    let said =
        refusal(&Broker::Amqp(ours.by(&format!("amqp://comanda:wrong@{host}"))?.amqp())).await.to_string();
    assert!(said.contains("ACCESS"), "{said}");
    Ok(())
}
