//! One request to an endpoint, signed as Standard Webhooks 1.0 has it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as B64;
use ipnet::IpNet;
use reqwest::{Client, Url};
use ring::hmac;

use super::address::{Allowed, NotAllowed};

/// How long an endpoint may take to be connected to.
const CONNECT: Duration = Duration::from_secs(5);
/// What is read of an answer, so that its connection can be used again; of a longer one nothing more.
const MAX_ANSWER: usize = 16 * 1024;
/// How a secret is written.
const SECRET: &str = "whsec_";

/// What an endpoint came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It answered with this status.
    Status(u16),
    /// It did not answer, and why.
    None(&'static str),
}

/// Sends.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    /// To public addresses and those of the house, over TLS.
    secure: (Client, Allowed),
    /// To those of the house alone, in the clear.
    plain: (Client, Allowed),
}

impl Sender {
    pub(super) fn new(networks: &[IpNet], timeout: Duration) -> Result<Self> {
        let networks: Arc<[IpNet]> = networks.into();
        let of = |public| {
            let allowed = Allowed { public, networks: Arc::clone(&networks) };
            Ok::<_, anyhow::Error>((client(&allowed, timeout)?, allowed))
        };
        Ok(Self { secure: of(true)?, plain: of(false)? })
    }

    /// Sends `body` under this id, signed with each of the secrets at this time.
    pub(super) async fn send(
        &self,
        url: &str,
        id: &str,
        timestamp: i64,
        secrets: &[String],
        body: String,
    ) -> Answer {
        let Ok(url) = Url::parse(url) else { return Answer::None("no_url") };
        let (client, allowed) = if url.scheme() == "https" { &self.secure } else { &self.plain };
        if !allowed.may_be(&url) {
            return Answer::None("not_allowed");
        }
        let Some(signatures) = signatures(secrets, id, timestamp, &body) else {
            return Answer::None("no_secret");
        };
        let request = client
            .post(url)
            .header("content-type", "application/cloudevents+json; charset=utf-8")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures)
            .body(body);
        match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                read_some(answer).await;
                Answer::Status(status)
            }
            Err(error) => Answer::None(fault(&error)),
        }
    }
}

fn client(allowed: &Allowed, timeout: Duration) -> Result<Client> {
    // Whoever was first has set it; all of ours set the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .dns_resolver(Arc::new(allowed.clone()))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(concat!("Comanda/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(timeout)
        .pool_max_idle_per_host(16)
        .build()
        .context("cannot make an HTTPS client: are the system's CA certificates installed?")
}

async fn read_some(mut answer: reqwest::Response) {
    let mut read = 0;
    while let Ok(Some(more)) = answer.chunk().await {
        read += more.len();
        if read > MAX_ANSWER {
            return;
        }
    }
}

/// Why there was no answer, from a list: an error's own words may have anything in them.
fn fault(error: &reqwest::Error) -> &'static str {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if one.is::<NotAllowed>() {
            return "not_allowed";
        }
        cause = one.source();
    }
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "no_connection"
    } else {
        "broken"
    }
}

/// `v1,<base64 of the HMAC>` for each secret.
fn signatures(secrets: &[String], id: &str, timestamp: i64, body: &str) -> Option<String> {
    let signed = format!("{id}.{timestamp}.{body}");
    let sign = |secret: &String| {
        let key = B64.decode(secret.strip_prefix(SECRET)?).ok()?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Some(format!("v1,{}", B64.encode(hmac::sign(&key, signed.as_bytes()))))
    };
    let all: Option<Vec<String>> = secrets.iter().map(sign).collect();
    all.filter(|all| !all.is_empty()).map(|all| all.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_as_the_standards_own_example_has_it() {
        // https://github.com/standard-webhooks/standard-webhooks: the example of its libraries.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
        let body = r#"{"test": 2432232314}"#;
        let signed =
            signatures(std::slice::from_ref(&secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        let both = signatures(&[secret.clone(), secret], "a", 1, body).unwrap();
        assert_eq!(both.split(' ').count(), 2);
        assert_eq!(signatures(&["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()], "a", 1, body), None);
    }
}
