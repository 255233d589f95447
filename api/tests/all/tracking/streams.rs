//! Streams of events: from wherever one stood, without a gap and without anything twice, for those who may, as many as there are
//! places for.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use testbed::people::{of, token_until};
use testbed::{Client, Options, Pipeline, TestDatabase, Via, until};
use uuid::Uuid;

use super::{cancel, header, versions};
use crate::api;
use crate::people::{PASSWORD, ask, embedded_settings, log_in, register, text};

/// A stream as it is read.
struct Stream {
    answer: Response,
    read: String,
    /// Of the last event.
    id: String,
}

impl Stream {
    async fn open(client: &Client, path: &str, last: &str, token: &str) -> Result<Self> {
        let answer = open(client, path, last, token).await?;
        ensure!(answer.status() == 200, "{}", answer.text().await?);
        ensure!(header(&answer, "content-type")? == "text/event-stream");
        Ok(Self { answer, read: String::new(), id: String::new() })
    }

    /// The next event's data; `None`: the stream has ended. Signs of life are none.
    async fn next(&mut self) -> Result<Option<Value>> {
        tokio::time::timeout(Duration::from_secs(20), self.read_on()).await.context("nothing came")?
    }

    async fn read_on(&mut self) -> Result<Option<Value>> {
        loop {
            if let Some((frame, rest)) = self.read.split_once("\n\n") {
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
                let (data, id) = (field("data: ").map(serde_json::from_str), field("id: "));
                self.id = id.unwrap_or(&self.id).to_owned();
                self.read = rest.to_owned();
                if let Some(data) = data {
                    return Ok(Some(data?));
                }
                continue;
            }
            match self.answer.chunk().await? {
                Some(more) => self.read += std::str::from_utf8(&more)?,
                None => return Ok(None),
            }
        }
    }

    async fn take(&mut self, count: usize) -> Result<Vec<Value>> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await?.context("it has ended")?);
        }
        Ok(events)
    }
}

async fn open(client: &Client, path: &str, last: &str, token: &str) -> Result<Response> {
    let request = client.http.get(format!("{}/api/v1/orders/{path}", client.api)).bearer_auth(token);
    Ok(request.header("last-event-id", last).send().await?)
}

fn told(version: i64, status: &str) -> (i64, String) {
    (version, status.to_owned())
}

#[tokio::test]
async fn whoever_watches_an_order_sees_each_change_once_and_resumes_where_they_were() -> Result<()> {
    let database = TestDatabase::new().await?;
    let pipeline = Pipeline::start(&database, Options::new(Via::InProcess)).await?;
    let (client, customer) = (&pipeline.client, of("customer:customer_123")?);
    let order = client.order(&Client::an_order()).await?;
    let path = format!("{order}/events");
    let mut stream = Stream::open(client, &path, "", &customer).await?;
    let mut beside = Stream::open(client, &path, "", &customer).await?;
    let first = stream.take(3).await?;
    let paid = [told(1, "PENDING"), told(2, "PAYMENT_PROCESSING"), told(3, "CONFIRMED")];
    assert_eq!(versions(&first, order), paid);
    assert_eq!(versions(&beside.take(3).await?, order), paid, "as many as want to");
    // Gone in the middle of it, while something happens.
    let last = std::mem::take(&mut stream.id);
    assert_eq!(last, "3");
    drop(stream);
    cancel(client, order).await?;
    let mut again = Stream::open(client, &path, &last, &customer).await?;
    let refunded = [told(4, "CANCELLED"), told(5, ""), told(6, "")];
    assert_eq!(versions(&again.take(3).await?, order), refunded);
    assert_eq!(versions(&beside.take(3).await?, order), refunded);
    // From before the settlement's second event.
    let mut between = Stream::open(client, &path, "2", &customer).await?;
    assert_eq!(versions(&between.take(1).await?, order), [told(3, "CONFIRMED")]);

    for (path, token, status) in [
        (path.clone(), of("customer:eve")?, StatusCode::NOT_FOUND),
        (format!("{}/events", Uuid::now_v7()), of("staff:bo")?, StatusCode::NOT_FOUND),
        (format!("{path}?after=x"), customer.clone(), StatusCode::UNPROCESSABLE_ENTITY),
        ("events".to_owned(), customer, StatusCode::FORBIDDEN),
    ] {
        assert_eq!(open(client, &path, "", &token).await?.status(), status, "{path}");
    }
    // A stop ends every stream, and no stream holds up a stop.
    tokio::time::timeout(Duration::from_secs(20), pipeline.stop()).await??;
    while beside.next().await?.is_some() {}
    Ok(())
}

