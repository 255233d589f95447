//! One request to an endpoint, signed as Standard Webhooks 1.0 has it, or as a platform does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as B64;
use domain::channel::settings::{Signature, Written};
use ipnet::IpNet;
use reqwest::{Client, RequestBuilder, Url};
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
pub enum Answer {
    /// It answered with this status.
    Status(u16),
    /// It did not answer, and why.
    None(&'static str),
}

/// How what is sent is named and signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As Standard Webhooks have it.
    Standard,
    /// As a platform has it, for what it sends and what it is told alike.
    Platform(Signature),
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
        (form, secrets): (Form, &[String]),
        body: String,
    ) -> Answer {
        let Ok(url) = Url::parse(url) else { return Answer::None("no_url") };
        let (client, allowed) = if url.scheme() == "https" { &self.secure } else { &self.plain };
        if !allowed.may_be(&url) {
            return Answer::None("not_allowed");
        }
        let Some(request) = form.sign(client.post(url), id, timestamp, secrets, &body) else {
            return Answer::None("no_secret");
        };
        match request.body(body).send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                read_some(answer).await;
                Answer::Status(status)
            }
            Err(error) => Answer::None(fault(&error)),
        }
    }
}

impl Form {
    /// The request with who it is from; `None`: there is no secret that could say so.
    fn sign(
        self,
        request: RequestBuilder,
        id: &str,
        timestamp: i64,
        secrets: &[String],
        body: &str,
    ) -> Option<RequestBuilder> {
        Some(match self {
            Self::Standard => request
                .header("content-type", "application/cloudevents+json; charset=utf-8")
                .header("webhook-id", id)
                .header("webhook-timestamp", timestamp)
                .header("webhook-signature", signatures(secrets, id, timestamp, body)?),
            Self::Platform(signature) => request
                .header("content-type", "application/json")
                .header(signature.header, over_the_body(signature.written, secrets.first()?, body)),
        })
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

/// The HMAC over the body as it is.
fn over_the_body(written: Written, secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    match written {
        Written::Hex => tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        Written::Base64 => B64.encode(tag),
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

    #[test]
    fn a_platform_is_asked_as_it_publishes_it() {
        let signature = domain::channel::settings::Dialect::Deliverect.signature();
        let form = Form::Platform(signature);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().tls_certs_only([]).build().unwrap();
        let post = || client.post("https://example.com/order_status");
        let secrets = ["a shared secret".to_owned()];
        let request = form.sign(post(), "a_1", 1, &secrets, r#"{"orderId":"x"}"#).unwrap().build().unwrap();
        let mut headers: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        headers.sort_unstable();
        // By openssl dgst -sha256 -hmac.
        let tag = "ca75888a8d0b35df923f43b42c248c22f825650986c010f42cf6770e629e5197";
        assert_eq!(
            headers,
            [("content-type", "application/json"), ("x-server-authorization-hmac-sha256", tag)]
        );
        assert_eq!(
            over_the_body(Written::Base64, &secrets[0], r#"{"orderId":"x"}"#),
            "ynWIio0LNd+SP0O0LCSMIvglZQmGwBD0LPZ3DmKeUZc="
        );
        assert!(form.sign(post(), "a_1", 1, &[], "{}").is_none());
    }
}
