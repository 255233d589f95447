//! Parts go away and come back while orders arrive; nothing is restarted for it.

use std::time::{Duration, Instant};

use anyhow::Result;
use broker::amqp::Limits;
use domain::message::PaymentsDue;
use serde_json::json;
use servers::{Postgres, PostgresSettings, RabbitMq, RabbitMqSettings};
use testbed::{Client, Options, Pipeline, TestDatabase, TestQueue, Via, until};
use uuid::Uuid;

use crate::logs::Logs;
use crate::{count, settled};

/// A blocking call of `servers`.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(call).await?
}

pub(crate) async fn until_confirmed(database: &TestDatabase, orders: i64) -> Result<()> {
    until(&format!("{orders} orders are confirmed"), async || {
        Ok((count(database, "CONFIRMED").await? == orders).then_some(()))
    })
    .await
}

pub(crate) async fn until_broker(client: &Client, state: &str) -> Result<()> {
    until(&format!("the broker is {state}"), async || {
        Ok((client.get("/ready").await?["broker"] == state).then_some(()))
    })
    .await
}

/// Sends a hundred orders that no sweep sees, and waits until one of them is confirmed: so the api publishes and a worker
/// consumes, however long either takes to connect. The rest may follow by either way.
pub(crate) async fn until_the_broker_carries(database: &TestDatabase, client: &Client) -> Result<()> {
    let mut conn = database.connect().await?;
    sqlx::raw_sql(
        "CREATE OR REPLACE FUNCTION due_tomorrow() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN NEW.due_at := NEW.due_at + interval '1 day'; RETURN NEW; END $$;
         CREATE TRIGGER unseen BEFORE INSERT ON open_charges FOR EACH ROW EXECUTE FUNCTION due_tomorrow()",
    )
    .execute(&mut conn)
    .await?;
    let before = count(database, "CONFIRMED").await?;
    client.orders(100, 8).await?;
    until("the broker carries orders", async || {
        Ok((count(database, "CONFIRMED").await? > before).then_some(()))
    })
    .await?;
    sqlx::raw_sql(
        "DROP TRIGGER unseen ON open_charges;
         UPDATE open_charges SET due_at = now() WHERE epoch = 0",
    )
    .execute(&mut conn)
    .await?;
    until_confirmed(database, before + 100).await
}

#[tokio::test]
async fn orders_are_accepted_and_confirmed_without_rabbitmq_and_it_is_used_again_when_it_is_back()
-> Result<()> {
    let mut rabbitmq = blocking(|| RabbitMq::start(&RabbitMqSettings::temporary())).await?;
    let database = TestDatabase::new().await?;
    let pipeline =
        Pipeline::start(&database, Options::new(Via::RabbitMq(TestQueue::on(&rabbitmq.url())?))).await?;
    let client = &pipeline.client;
    until_broker(client, "up").await?;
    until_the_broker_carries(&database, client).await?;

    rabbitmq = blocking(move || rabbitmq.stop().map(|()| rabbitmq)).await?;
    until_broker(client, "down").await?;
    assert_eq!(client.get("/ready").await?["status"], "degraded");
    client.orders(100, 8).await?;
    until_confirmed(&database, 200).await?;

    rabbitmq = blocking(move || rabbitmq.restart().map(|()| rabbitmq)).await?;
    until_broker(client, "up").await?;
    until_the_broker_carries(&database, client).await?;
    assert_eq!(settled(database.url(), client, Some(&pipeline.broker)).await?, 300);

    // Killed in the middle of it, too.
    let sending = client.orders(400, 8);
    let killing = blocking(move || rabbitmq.kill().map(|()| rabbitmq));
    let (sent, killed) = tokio::join!(sending, killing);
    assert_eq!(sent?.len(), 400);
    rabbitmq = blocking(move || {
        let mut rabbitmq = killed?;
        rabbitmq.restart().map(|()| rabbitmq)
    })
    .await?;
    until_broker(client, "up").await?;
    until_confirmed(&database, 700).await?;
    assert_eq!(settled(database.url(), client, Some(&pipeline.broker)).await?, 700);
    pipeline.stop().await?;
    blocking(move || rabbitmq.stop()).await
}

#[tokio::test]
async fn a_pipeline_starts_without_rabbitmq_and_picks_it_up_when_it_comes() -> Result<()> {
    let mut rabbitmq = blocking(|| RabbitMq::start(&RabbitMqSettings::temporary())).await?;
    let url = rabbitmq.url();
    rabbitmq = blocking(move || rabbitmq.stop().map(|()| rabbitmq)).await?;
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::RabbitMq(TestQueue::on(&url)?))).await?;
    pipeline.client.orders(20, 4).await?;
    until_confirmed(&database, 20).await?;
    rabbitmq = blocking(move || rabbitmq.restart().map(|()| rabbitmq)).await?;
    until_broker(&pipeline.client, "up").await?;
    until_the_broker_carries(&database, &pipeline.client).await?;
    assert_eq!(settled(database.url(), &pipeline.client, Some(&pipeline.broker)).await?, 120);
    pipeline.stop().await?;
    blocking(move || rabbitmq.stop()).await
}

