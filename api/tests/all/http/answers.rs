//! What is around every answer: ids, times of one width, what nobody may keep, compression, other origins' pages; and what
//! is said of a request that is wrong.

use std::collections::HashSet;

use anyhow::{Context, Result};
use base64::Engine as _;
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::api;

const ORDERS: &str = "/api/v1/orders";
/// The order of the README, as gzip has it.
const COMPRESSED: &str = "H4sIAAAAAAACA6tWSi4tLsnPTS2Kz0xRskLwDI2MlXSUMktSc4uVrKKrwSyIEjDLwMAQKh2fl5ibChR2Ki1KTy0CChaWJuaVZJZ\
    UKlkZ6SgVFGUmA2UNjfQsLWt1sBhjhGaMW1FmajGKKYZwU0xAhsTWAgBFICB3tAAAAA==";

/// Asks with these headers.
async fn ask(client: &Client, method: Method, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let mut request = client.http.request(method, format!("{}{path}", client.api));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.send().await?)
}

async fn get(client: &Client, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
    ask(client, Method::GET, path, headers).await
}

/// Sends an order as these bytes.
async fn send(client: &Client, body: Vec<u8>, headers: &[(&str, &str)]) -> Result<Response> {
    let mut request = client.http.post(format!("{}{ORDERS}", client.api)).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.send().await?)
}

fn said<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

#[tokio::test]
async fn somebody_who_comes_by_finds_what_this_is() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let front = client.get("/").await?;
    assert_eq!(
        (&front["service"], &front["version"]),
        (&json!("comanda"), &json!(env!("CARGO_PKG_VERSION")))
    );
    for (name, page) in front["pages"].as_object().context("it has pages")? {
        let status = get(client, page.as_str().unwrap_or(""), &[]).await?.status();
        assert_eq!(status, 200, "{name}: {page}");
    }
    let browser = get(client, "/", &[("accept", "text/html,*/*")]).await?;
    assert!(said(browser.headers(), "content-type").starts_with("text/html"));
    assert!(browser.text().await?.contains("href=\"/docs\""));
    assert_eq!(get(client, "/ping", &[]).await?.text().await?, "pong");
    pipeline.stop().await
}

#[tokio::test]
async fn an_id_counts_by_whichever_name_it_comes() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let given = async |headers: &[(&str, &str)]| {
        let answer = get(&pipeline.client, "/health", headers).await?;
        anyhow::Ok(said(answer.headers(), "x-request-id").to_owned())
    };
    let (ours, one, other) = (("x-request-id", "a"), ("x-correlation-id", "b"), ("correlation-id", "c"));
    assert_eq!(given(&[other]).await?, "c");
    assert_eq!(given(&[other, one]).await?, "b");
    assert_eq!(given(&[other, one, ours]).await?, "a");
    assert_eq!(given(&[other, one, ("x-request-id", "not sane")]).await?, "b");
    pipeline.stop().await
}

#[tokio::test]
async fn every_problem_has_a_page_where_its_type_says() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let json = [("content-type", "application/json")];
    let answers = [
        send(client, b"{".to_vec(), &json).await?,
        send(client, b"{}".to_vec(), &[]).await?,
        send(client, b"{}".to_vec(), &json).await?,
        get(client, "/nowhere", &[]).await?,
        ask(client, Method::DELETE, ORDERS, &[]).await?,
        get(client, ORDERS, &[("authorization", "Bearer nonsense")]).await?,
    ];
    for answer in answers {
        let status = answer.status().as_u16();
        let problem: Value = answer.json().await?;
        let kind = problem["type"].as_str().context("a type")?;
        let page = client.get(kind).await?;
        assert_eq!(page["status"], json!(status), "{kind}");
        assert!(page["meaning"].as_str().is_some_and(|meaning| !meaning.is_empty()), "{page}");
    }
    let all = client.get("/problems").await?;
    for one in all.as_array().context("a list")? {
        let name = one["name"].as_str().context("a name")?;
        let page = get(client, &format!("/problems/{name}"), &[("accept", "text/html")]).await?;
        assert_eq!(page.status(), 200, "{name}");
        assert!(page.text().await?.contains(name));
    }
    assert_eq!(get(client, "/problems/none", &[]).await?.status(), 404);
    pipeline.stop().await
}

