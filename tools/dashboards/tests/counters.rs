//! What the counters say is what the database says; and what a scrape shows is what the list of metrics names. One
//! test alone in its program: the recorder of metrics is the whole process's.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use runtime::metric_list::{self, Values};
use runtime::telemetry::Recorder;
use serde_json::json;
use sqlx::PgConnection;
use testbed::{Client, Options, Pipeline, TestDatabase, TestQueue, Via, until};

/// A scrape, read.
struct Scrape {
    /// By the metric's name, its labels as they stand in the braces (`le` aside), and its value.
    samples: Vec<(String, String, f64)>,
    types: BTreeMap<String, String>,
    helped: BTreeSet<String>,
}

impl Scrape {
    fn read(page: &str) -> Result<Self> {
        let mut scrape = Self { samples: Vec::new(), types: BTreeMap::new(), helped: BTreeSet::new() };
        for line in page.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                scrape.helped.insert(help.split(' ').next().unwrap_or("").to_owned());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').context("a type without a name")?;
                scrape.types.insert(name.to_owned(), kind.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').context("a sample without a value")?;
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                scrape.samples.push((
                    name.to_owned(),
                    labels.trim_end_matches('}').to_owned(),
                    value.parse()?,
                ));
            }
        }
        Ok(scrape)
    }

    /// The sum of a metric's series that have all these labels, written as `outcome="accepted"`.
    fn sum(&self, name: &str, labels: &[&str]) -> i64 {
        let matching = self.samples.iter().filter(|(sample, having, _)| {
            sample == name && labels.iter().all(|label| having.contains(label))
        });
        matching.map(|(_, _, value)| *value as i64).sum()
    }
}

async fn one(conn: &mut PgConnection, query: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(query).fetch_one(conn).await?)
}

async fn all_final(conn: &mut PgConnection) -> Result<()> {
    until("all payments are final", async || {
        let open = one(conn, "SELECT count(*) FROM shown_payments WHERE due_at IS NOT NULL").await?;
        Ok((open == 0).then_some(()))
    })
    .await
}

