//! Clients that dawdle, hang up or send too much disturb nobody.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use runtime::tasks::Stop;
use testbed::{Client, Options, Pipeline, TestDatabase, Via};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::api;

async fn connect(client: &Client) -> Result<TcpStream> {
    Ok(TcpStream::connect(client.api.trim_start_matches("http://")).await?)
}

#[tokio::test]
async fn half_a_header_is_cut_off_after_five_seconds() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let mut stream = connect(&pipeline.client).await?;
    let begun = Instant::now();
    stream.write_all(b"POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-").await?;
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest)).await??;
    assert!(begun.elapsed() >= Duration::from_secs(4), "cut off too early: {:?}", begun.elapsed());
    pipeline.stop().await
}

#[tokio::test]
async fn a_connection_that_sends_nothing_is_cut_off_after_five_seconds() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let mut stream = connect(&pipeline.client).await?;
    let begun = Instant::now();
    let sent = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut Vec::new())).await??;
    assert_eq!(sent, 0, "there is nothing to say");
    assert!(begun.elapsed() >= Duration::from_secs(4), "cut off too early: {:?}", begun.elapsed());
    pipeline.stop().await
}

#[tokio::test]
async fn a_connection_rests_for_as_long_as_is_set() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    // Far from the header's time, and from the default.
    options.api.api_keep_alive = Duration::from_millis(100);
    let pipeline = Pipeline::start(&database, options).await?;
    let mut stream = connect(&pipeline.client).await?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let begun = Instant::now();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await??;
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    assert!(begun.elapsed() < Duration::from_secs(4), "closed too late: {:?}", begun.elapsed());
    pipeline.stop().await
}

#[tokio::test]
async fn a_huge_header_is_refused() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let mut stream = connect(&pipeline.client).await?;
    let header = format!("GET /health HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(500_000));
    // The server may hang up before it has read it all.
    let _ = stream.write_all(header.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    pipeline.stop().await
}

#[tokio::test]
async fn large_bodies_in_hand_are_bounded_and_plain_orders_still_pass() -> Result<()> {
    const MAX_BODY: usize = 256 * 1024;
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.api_bodies_mib = 1;
    options.api.api_body_kib = 256;
    let pipeline = Pipeline::start(&database, options).await?;
    let client = &pipeline.client;
    let large_order = || async {
        let body = Client::an_order().to_string() + &" ".repeat(32 * 1024);
        let request = client.http.post(format!("{}/api/v1/orders", client.api));
        let response = request.header("content-type", "application/json").body(body).send().await?;
        anyhow::Ok((response.status().as_u16(), response.headers().clone()))
    };
    // Four of the largest fill it, each without its last byte.
    let token = testbed::people::manager()?;
    let head = format!(
        "POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {MAX_BODY}\r\n\r\n"
    );
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(client).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&vec![b' '; MAX_BODY - 1]).await?;
        held.push(stream);
    }
    let refused = testbed::until("it is full", async || {
        let (status, headers) = large_order().await?;
        ensure!(status == 202 || status == 503, "{status}");
        Ok((status == 503).then_some(headers))
    })
    .await?;
    assert_eq!(refused["retry-after"], "1");
    assert_eq!(refused["content-type"], "application/problem+json");
    client.order(&Client::an_order()).await?;
    // Who hangs up gives back what he held.
    drop(held);
    testbed::until("there is room", async || {
        let (status, _) = large_order().await?;
        Ok((status == 202).then_some(()))
    })
    .await?;
    pipeline.stop().await
}

/// Sends all of it, head and body apart, as Python's http.client does, and reads only then.
async fn send_all_then_read(client: &Client, head: &str, body: &[u8]) -> Result<String> {
    let mut stream = connect(client).await?;
    stream.set_nodelay(true)?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn who_sends_too_much_reads_that_it_was_too_much() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let client = &pipeline.client;
    let token = testbed::people::manager()?;
    for mb in [2, 4, 8, 2, 4, 8] {
        let body = vec![b' '; mb * 1_000_000];
        for (path, token, expected) in [
            ("/api/v1/orders", &*token, "HTTP/1.1 413 "),
            ("/api/v1/orders", "none", "HTTP/1.1 401 "),
            ("/x", "", "HTTP/1.1 404 "),
        ] {
            for length in [format!("Content-Length: {}", body.len()), "Transfer-Encoding: chunked".to_owned()]
            {
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                     Authorization: Bearer {token}\r\n{length}\r\n\r\n"
                );
                let chunk = format!("{:x}\r\n", body.len());
                let head = if length.starts_with('T') { head + &chunk } else { head };
                let answer = send_all_then_read(client, &head, &body).await?;
                assert!(answer.starts_with(expected), "{mb} MB to {path}: {answer}");
                assert!(answer.contains("application/problem+json"), "{answer}");
            }
        }
    }
    pipeline.stop().await
}