#[tokio::test]
async fn nobody_in_between_keeps_what_is_private() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let new = client.post(&Client::an_order()).await?;
    assert_eq!(said(new.headers(), "cache-control"), "no-store");
    let order = said(new.headers(), "location").to_owned();
    for path in [&order, ORDERS, "/api/v1/orders/none", &format!("{order}/history"), "/api/v1/auth/me"] {
        let answer = get(client, path, &[]).await?;
        assert_eq!(said(answer.headers(), "cache-control"), "no-store", "{path}");
    }
    for path in ["/health", "/openapi.json", "/problems", "/api/v1/auth/jwks.json"] {
        let answer = get(client, path, &[]).await?;
        assert_ne!(said(answer.headers(), "cache-control"), "no-store", "{path}");
    }
    pipeline.stop().await
}

#[tokio::test]
async fn a_body_comes_as_it_is_and_in_utf_8() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let order = Client::an_order().to_string().into_bytes();
    let json = ("content-type", "application/json");
    for encoding in ["gzip", "br", "identity, gzip"] {
        let refused = send(client, order.clone(), &[json, ("content-encoding", encoding)]).await?;
        assert_eq!(refused.status(), 415, "{encoding}");
        assert_eq!(said(refused.headers(), "accept-encoding"), "identity");
    }
    // One that is compressed: refused as such, and not read as what it says it is not.
    let compressed = base64::prelude::BASE64_STANDARD.decode(COMPRESSED)?;
    for (encoding, status) in [("gzip", 415), ("x-gzip", 415), ("identity", 400)] {
        let refused = send(client, compressed.clone(), &[json, ("content-encoding", encoding)]).await?;
        assert_eq!(refused.status(), status, "{encoding}");
        let asked = if status == 415 { "identity" } else { "" };
        assert_eq!(said(refused.headers(), "accept-encoding"), asked, "{encoding}");
        assert_eq!(said(refused.headers(), "content-type"), "application/problem+json");
    }
    for charset in ["utf-16", "ISO-8859-1"] {
        let kind = format!("application/json; charset={charset}");
        assert_eq!(send(client, order.clone(), &[("content-type", &kind)]).await?.status(), 415, "{charset}");
    }
    let utf_8 = ("content-type", "application/json; Charset=\"UTF-8\"");
    let marked = [b"\xEF\xBB\xBF", order.as_slice()].concat();
    for (body, headers) in [
        (order.clone(), [json, ("content-encoding", "identity")]),
        (order.clone(), [utf_8, ("x", "y")]),
        (marked, [json, ("x", "y")]),
    ] {
        let answer = send(client, body, &headers).await?;
        assert_eq!(answer.status(), 202, "{headers:?}: {}", answer.text().await?);
    }
    pipeline.stop().await
}

#[tokio::test]
async fn long_answers_are_compressed_for_whoever_wants_that_and_no_order_waits_for_it() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    client.orders(10, 4).await?;
    let gzip = ("accept-encoding", "gzip");
    let list = get(client, ORDERS, &[gzip]).await?;
    assert_eq!(said(list.headers(), "content-encoding"), "gzip");
    assert_eq!(said(list.headers(), "vary"), "accept-encoding");
    let (list, plain) = (list.bytes().await?, get(client, ORDERS, &[]).await?.bytes().await?);
    assert!(
        list.starts_with(b"\x1f\x8b") && list.len() * 3 < plain.len(),
        "{} of {}",
        list.len(),
        plain.len()
    );
    assert!(plain.starts_with(b"{"));
    let short = get(client, "/health", &[gzip]).await?;
    assert_eq!(said(short.headers(), "content-encoding"), "");
    let json = ("content-type", "application/json");
    // Long enough to be worth it.
    let mut long = Client::an_order();
    long["items"][0]["item_name"] = json!("Burger ".repeat(60).trim());
    long["items"][1]["item_name"] = json!("Fries and more ".repeat(30).trim());
    let order = send(client, long.to_string().into(), &[json, gzip]).await?;
    assert_eq!((order.status().as_u16(), said(order.headers(), "content-encoding")), (202, ""));
    assert!(order.bytes().await?.len() > 1_024);
    pipeline.stop().await
}

