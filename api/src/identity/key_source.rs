//! key source: where the keys of an issuer come from: an address, a file, or what the issuer itself says of itself
//! (`/.well-known/openid-configuration`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Url};
use serde::Deserialize;

use super::key_file::KeyFile;

/// How long an issuer may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest document that is read: real ones have a few thousand bytes.
const MAX_BYTES: usize = 256 * 1024;
/// Where an issuer says where its keys are (`OpenID` Connect Discovery 1.0, section 4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Where keys come from.
#[derive(Debug)]
pub(crate) enum Source {
    Url(Url, Client),
    /// The issuer's name is an address below which it says where they are.
    Discovered {
        issuer: String,
        at: Url,
        client: Client,
    },
    File(PathBuf),
    /// The embedded issuer's own.
    Own(Arc<KeyFile>),
}

/// What an issuer says of itself, as far as we listen.
#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Source {
    /// Reads an issuer's `keys`; without them it is asked where they are.
    pub(crate) fn parse(issuer: &str, keys: Option<&str>) -> Result<Self> {
        let Some(keys) = keys else {
            let at = safe(&format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/')));
            let at =
                at.context("it has no `keys`, and its name is no address where it could be asked for them")?;
            return Ok(Self::Discovered { issuer: issuer.to_owned(), at, client: client()? });
        };
        match Url::parse(keys) {
            Ok(_) => Ok(Self::Url(safe(keys)?, client()?)),
            Err(_) => Ok(Self::File(keys.into())),
        }
    }

    pub(crate) async fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::File(path) => {
                tokio::fs::read(path).await.with_context(|| format!("cannot read {}", path.display()))
            }
            Self::Own(file) => Ok(file.public_keys().into_bytes()),
            Self::Url(url, client) => get(client, url.clone()).await,
            // Asked anew each time: an issuer may move its keys.
            Self::Discovered { issuer, at, client } => {
                let said = get(client, at.clone()).await?;
                let said: Discovery =
                    serde_json::from_slice(&said).context("it does not say where its keys are")?;
                ensure!(said.issuer == *issuer, "{at} speaks of another issuer: {}", said.issuer);
                get(client, safe(&said.jwks_uri)?).await
            }
        }
    }
}

fn client() -> Result<Client> {
    // Whoever was first has set it; all of ours set the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .build()
        .context("cannot make an HTTPS client: are the system's CA certificates installed?")
}

/// A key that comes over plain http could be anybody's.
fn safe(address: &str) -> Result<Url> {
    let url = Url::parse(address).with_context(|| format!("{address} is no address"))?;
    let on_loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    ensure!(
        url.scheme() == "https" || (url.scheme() == "http" && on_loopback),
        "keys must come over https, not from {address}"
    );
    Ok(url)
}

async fn get(client: &Client, url: Url) -> Result<Vec<u8>> {
    let mut answer = client.get(url).send().await?.error_for_status()?;
    ensure!(answer.status().is_success(), "answered {}", answer.status());
    let mut body = Vec::new();
    while let Some(more) = answer.chunk().await? {
        ensure!(body.len() + more.len() <= MAX_BYTES, "a document of more than {MAX_BYTES} bytes");
        body.extend_from_slice(&more);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_where_nobody_can_put_others() {
        super::super::crypto::install();
        for good in [
            ("https://a/", Some("https://b/keys")),
            ("https://a/", Some("http://127.0.0.1:1/keys")),
            ("anything", Some("keys.json")),
            ("https://a/", None),
            ("http://localhost:1", None),
        ] {
            assert!(Source::parse(good.0, good.1).is_ok(), "{good:?}");
        }
        for bad in [
            ("https://a/", Some("http://b/keys")),
            ("https://a/", Some("ftp://b/keys")),
            ("http://a/", None),
            ("anything", None),
            ("", None),
        ] {
            assert!(Source::parse(bad.0, bad.1).is_err(), "{bad:?}");
        }
        let Ok(Source::Discovered { at, .. }) = Source::parse("https://a/tenant/", None) else {
            panic!("it is asked")
        };
        assert_eq!(at.as_str(), "https://a/tenant/.well-known/openid-configuration");
    }
}
