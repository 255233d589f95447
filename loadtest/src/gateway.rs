//! What the payment gateway says it did.

use anyhow::{Context, Result, ensure};
use domain::gateway::Ledger;

/// Fetches the ledger of the gateway at `url`, such as `http://127.0.0.1:9090`.
pub async fn fetch_ledger(url: &str) -> Result<Ledger> {
    let url = format!("{}/v1/ledger", url.trim_end_matches('/'));
    let answer = client()?.get(&url).send().await.with_context(|| format!("cannot reach {url}"))?;
    ensure!(answer.status().is_success(), "{url} answered {}", answer.status());
    answer.json().await.with_context(|| format!("{url} holds no ledger"))
}

/// A plain HTTP client: no proxy, no certificates, nothing that the machine's environment could change.
pub(crate) fn client() -> Result<reqwest::Client> {
    // Twice is an error and no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?)
}
