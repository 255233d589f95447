//! The gateway asked as the worker did: a charge as JSON, by reqwest.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::CURRENCY;

#[derive(Serialize)]
struct Charge {
    reference: String,
    amount: Box<RawValue>,
    currency: String,
}

/// Asks for `time`, so many at once; says how often.
pub(in crate::bench) async fn ask(addr: SocketAddr, side_by_side: usize, time: Duration) -> Result<usize> {
    // Twice is an error and no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
    let url = format!("http://{addr}/api/v1/orders");
    let until = Instant::now() + time;
    let mut askers = JoinSet::new();
    for _ in 0..side_by_side {
        let (client, url) = (client.clone(), url.clone());
        askers.spawn(async move {
            let mut asked = 0;
            while Instant::now() < until {
                let answer = client.post(&url).json(&charge()?).send().await?;
                ensure!(answer.status().is_success(), "the echo answered {}", answer.status());
                answer.bytes().await?;
                asked += 1;
            }
            anyhow::Ok(asked)
        });
    }
    let mut asked = 0;
    while let Some(one) = askers.join_next().await {
        asked += one??;
    }
    Ok(asked)
}

fn charge() -> Result<Charge> {
    Ok(Charge {
        reference: Uuid::now_v7().to_string(),
        amount: RawValue::from_string("30.97".to_owned())?,
        currency: CURRENCY.to_owned(),
    })
}
