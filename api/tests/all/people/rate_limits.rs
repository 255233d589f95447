//! Who asks too fast is told to wait; nobody else is.

use anyhow::Result;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use testbed::people::of;
use testbed::{Client, Options, Pipeline, TestDatabase, Via};

use super::{PASSWORD, ask};

/// An api of guests, with limits of a few requests that come back too slowly for any test to see.
async fn limited() -> Result<(TestDatabase, Pipeline)> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.identity.identity_key_file = Some(testbed::people::keys()?);
    options.api.identity.issuers_file = Some(testbed::people::issuers_file_beside_another()?);
    options.api.identity.guests = true;
    let limits = &mut options.api.identity.rate_limits;
    (limits.rate_limit_customer, limits.rate_limit_address, limits.rate_limit_log_in) = (1, 1, 3);
    limits.trusted_proxies = vec!["127.0.0.0/8".parse()?];
    let pipeline = Pipeline::start(&database, options).await?;
    Ok((database, pipeline))
}

/// Asks until it is too fast, what was answered then.
async fn until_too_fast(ask: impl AsyncFn() -> Result<Response>) -> Result<(u32, Response)> {
    for answered in 0..60 {
        let answer = ask().await?;
        if answer.status() == 429 {
            return Ok((answered, answer));
        }
        anyhow::ensure!(!answer.status().is_server_error(), "{}", answer.text().await?);
    }
    anyhow::bail!("nobody was too fast")
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

#[tokio::test]
async fn a_customer_who_asks_too_fast_waits_and_nobody_else_does() -> Result<()> {
    let (_database, api) = limited().await?;
    let ada = of("customer:ada")?;
    let (answered, told) =
        until_too_fast(async || ask(&api, Method::GET, "/orders", &ada, None).await).await?;
    assert!(answered >= 5, "five may come at once, not {answered}");
    assert!(header(&told, "retry-after").parse::<u64>()? >= 1);
    assert_eq!(header(&told, "ratelimit-policy"), "\"customer\";q=5;w=5");
    assert!(header(&told, "ratelimit").starts_with("\"customer\";r=0;t="));
    let body: Value = told.json().await?;
    assert_eq!((&body["status"], &body["title"]), (&json!(429), &json!("Too many requests")));
    for other in ["customer:eve", "staff:bo", "manager:max"] {
        assert_eq!(ask(&api, Method::GET, "/orders", &of(other)?, None).await?.status(), 200, "{other}");
    }
    api.stop().await
}

#[tokio::test]
async fn who_shows_bad_tokens_or_none_is_limited_by_address_and_known_tokens_stay_good() -> Result<()> {
    let (_database, api) = limited().await?;
    let bo = of("staff:bo")?;
    assert_eq!(ask(&api, Method::GET, "/orders", &bo, None).await?.status(), 200);
    let (bad, _) = until_too_fast(async || {
        let header = testbed::people::token("eve", "customer")?;
        // A good head and claims, and a signature of nobody.
        let forged = format!("{}{}", &header[..header.len() - 8], "AAAAAAAA");
        let answer = ask(&api, Method::GET, "/orders", &forged, None).await?;
        assert!(matches!(answer.status().as_u16(), 401 | 429));
        Ok(answer)
    })
    .await?;
    assert!(bad <= 20, "{bad} bad tokens were looked at");
    let guest = ask(&api, Method::POST, "/orders", "", Some(Client::an_order())).await?;
    assert_eq!(guest.status(), 429, "guests of the same address");
    assert_eq!(ask(&api, Method::GET, "/orders", &bo, None).await?.status(), 200, "who is known already");
    api.stop().await
}

#[tokio::test]
async fn log_in_is_limited_by_the_address_that_the_trusted_proxy_names() -> Result<()> {
    let (_database, api) = limited().await?;
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
    for (at, path) in ["login", "register", "refresh", "token"].into_iter().enumerate() {
        let from = async |address: &str| {
            let request = http.post(format!("{}/api/v1/auth/{path}", api.client.api));
            let request = request.header("x-forwarded-for", address);
            anyhow::Ok(request.json(&json!({"email": "x", "password": PASSWORD})).send().await?)
        };
        let mine = format!("192.0.2.1, 198.51.100.{at}");
        let (answered, told) = until_too_fast(async || from(&mine).await).await?;
        assert!((3..10).contains(&answered), "{path}: three a minute, not {answered}");
        assert_eq!(header(&told, "ratelimit-policy"), "\"log_in\";q=3;w=60");
        // Whatever a client writes before it does not make it another.
        assert_eq!(from(&mine.replace("192.0.2.1", "192.0.2.2")).await?.status(), 429, "{path}");
        let another = from(&format!("203.0.113.{at}")).await?;
        assert_ne!(another.status(), 429, "{path} from another address");
    }
    api.stop().await
}