#[tokio::test]
async fn a_long_document_is_taken_up_to_the_limit_that_is_set() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    let send = async |pipeline: &Pipeline, bytes: usize| {
        let mut order = Client::an_order().to_string();
        order += &" ".repeat(bytes - order.len());
        let client = &pipeline.client;
        let request = client.http.post(format!("{}/api/v1/orders", client.api));
        let answer = request.header("content-type", "application/json").body(order).send().await?;
        anyhow::Ok((answer.status().as_u16(), answer.text().await?))
    };
    let pipeline = Pipeline::start(&database, options.clone()).await?;
    assert_eq!(send(&pipeline, 600_000).await?.0, 202);
    assert_eq!(send(&pipeline, 1_048_576).await?.0, 202);
    let (status, told) = send(&pipeline, 1_048_577).await?;
    assert!(status == 413 && told.contains("1048576"), "{told}");
    pipeline.stop().await?;
    options.api.api_body_kib = 100;
    let pipeline = Pipeline::start(&database, options).await?;
    assert_eq!(send(&pipeline, 102_400).await?.0, 202);
    assert_eq!(send(&pipeline, 102_401).await?.0, 413);
    pipeline.stop().await
}

#[tokio::test]
async fn clients_that_hang_up_cost_others_no_order() -> Result<()> {
    let (database, pipeline) = api().await?;
    let client = pipeline.client.clone();
    let body = Client::an_order().to_string();
    let token = testbed::people::manager()?;
    let request = format!(
        "POST /api/v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // They send a whole request and are gone before the answer, some with a reset.
    let rude = async {
        for n in 0..600 {
            let mut stream = connect(&client).await?;
            stream.write_all(request.as_bytes()).await?;
            if n % 2 == 0 {
                tokio::task::yield_now().await;
            }
        }
        anyhow::Ok(())
    };
    let honest = client.orders(600, 8);
    let (rude, honest) = tokio::join!(rude, honest);
    rude?;
    let mut conn = database.connect().await?;
    for id in honest? {
        let found: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM orders o JOIN shown_payments p ON p.order_id = o.id JOIN order_events e ON e.subject = o.id
             WHERE o.id = $1",
        )
        .bind(id)
        .fetch_one(&mut conn)
        .await?;
        assert_eq!(found, 1, "{id} was answered with 202 and is not whole");
    }
    let open: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
    )
    .fetch_one(&mut conn)
    .await?;
    assert_eq!(open, 0);
    pipeline.stop().await
}

#[tokio::test]
async fn a_stop_fails_no_request_of_those_who_heed_ready() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    // Whoever looks may be kept waiting by a busy machine.
    options.api.api_linger = Duration::from_secs(5);
    let pipeline = Pipeline::start(&database, options).await?;
    let leaving = Stop::new();
    // Each sends one order after the other until it is told to go elsewhere.
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (client, leaving) = (pipeline.client.clone(), leaving.clone());
        senders.spawn(async move {
            let mut accepted: Vec<Uuid> = Vec::new();
            let mut told_to_close = 0;
            while !leaving.is_stopped() {
                let response = client.post(&Client::an_order()).await.expect("no request fails");
                assert_eq!(response.status(), 202, "whoever gets an answer gets a good one");
                told_to_close += usize::from(response.headers().contains_key("connection"));
                let body: serde_json::Value = response.json().await.expect("an answer is never broken off");
                accepted.push(body["id"].as_str().unwrap().parse().unwrap());
            }
            (accepted, told_to_close)
        });
    }
    let mut conn = database.connect().await?;
    testbed::until("some are accepted", async || {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut conn).await?;
        Ok((count >= 100).then_some(()))
    })
    .await?;
    let client = pipeline.client.clone();
    let heed = testbed::until("it says that it is stopping", async || {
        let ready = client.http.get(format!("{}/ready", client.api)).send().await?;
        let stopping = ready.status() == 503;
        ensure!(!stopping || ready.json::<serde_json::Value>().await?["status"] == "stopping");
        Ok(stopping.then(|| leaving.stop()))
    });
    tokio::try_join!(heed, pipeline.stop())?;
    let (accepted, told_to_close): (Vec<_>, Vec<_>) = senders.join_all().await.into_iter().unzip();
    let accepted = accepted.concat();
    assert!(told_to_close.iter().sum::<usize>() > 0, "the last answers say that they are the last");
    let found: i64 = sqlx::query_scalar("SELECT count(*) FROM orders WHERE id = ANY($1)")
        .bind(&accepted)
        .fetch_one(&mut conn)
        .await?;
    assert_eq!(usize::try_from(found)?, accepted.len(), "accepted and not there");
    Ok(())
}
