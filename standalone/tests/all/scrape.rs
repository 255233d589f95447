//! What strangers send never becomes a label of a metric: whoever invents paths and methods would fill the memory of whoever
//! keeps them.

use std::collections::BTreeSet;

use anyhow::Result;
use reqwest::Method;
use testbed::{Client, TestDatabase, TestQueue};

use crate::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn no_metric_has_a_label_of_a_strangers_making() -> Result<()> {
    let (database, queue) = (TestDatabase::new().await?, TestQueue::new()?);
    let settings = [
        ("DATABASE_URL", database.url()),
        ("AMQP_URL", &queue.config().amqp_url),
        ("AMQP_QUEUE", &queue.config().amqp_queue),
        ("API_ADDR", "127.0.0.1:0"),
    ];
    let mut api = Program::start("api", &settings)?;
    let metrics = api.says("metrics at ").await?;
    let url = api.says("accepting orders at ").await?.replace("/api/v1/orders", "");
    let http = Client::new("", "")?.http;
    let scrape = async || -> Result<String> { Ok(http.get(&metrics).send().await?.text().await?) };
    let series = |text: &str| -> BTreeSet<String> {
        text.lines()
            .filter(|line| line.starts_with("http_request_seconds_count"))
            .filter_map(|line| Some(line.split_once('}')?.0.to_owned()))
            .collect()
    };
    let round = async |mark: &str| -> Result<()> {
        for number in 0..40 {
            let word = format!("{mark}{number}");
            for path in [
                format!("/{word}"),
                format!("/api/v1/orders/{word}"),
                format!("/api/v1/orders/{word}/{word}"),
                format!("/api/v1/channels/{word}/orders"),
                format!("/api/v1/orders?status={word}&{word}={word}"),
                format!("/docs/{word}"),
                format!("/problems/{word}"),
            ] {
                let method = Method::from_bytes(word.to_uppercase().as_bytes())?;
                for method in [Method::GET, method] {
                    let asked = http.request(method, format!("{url}{path}"));
                    let asked =
                        asked.header("x-request-id", &word).header("user-agent", &word).header("host", &word);
                    asked.bearer_auth(&word).send().await?;
                }
            }
        }
        Ok(())
    };
    round("stranger").await?;
    let first = scrape().await?;
    round("another").await?;
    let second = scrape().await?;
    assert!(!first.to_lowercase().contains("stranger"), "a label of a stranger's making");
    assert!(!second.to_lowercase().contains("another1"), "a label of a stranger's making");
    assert!(series(&first).len() >= 5, "{first}");
    assert_eq!(series(&first), series(&second), "more of them, and no more series");
    api.stop().await?;
    queue.delete().await
}