#[tokio::test]
async fn the_restaurant_watches_all_orders_and_resumes_by_a_cursor() -> Result<()> {
    let (_database, pipeline) = api().await?;
    let (client, staff) = (&pipeline.client, of("staff:bo")?);
    let before = client.order(&Client::an_order()).await?;
    let mut stream = Stream::open(client, "events?after=earliest", "", &staff).await?;
    assert_eq!(versions(&stream.take(1).await?, before), [told(1, "PENDING")]);
    let order = client.order(&Client::an_order()).await?;
    assert_eq!(versions(&stream.take(1).await?, order), [told(1, "PENDING")]);
    let last = std::mem::take(&mut stream.id);
    drop(stream);
    for order in [order, before] {
        cancel(client, order).await?;
    }
    let mut again = Stream::open(client, "events?types=order.moved", &last, &staff).await?;
    let events = again.take(2).await?;
    for order in [order, before] {
        assert_eq!(versions(&events, order), [told(2, "CANCELLED")]);
    }
    pipeline.stop().await
}

#[tokio::test]
async fn those_who_wait_have_places_of_their_own_and_give_them_back() -> Result<()> {
    let database = TestDatabase::new().await?;
    let mut options = Options { with_worker: false, ..Options::new(Via::InProcess) };
    options.api.api_streams = 2;
    let pipeline = Pipeline::start(&database, options).await?;
    let (client, staff) = (&pipeline.client, of("staff:bo")?);
    let order = client.order(&Client::an_order()).await?;
    let path = format!("{order}/events");
    let mut first = Stream::open(client, &path, "", &staff).await?;
    let _second = Stream::open(client, "events", "", &staff).await?;
    let third = open(client, &path, "", &staff).await?;
    assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
    header(&third, "retry-after")?;
    client.order(&Client::an_order()).await?;
    first.take(1).await?;
    drop(first);
    until("the place is free again", async || {
        Ok((open(client, &path, "", &staff).await?.status() == 200).then_some(()))
    })
    .await?;
    pipeline.stop().await
}

#[tokio::test]
async fn no_customer_has_more_streams_than_screens() -> Result<()> {
    let (_database, api) = api().await?;
    let (ann, bob) = (of("customer:ann")?, of("customer:bob")?);
    let mut order = Client::an_order();
    let mut paths = Vec::new();
    for who in ["ann", "bob"] {
        order["customer_id"] = who.into();
        let placed: Value = api.client.post(&order).await?.json().await?;
        paths.push(format!("{}/events", placed["id"].as_str().context("an id")?));
    }
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(Stream::open(&api.client, &paths[0], "0", &ann).await?);
    }
    let more = open(&api.client, &paths[0], "0", &ann).await?;
    assert_eq!(more.status(), StatusCode::SERVICE_UNAVAILABLE);
    held.push(Stream::open(&api.client, &paths[1], "0", &bob).await?);
    held.remove(0);
    until("the place is free", async || {
        let again = open(&api.client, &paths[0], "0", &ann).await?;
        Ok((again.status() == 200).then_some(()))
    })
    .await?;
    drop(held);
    api.stop().await
}