/// The key is no longer good, for longer than three tries would take. Nobody touches the worker until all is over.
#[tokio::test]
async fn a_gateway_that_refuses_us_for_a_while_fails_no_order() -> Result<()> {
    for via in [Via::InProcess, Via::RabbitMq(TestQueue::new()?)] {
        let database = TestDatabase::new().await?;
        let mut options = Options::new(via);
        options.worker.payment_retry_attempts = 1;
        options.worker.payment_retry_initial = Duration::from_millis(10);
        options.worker.payment_retry_max = Duration::from_millis(20);
        options.worker.circuit_breaker_recovery = Duration::from_millis(50);
        let pipeline = Pipeline::start(&database, options).await?;
        let client = &pipeline.client;
        client.orders(50, 8).await?;
        until_confirmed(&database, 50).await?;
        client.faults(json!({"misconfigured_rate": 1.0})).await?;
        client.orders(100, 8).await?;
        until("the gateway has refused twenty", async || {
            let refused: i64 =
                sqlx::query_scalar("SELECT count(*) FROM payment_attempts WHERE outcome = 'misconfigured'")
                    .fetch_one(&mut database.connect().await?)
                    .await?;
            Ok((refused >= 20).then_some(()))
        })
        .await?;
        assert_eq!(
            (count(&database, "CONFIRMED").await?, count(&database, "PAYMENT_FAILED").await?),
            (50, 0)
        );
        client.faults(json!({"misconfigured_rate": 0.0})).await?;
        until_confirmed(&database, 150).await?;
        assert_eq!(settled(database.url(), client, Some(&pipeline.broker)).await?, 150);
        assert_eq!(client.ledger().await?.charges.len(), 150);
        pipeline.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_is_down_fails_no_order() -> Result<()> {
    for via in [Via::InProcess, Via::RabbitMq(TestQueue::new()?)] {
        let database = TestDatabase::new().await?;
        let pipeline = Pipeline::start(&database, Options::new(via)).await?;
        let client = &pipeline.client;
        client.faults(json!({"down": true})).await?;
        client.orders(200, 8).await?;
        until("the breaker has opened: payments stay untouched", async || {
            let rejected: i64 = sqlx::query_scalar("SELECT count(*) FROM shown_payments WHERE attempts > 0")
                .fetch_one(&mut database.connect().await?)
                .await?;
            Ok((rejected >= 5).then_some(()))
        })
        .await?;
        client.orders(100, 8).await?;
        assert_eq!(count(&database, "PAYMENT_FAILED").await?, 0);
        let untouched: i64 = sqlx::query_scalar("SELECT count(*) FROM shown_payments WHERE attempts = 0")
            .fetch_one(&mut database.connect().await?)
            .await?;
        assert!(untouched >= 200, "{untouched} of 300");
        client.faults(json!({"down": false})).await?;
        until_confirmed(&database, 300).await?;
        settled(database.url(), client, Some(&pipeline.broker)).await?;
        pipeline.stop().await?;
    }
    Ok(())
}

/// No gateway ever answers: an order may be cancelled all the same, and the others end when their time is over.
#[tokio::test]
async fn without_a_gateway_orders_can_be_cancelled_and_end_in_time() -> Result<()> {
    let database = TestDatabase::new().await?;
    // Nothing listens there: the discard port.
    let mut options =
        Options { gateway: Some("http://127.0.0.1:9".to_owned()), ..Options::new(Via::InProcess) };
    // It stays open: no try is under way when somebody cancels.
    options.worker.circuit_breaker_recovery = Duration::from_secs(3_600);
    let pipeline = Pipeline::start(&database, options).await?;
    let client = &pipeline.client;
    let ids = client.orders(30, 4).await?;
    until("the breaker is open", async || {
        let tried: i64 =
            sqlx::query_scalar("SELECT count(*) FROM payment_attempts WHERE outcome = 'unavailable'")
                .fetch_one(&mut database.connect().await?)
                .await?;
        let under_way: i64 = sqlx::query_scalar("SELECT count(*) FROM open_charges WHERE trying IS NOT NULL")
            .fetch_one(&mut database.connect().await?)
            .await?;
        Ok((tried >= 5 && under_way == 0).then_some(()))
    })
    .await?;
    for id in &ids {
        let answer = client.http.post(format!("{}/api/v1/orders/{id}/cancel", client.api)).send().await?;
        let order: serde_json::Value = answer.json().await?;
        assert_eq!(order["status"], "CANCELLED", "{order}");
    }
    let soon =
        "SELECT to_char((now() + interval '2 s') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";
    let expires_at: String = sqlx::query_scalar(soon).fetch_one(&mut database.connect().await?).await?;
    let mut order = Client::an_order();
    order["expires_at"] = json!(expires_at);
    let id = client.order(&order).await?;
    let ended = client.until_status(id, "PAYMENT_FAILED").await?;
    assert_eq!(ended["payments"][0]["reason"], "expired");
    pipeline.stop().await?;
    let report = reconcile::reconcile(database.url(), &domain::gateway::Ledger::default()).await?;
    assert!(report.is_clean(), "\n{report}");
    Ok(())
}

#[tokio::test]
async fn postgres_stops_and_returns_under_a_running_pipeline() -> Result<()> {
    let mut postgres = blocking(|| Postgres::start(&PostgresSettings::temporary())).await?;
    let database = TestDatabase::on(&postgres.url("postgres")).await?;
    let mut options = Options::new(Via::RabbitMq(TestQueue::new()?));
    // Leases of the killed server's time run out soon.
    options.worker.gateway_timeout = Duration::from_millis(500);
    options.worker.lease = Duration::from_secs(2);
    let pipeline = Pipeline::start(&database, options).await?;
    let client = pipeline.client.clone();
    client.faults(json!({"latency_min_ms": 1, "latency_max_ms": 20})).await?;
    let mut accepted = client.orders(100, 8).await?;
    for kill in [false, true, true] {
        // Orders arrive all the while; some get 503 and are not counted.
        let begun = Instant::now();
        let arriving = async {
            let mut ids: Vec<Uuid> = Vec::new();
            while begun.elapsed() < Duration::from_secs(3) {
                let response = client.post(&Client::an_order()).await?;
                match response.status().as_u16() {
                    202 => {
                        ids.push(response.json::<serde_json::Value>().await?["id"].as_str().unwrap().parse()?)
                    }
                    503 => assert_eq!(response.headers()["retry-after"], "1"),
                    other => panic!("{other}: {}", response.text().await?),
                }
            }
            anyhow::Ok(ids)
        };
        let ending = blocking(move || {
            if kill {
                postgres.kill()?
            } else {
                postgres.stop()?
            }
            postgres.restart()?;
            Ok(postgres)
        });
        let (ids, ended) = tokio::join!(arriving, ending);
        postgres = ended?;
        accepted.extend(ids?);
    }
    until("orders are accepted again", async || {
        Ok((client.post(&Client::an_order()).await?.status() == 202).then_some(()))
    })
    .await?;
    settled(database.url(), &client, Some(&pipeline.broker)).await?;
    let missing = reconcile::accepted_missing(database.url(), accepted.iter().copied()).await?;
    assert!(missing.is_empty(), "accepted and not there: {missing:?}");
    pipeline.stop().await?;
    blocking(move || postgres.stop()).await
}

/// Longer than RabbitMQ needs to lay a message aside that is returned every 0.2 s, with the bound of the test below.
const LONG: Duration = Duration::from_secs(4);

#[tokio::test]
async fn without_postgres_no_message_is_laid_aside_and_the_log_stays_short() -> Result<()> {
    let logs = Logs::listen();
    let mut postgres = blocking(|| Postgres::start(&PostgresSettings::temporary())).await?;
    let database = TestDatabase::on(&postgres.url("postgres")).await?;
    let queue = TestQueue::new()?.with_limits(Limits { returns: 2, ..Limits::default() });
    let mut options = Options::new(Via::RabbitMq(queue.clone()));
    options.worker.gateway_timeout = Duration::from_millis(500);
    options.worker.lease = Duration::from_secs(2);
    let pipeline = Pipeline::start(&database, options).await?;
    let client = &pipeline.client;
    until_broker(client, "up").await?;
    until_the_broker_carries(&database, client).await?;
    // Some are in hand when it goes, and more come while it is away.
    client.faults(json!({"latency_min_ms": 200, "latency_max_ms": 400})).await?;
    client.orders(50, 8).await?;
    postgres = blocking(move || postgres.kill().map(|()| postgres)).await?;
    for _ in 0..20 {
        queue.amqp().publish_bytes(&PaymentsDue::new(vec![Uuid::now_v7()]).to_bytes()).await?;
    }
    tokio::time::sleep(LONG).await;
    postgres = blocking(move || postgres.restart().map(|()| postgres)).await?;
    settled(database.url(), client, Some(&pipeline.broker)).await?;
    assert_eq!(pipeline.broker.depth().await?.dead, 0);
    // What a busy RabbitMQ does meanwhile is no part of this.
    let mut told = logs.of("worker::consume");
    told.retain(|line| line.contains("claim"));
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("cannot claim") && told[1].contains("claims work again"), "{told:#?}");
    pipeline.stop().await?;
    queue.delete().await?;
    blocking(move || postgres.stop()).await
}