/// Orders with every kind of end: confirmed at once, after doubts, after an outage; declined; void; repeated.
async fn run(client: &Client, conn: &mut PgConnection, recorder: &Recorder) -> Result<()> {
    for key in ["one", "one", "two"] {
        let order = client.http.post(format!("{}/api/v1/orders", client.api)).json(&Client::an_order());
        assert_eq!(order.header("Idempotency-Key", key).send().await?.status(), 202);
    }
    let reused = client.http.post(format!("{}/api/v1/orders", client.api)).json(&json!({
        "customer_id": "c", "items": [{"item_id": "i", "item_name": "Tea", "quantity": 1, "price": 2}], "currency": "EUR"
    }));
    assert_eq!(reused.header("Idempotency-Key", "one").send().await?.status(), 422);
    let orders = client.orders(100, 16).await?;
    all_final(conn).await?;
    // Two accepted, three cancelled and given back, one of them a second time.
    let moves = ["accept", "accept", "cancel", "cancel", "cancel"];
    for (id, verb) in orders[..5].iter().chain(&orders[4..5]).zip(moves.iter().chain(&["cancel"])) {
        let url = format!("{}/api/v1/orders/{id}/{verb}", client.api);
        client.http.post(url).send().await?;
    }
    all_final(conn).await?;
    client
        .faults(
            json!({"success_rate": 0.7, "error_rate": 0.2, "error_after_rate": 0.1, "too_many_rate": 0.02}),
        )
        .await?;
    client.orders(200, 16).await?;
    // All of them meet these faults, even those that an open breaker holds up.
    all_final(conn).await?;
    client.faults(json!({"down": true})).await?;
    client.orders(50, 16).await?;
    until("the outage opened the breaker", async || {
        let scrape = Scrape::read(&recorder.render())?;
        Ok((scrape.sum("breaker_state", &[]) > 0).then_some(()))
    })
    .await?;
    client.no_faults().await?;
    all_final(conn).await
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_agree_with_the_database_and_a_scrape_with_the_list() -> Result<()> {
    let recorder = runtime::telemetry::init_metrics()?;
    let database = TestDatabase::new().await?;
    let mut options = Options { with_follower: true, ..Options::new(Via::RabbitMq(TestQueue::new()?)) };
    let mails = std::env::temp_dir().join(format!("comanda-mails-{}", std::process::id()));
    options.follower.mail.mail_folder = Some(mails.clone());
    options.follower.mail.mail_from = Some("Comanda <orders@example.com>".to_owned());
    options.follower.mail.public_url = Some("http://127.0.0.1".to_owned());
    let pipeline = Pipeline::start(&database, options).await?;
    let client = pipeline.client.clone();
    let mut conn = database.connect().await?;
    run(&client, &mut conn, &recorder).await?;
    client.get("/api/v1/orders").await?;
    assert_eq!(client.http.get(format!("{}/nowhere", client.api)).send().await?.status(), 404);
    let invented = reqwest::Method::from_bytes(b"BREW")?;
    assert_eq!(client.http.request(invented, format!("{}/ready", client.api)).send().await?.status(), 405);
    // Metrics follow what they count by a moment; stopped, nothing follows any more.
    let running = runtime::telemetry::render(&recorder);
    pipeline.stop().await?;
    let _ = std::fs::remove_dir_all(mails);
    let scrape = Scrape::read(&runtime::telemetry::render(&recorder))?;
    agree(&scrape, &mut conn).await?;
    are_listed(&Scrape::read(&running)?);
    Ok(())
}

async fn agree(scrape: &Scrape, conn: &mut PgConnection) -> Result<()> {
    let orders = one(conn, "SELECT count(*) FROM orders").await?;
    assert_eq!(orders, 352);
    let accepted = |outcome| scrape.sum("accept_orders_total", &[outcome]);
    assert_eq!(accepted(r#"outcome="accepted""#), orders, "orders");
    assert_eq!((accepted(r#"outcome="replayed""#), accepted(r#"outcome="key_reused""#)), (1, 1));
    assert_eq!(
        scrape.sum("accept_batch_size_sum", &[]),
        orders + 2,
        "everything went through a group commit"
    );
    assert_eq!(scrape.sum("publish_payments_total", &[]), orders, "each was offered to the broker, once");
    assert_eq!(scrape.sum("http_request_seconds_count", &[r#"status="202""#]), orders + 1);

    let tries: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT action::text, outcome::text, count(*) FROM payment_attempts GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .fetch_all(&mut *conn)
    .await?;
    assert!(tries.len() >= 4, "the faults made too little happen: {tries:?}");
    for (action, outcome, count) in &tries {
        let labels = [format!("action=\"{action}\""), format!("outcome=\"{outcome}\"")];
        assert_eq!(
            scrape.sum("charge_attempts_total", &[&labels[0], &labels[1]]),
            *count,
            "{action} {outcome}"
        );
    }
    let all_tries: i64 = tries.iter().map(|(_, _, count)| count).sum();
    assert_eq!(scrape.sum("charge_attempts_total", &[]), all_tries, "tries");
    assert_eq!(scrape.sum("charge_gateway_seconds_count", &[]), all_tries);
    let settled = |outcome| scrape.sum("settle_payments_total", &[outcome]);
    assert_eq!(settled(r#"outcome="moved""#), all_tries, "each try was settled");
    assert_eq!(
        settled(r#"outcome="moved""#) + settled(r#"outcome="released""#),
        scrape.sum("claim_payments_total", &[]),
        "each claim was settled or given back"
    );
    assert_eq!((settled(r#"outcome="superseded""#), settled(r#"outcome="lost""#)), (0, 0));
    assert_eq!(scrape.sum("claim_batch_size_sum", &[]), scrape.sum("claim_payments_total", &[]));

    for (status, query) in [
        ("succeeded", "SELECT count(*) FROM payments WHERE kind = 'charge' AND status = 'succeeded'"),
        ("failed", "SELECT count(*) FROM payments WHERE kind = 'charge' AND status = 'failed'"),
    ] {
        let label = format!("status=\"{status}\"");
        let ended = scrape.sum("settle_ended_total", &[r#"kind="charge""#, &label]);
        assert_eq!(ended, one(conn, query).await?, "{status}");
        assert!(ended > 0, "{status}");
    }
    let moved = |outcome| scrape.sum("move_orders_total", &[outcome]);
    assert_eq!((moved(r#"outcome="moved""#), moved(r#"outcome="refused""#)), (5, 1));
    assert_eq!((moved(r#"outcome="wished""#), moved(r#"outcome="failed""#)), (0, 0));
    assert_eq!(scrape.sum("settle_ended_total", &[r#"kind="refund""#, r#"status="succeeded""#]), 3);
    let back = "SELECT sum(amount_minor)::int8 FROM payments WHERE kind = 'refund' AND status = 'succeeded'";
    assert_eq!(scrape.sum("settle_refunded_minor_total", &[r#"currency="USD""#]), one(conn, back).await?);
    let taken = "SELECT sum(amount_minor)::int8 FROM payments WHERE kind = 'charge' AND status = 'succeeded'";
    assert_eq!(scrape.sum("settle_charged_minor_total", &[r#"currency="USD""#]), one(conn, taken).await?);
    assert_eq!(scrape.sum("settle_tries_sum", &[]), all_tries);
    assert_eq!(scrape.sum("settle_order_seconds_count", &[]), orders);
    assert!(scrape.sum("breaker_moves_total", &[r#"to="open""#]) > 0, "the outage opened the breaker");
    assert_eq!(scrape.sum("breaker_state", &[]), 0);
    Ok(())
}

fn are_listed(scrape: &Scrape) {
    let shown: BTreeSet<&str> = scrape.types.keys().map(String::as_str).collect();
    let listed: BTreeSet<&str> = metric_list::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(shown, listed, "what a scrape shows, and what shared/runtime/src/metric_list.rs names");
    for metric in metric_list::ALL.iter().filter(|metric| shown.contains(metric.name)) {
        assert_eq!(scrape.types[metric.name], format!("{:?}", metric.kind).to_lowercase(), "{}", metric.name);
        assert!(scrape.helped.contains(metric.name), "{} has no help", metric.name);
    }
    for (name, labels, _) in &scrape.samples {
        let metric = metric_list::ALL
            .iter()
            .find(|metric| {
                name.strip_prefix(metric.name)
                    .is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
            })
            .unwrap_or_else(|| panic!("{name} is not listed"));
        let having = labels.split(',').filter(|label| !label.is_empty() && !label.starts_with("le="));
        for (key, value) in having.filter_map(|label| label.split_once('=')) {
            let label = metric.labels.iter().find(|label| label.name == key);
            let label = label.unwrap_or_else(|| panic!("{name} has a label {key} that is not listed"));
            if let Values::Of(values) = label.values {
                assert!(values.contains(&value.trim_matches('"')), "{name}{{{key}={value}}} is not listed");
            }
        }
    }
}