/// How soon what was ended must be over everywhere: as for requests.
const OVER_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_stream_ends_when_its_token_is_ended_at_whichever_api_and_those_of_others_go_on() -> Result<()> {
    let database = TestDatabase::new().await?;
    let options = embedded_settings(Options { with_worker: false, ..Options::new(Via::InProcess) })?;
    let (here, there) =
        (Pipeline::start(&database, options.clone()).await?, Pipeline::start(&database, options).await?);
    let password = api::identity::bootstrap::make_admin(&database.database(), "root@example.com").await?;
    let root = log_in(&here, "root@example.com", &password).await?;
    let root = text(&root, "access_token")?;
    let maria = register(&here, "maria@example.com").await?;
    let (first, second) = (
        log_in(&here, "maria@example.com", PASSWORD).await?,
        log_in(&here, "maria@example.com", PASSWORD).await?,
    );
    let (one, other) = (text(&first, "access_token")?, text(&second, "access_token")?);
    let made = ask(&here, Method::POST, "/service-tokens", root, Some(json!({"name": "board"}))).await?;
    let made: Value = made.json().await?;
    let machine = text(&made, "token")?;
    for token in [one, other, machine] {
        until("it is known there", async || {
            Ok((ask(&there, Method::GET, "/auth/me", token, None).await?.status() == 200).then_some(()))
        })
        .await?;
    }
    let mut order = Client::an_order();
    order["customer_id"] = maria["id"].clone();
    let placed: Value = ask(&there, Method::POST, "/orders", other, Some(order)).await?.json().await?;
    let order: Uuid = text(&placed, "id")?.parse()?;
    let path = format!("{order}/events");
    let mut ended = Stream::open(&there.client, &path, "", one).await?;
    let mut goes_on = Stream::open(&there.client, &path, "", other).await?;
    let mut board = Stream::open(&there.client, "events?after=earliest", "", machine).await?;
    for stream in [&mut ended, &mut goes_on, &mut board] {
        assert_eq!(versions(&stream.take(1).await?, order), [told(1, "PENDING")]);
    }

    let out = json!({"refresh_token": text(&first, "refresh_token")?});
    assert!(ask(&here, Method::POST, "/auth/logout", "", Some(out)).await?.status().is_success());
    assert_eq!(tokio::time::timeout(OVER_WITHIN, ended.next()).await.context("it goes on")??, None);
    let path_of_it = format!("/service-tokens/{}", text(&made, "id")?);
    assert_eq!(ask(&here, Method::DELETE, &path_of_it, root, None).await?.status(), 204);
    assert_eq!(tokio::time::timeout(OVER_WITHIN, board.next()).await.context("it goes on")??, None);

    // Another login of the same person is none of it.
    let path = format!("/orders/{order}/cancel");
    assert_eq!(ask(&there, Method::POST, &path, other, Some(json!({}))).await?.status(), 200);
    assert_eq!(versions(&goes_on.take(1).await?, order), [told(2, "CANCELLED")]);
    here.stop().await?;
    there.stop().await
}

#[tokio::test]
async fn a_stream_ends_when_its_token_has_run_out_and_the_next_token_goes_on_where_it_was() -> Result<()> {
    let (_database, api) = api().await?;
    let client = &api.client;
    let order = client.order(&Client::an_order()).await?;
    let path = format!("{order}/events");
    // What is over a moment ago is good for five seconds more: clocks differ.
    let mut stream = Stream::open(client, &path, "", &token_until("bo", "staff", 0)?).await?;
    assert_eq!(versions(&stream.take(1).await?, order), [told(1, "PENDING")]);
    assert_eq!(stream.next().await?, None);
    cancel(client, order).await?;
    let mut again = Stream::open(client, &path, &stream.id, &of("staff:bo")?).await?;
    assert_eq!(versions(&again.take(1).await?, order), [told(2, "CANCELLED")]);
    api.stop().await
}