#[tokio::test]
async fn pages_of_the_origins_that_are_named_may_call_and_are_told_so_without_a_token() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    let preflight = async |client: &Client, origin: &str| {
        let anybody = Client::new(&client.api, "")?;
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type,idempotency-key"),
        ];
        ask(&anybody, Method::OPTIONS, ORDERS, &headers).await
    };
    let pipeline = Pipeline::start(&database, options.clone()).await?;
    let closed = preflight(&pipeline.client, "https://shop.example.com").await?;
    assert_eq!((closed.status().as_u16(), said(closed.headers(), "access-control-allow-origin")), (405, ""));
    pipeline.stop().await?;

    options.api.api_cors_origins = vec!["https://shop.example.com".to_owned()];
    let pipeline = Pipeline::start(&database, options).await?;
    let client = &pipeline.client;
    let open = preflight(client, "https://shop.example.com").await?;
    assert_eq!(open.status(), 204, "all that there is to say is in its headers");
    assert_eq!(said(open.headers(), "access-control-max-age"), "600");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert!(said(open.headers(), "access-control-allow-methods").contains(method), "{method}");
    }
    assert_eq!(said(open.headers(), "access-control-allow-origin"), "https://shop.example.com");
    assert!(said(open.headers(), "access-control-allow-headers").contains("idempotency-key"));
    assert!(open.bytes().await?.is_empty());
    let other = preflight(client, "https://other.example.com").await?;
    assert_eq!((other.status().as_u16(), said(other.headers(), "access-control-allow-origin")), (204, ""));
    // A page may read where its order is and which version it saw, that it was told before, when to come again, how fast it may
    // ask, why it was refused, and which id it has to name.
    let origin = ("origin", "https://shop.example.com");
    for headers in [[origin, ("authorization", "Bearer nonsense")], [origin, ("x", "y")]] {
        let answer = get(client, ORDERS, &headers).await?;
        assert_eq!(said(answer.headers(), "access-control-allow-origin"), "https://shop.example.com");
        let exposed = said(answer.headers(), "access-control-expose-headers");
        let exposed: HashSet<&str> = exposed.split(',').map(str::trim).collect();
        for name in [
            "location",
            "etag",
            "idempotency-replayed",
            "retry-after",
            "ratelimit",
            "ratelimit-policy",
            "x-request-id",
            "traceparent",
        ] {
            assert!(exposed.contains(name), "{name} is not among {exposed:?}");
        }
    }
    pipeline.stop().await
}

/// The times in an answer, each with its place.
fn times(value: &Value, place: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) if OffsetDateTime::parse(text, &Rfc3339).is_ok() => {
            found.push((place.to_owned(), text.clone()));
        }
        Value::Array(list) => list.iter().for_each(|one| times(one, place, found)),
        Value::Object(fields) => {
            for (name, one) in fields {
                times(one, &format!("{place}.{name}"), found);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn times_have_one_width_wherever_they_are() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let client = &pipeline.client;
    let mut found = Vec::new();
    for _ in 0..5 {
        let new: Value = client.post(&Client::an_order()).await?.json().await?;
        times(&new, "new", &mut found);
        let id = new["id"].as_str().context("an id")?.parse()?;
        client.until_status(id, "CONFIRMED").await?;
        let path = format!("{ORDERS}/{id}/cancel");
        times(&ask(client, Method::POST, &path, &[]).await?.json().await?, "cancelled", &mut found);
        times(&client.read(id).await?, "order", &mut found);
        times(&client.get(&format!("{ORDERS}/{id}/history")).await?, "history", &mut found);
    }
    times(&client.get(ORDERS).await?, "list", &mut found);
    for expected in
        ["order.payment_attempts.started_at", "history.history.left_at", "order.timestamps.PENDING"]
    {
        assert!(found.iter().any(|(place, _)| place == expected), "no {expected}");
    }
    for (place, time) in found {
        assert_eq!(time.len(), "2026-01-31T17:02:11.500000Z".len(), "{place}: {time}");
    }
    pipeline.stop().await
}

/// In UTC the last of these would be in the year 10000, and the first in the year before the first.
#[tokio::test]
async fn a_time_that_has_no_year_in_utc_is_no_time() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    for time in ["0000-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"] {
        let listed = get(client, &format!("{ORDERS}?from={}", time.replace('+', "%2B")), &[]).await?;
        let mut order = Client::an_order();
        order["expires_at"] = json!(time);
        let ordered = client.post(&order).await?;
        for (what, answer) in [("list", listed), ("order", ordered)] {
            let status = answer.status().as_u16();
            let problem: Value = answer.json().await?;
            assert_eq!(
                (status, &problem["errors"][0]["code"]),
                (422, &json!("no_time")),
                "{what} {time}: {problem}"
            );
        }
    }
    pipeline.stop().await
}

#[tokio::test]
async fn who_forgets_that_a_plus_means_a_space_is_told() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let detail = async |time: &str| {
        let body = pipeline.client.get(&format!("{ORDERS}?from={time}")).await?;
        anyhow::Ok(body["errors"][0]["detail"].as_str().unwrap_or("").to_owned())
    };
    assert!(detail("2026-01-01T00:00:00+02:00").await?.contains("%2B"));
    assert!(!detail("yesterday").await?.contains("%2B"));
    assert_eq!(detail("2026-01-01T00:00:00%2B02:00").await?, "");
    pipeline.stop().await
}
