//! One order is one trace, whichever way it goes; and without a collector there are none, and nothing is slower or
//! fails because of one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use runtime::serve::{ServeLimits, serve};
use runtime::tasks::Stop;
use serde_json::{Value, json};
use testbed::{Client, Options, Pipeline, TestDatabase, TestQueue, Via, until};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::processes::Processes;
use crate::program::{Program, client};
use crate::settled;
use crate::sink::{Seen, Sink};

/// Every step of an order that all goes well with, and what caused it.
const STEPS: [(&str, &str); 5] = [
    ("commit", "accept"),
    ("publish", "accept"),
    ("claim", "publish"),
    ("charge", "claim"),
    ("settle", "charge"),
];

/// A trace that a client began: its id, its span's, and the header.
fn begun(sampled: bool) -> (String, String, String) {
    let trace = Uuid::new_v4().simple().to_string();
    let span = trace[..16].to_owned();
    let header = format!("00-{trace}-{span}-0{}", u8::from(sampled));
    (trace, span, header)
}

/// Sends the README's order with these headers.
async fn post_with(client: &Client, headers: &[(&str, &str)]) -> Result<reqwest::Response> {
    let mut request = client.http.post(format!("{}/api/v1/orders", client.api)).json(&Client::an_order());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.send().await?)
}

fn header<'r>(response: &'r reqwest::Response, name: &str) -> Option<&'r str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

/// A busy machine must not make the sweep find what these tests send by message, or a charge doubtful.
const PATIENT_API: (&str, &str) = ("PUBLISH_GRACE_SECONDS", "60");
const PATIENT_WORKER: [(&str, &str); 2] = [("GATEWAY_TIMEOUT_SECONDS", "10"), ("LEASE_SECONDS", "30")];

async fn until_broker_is_up(client: &Client) -> Result<()> {
    until("the api is connected to the broker", async || {
        Ok((client.get("/ready").await?["broker"] == "up").then_some(()))
    })
    .await
}

async fn whole(sink: &Sink, trace: &str, parent: &str) -> Result<HashMap<String, Seen>> {
    let spans = sink.trace(trace, &["accept", "commit", "publish", "claim", "charge", "settle"]).await?;
    assert_eq!(spans.len(), 6, "{spans:#?}");
    assert_eq!(spans["accept"].parent, parent);
    for (step, cause) in STEPS {
        assert_eq!(spans[step].parent, spans[cause].id, "{step} follows from {cause}");
    }
    for span in spans.values() {
        assert!(span.begun <= span.ended, "{span:?}");
    }
    assert!(spans["accept"].begun <= spans["claim"].ended && spans["claim"].begun <= spans["settle"].begun);
    Ok(spans)
}

/// A line of a program's log that has both of these in it.
async fn line(program: &Program, one: &str, other: &str) -> Result<String> {
    until(&format!("a line says {one} and {other}"), async || {
        let said = program.said();
        Ok(said.lines().find(|line| line.contains(one) && line.contains(other)).map(str::to_owned))
    })
    .await
}

#[tokio::test]
async fn an_order_is_one_trace_from_its_request_to_its_settlement() -> Result<()> {
    let sink = Sink::start().await?;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url.as_str());
    let processes = Processes::with(
        &[("LOG_LEVEL", "info,gateway_mock=debug"), ("PAYMENT_MOCK_SUCCESS_RATE", "1")],
        &[&PATIENT_WORKER[..], &[endpoint, ("LOG_LEVEL", "info,worker=debug"), ("LOG_FORMAT", "json")]]
            .concat(),
        &[endpoint, PATIENT_API, ("LOG_LEVEL", "info,api=debug")],
    )
    .await?;
    let client = &processes.client;
    until_broker_is_up(client).await?;
    let (trace, parent, traceparent) = begun(true);
    let response = post_with(client, &[("traceparent", &traceparent), ("x-request-id", "my-own")]).await?;
    assert_eq!(response.status(), 202);
    assert_eq!(header(&response, "x-request-id"), Some("my-own"));
    let returned = header(&response, "traceparent").context("no traceparent came back")?.to_owned();
    let order: Value = response.json().await?;
    let order_id = order["id"].as_str().context("an id")?;

    let spans = whole(&sink, &trace, &parent).await?;
    assert_eq!(returned, format!("00-{trace}-{}-01", spans["accept"].id));
    for (service, steps) in
        [("api", ["accept", "commit", "publish"]), ("worker", ["claim", "charge", "settle"])]
    {
        assert!(steps.iter().all(|step| spans[*step].service == service), "{spans:#?}");
    }
    assert_eq!(spans["accept"].facts["http.response.status_code"], "202");
    assert_eq!(spans["claim"].facts["order_id"], order_id);
    assert_eq!(spans["charge"].facts["outcome"], "succeeded");
    assert_eq!(spans["settle"].facts["outcome"], "moved");
    let told = format!("{spans:?}");
    for private in ["customer_123", "Burger", "30.97", "3097", "USD"] {
        assert!(!told.contains(private), "{private} in {told}");
    }

    // The gateway was asked within the trace, under the client's id; the programs' logs name the trace.
    let asked = format!("traceparent=\"00-{trace}-{}-01\"", spans["charge"].id);
    let asked = line(&processes.gateway, &asked, "what=\"charge\"").await?;
    assert!(asked.contains("request_id=\"my-own\""), "{asked}");
    line(&processes.api, &format!("trace_id={trace}"), "answered").await?;
    let settled_line: Value =
        serde_json::from_str(&line(&processes.worker, &trace, "asked the gateway").await?)?;
    assert_eq!((&settled_line["trace_id"], &settled_line["order"]), (&json!(trace), &json!(order_id)));
    assert_eq!(settled_line["request_id"], "my-own");

    // What is refused has the trace in its body; what is read is a step, too.
    let (trace, parent, traceparent) = begun(true);
    let wrong = client.http.post(format!("{}/api/v1/orders", client.api)).json(&json!({}));
    let wrong = wrong.header("traceparent", &traceparent).send().await?;
    assert_eq!(
        (wrong.status().as_u16(), wrong.json::<Value>().await?["trace_id"].as_str()),
        (422, Some(&*trace))
    );
    let spans = sink.trace(&trace, &["accept"]).await?;
    assert_eq!((spans.len(), &spans["accept"].parent), (1, &parent));
    let (trace, _, traceparent) = begun(true);
    let read = client.http.get(format!("{}/api/v1/orders/{order_id}", client.api));
    assert_eq!(read.header("traceparent", &traceparent).send().await?.status(), 200);
    sink.trace(&trace, &["read"]).await?;
    // What staff and customers do with it; and an order of a channel is accepted like any other.
    let (trace, parent, traceparent) = begun(true);
    let cancel = client.http.post(format!("{}/api/v1/orders/{order_id}/cancel", client.api));
    assert_eq!(cancel.header("traceparent", &traceparent).send().await?.status(), 200);
    let spans = sink.trace(&trace, &["move"]).await?;
    assert_eq!((&spans["move"].parent, spans["move"].facts.len()), (&parent, 3));
    let (trace, _, traceparent) = begun(true);
    let url = format!("{}/api/v1/channels/dish/orders", client.api);
    let document = json!({"channelOrderId": "1", "customer": {"name": "Ada Byron"},
        "items": [{"name": "Tea", "plu": "T", "quantity": 1, "price": 2.5}]});
    let posted = client.http.post(url).header("traceparent", &traceparent).json(&document).send().await?;
    assert_eq!(posted.status(), 202);
    let spans = sink.trace(&trace, &["accept", "commit", "publish", "claim", "charge", "settle"]).await?;
    assert!(!format!("{spans:?}").contains("Ada"), "{spans:?}");
    processes.stop().await
}

#[tokio::test]
async fn orders_that_share_commits_and_messages_keep_their_own_traces() -> Result<()> {
    let sink = Sink::start().await?;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url.as_str());
    let gateway = [
        ("PAYMENT_MOCK_SUCCESS_RATE", "1"),
        ("PAYMENT_MOCK_LATENCY_MAX", "50"),
        ("LOG_LEVEL", "info,gateway_mock=debug"),
    ];
    let worker = [&PATIENT_WORKER[..], &[endpoint]].concat();
    let processes = Processes::with(&gateway, &worker, &[endpoint, PATIENT_API]).await?;
    until_broker_is_up(&processes.client).await?;
    let mut sent = tokio::task::JoinSet::new();
    for number in 0..120 {
        let client = processes.client.clone();
        sent.spawn(async move {
            // One in four that its client does not record, one in four without a trace of the client's.
            let (trace, parent, header) = begun(number % 4 != 1);
            let headers = [("traceparent", header.as_str())];
            let response = post_with(&client, if number % 4 == 2 { &[] } else { &headers }).await?;
            ensure!(response.status() == 202);
            let given = response.headers()["traceparent"].to_str()?[3..35].to_owned();
            anyhow::Ok(match number % 4 {
                1 => (number, trace, parent),
                2 => (number, given, String::new()),
                _ => (number, trace, parent),
            })
        });
    }
    while let Some(done) = sent.join_next().await {
        let (number, trace, parent) = done??;
        if number % 4 != 1 {
            whole(&sink, &trace, &parent).await?;
        }
    }
    assert_eq!(settled(processes.database.url(), &processes.client, None).await?, 120);
    let traces: std::collections::HashSet<_> = sink.seen().into_iter().map(|span| span.trace).collect();
    assert_eq!(traces.len(), 90, "what a client does not record, we do not");
    processes.stop().await
}

#[tokio::test]
async fn an_order_that_the_sweep_finds_begins_a_trace_that_names_it() -> Result<()> {
    let sink = Sink::start().await?;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url.as_str());
    let no_broker = ("AMQP_URL", "amqp://127.0.0.1:1");
    let processes =
        Processes::with(&[], &[endpoint], &[endpoint, no_broker, ("PUBLISH_GRACE_SECONDS", "0.3")]).await?;
    let (trace, _, traceparent) = begun(true);
    let response = post_with(&processes.client, &[("traceparent", &traceparent)]).await?;
    let order: Value = response.json().await?;
    let swept = until("the sweep told of it", async || {
        let of_order = |span: &Seen| span.name == "sweep" && order["id"] == json!(span.facts["order_id"]);
        Ok(sink.seen().into_iter().find(of_order))
    })
    .await?;
    assert_ne!(swept.trace, trace);
    assert_eq!(swept.parent, "");
    let spans = sink.trace(&swept.trace, &["sweep", "charge", "settle"]).await?;
    assert_eq!(
        (spans.len(), &spans["charge"].parent, &spans["settle"].parent),
        (3, &swept.id, &spans["charge"].id)
    );
    assert_eq!(sink.trace(&trace, &["accept", "commit"]).await?.len(), 2);
    processes.stop().await
}

#[tokio::test]
async fn the_one_command_program_makes_the_same_trace() -> Result<()> {
    let (sink, database, data) = (Sink::start().await?, TestDatabase::new().await?, tempfile::tempdir()?);
    let mut program = Program::start(
        "standalone",
        &[
            ("API_ADDR", "127.0.0.1:0"),
            ("GATEWAY_MOCK_ADDR", "127.0.0.1:0"),
            ("DATABASE_URL", database.url()),
            ("COMANDA_DATA_DIR", data.path().to_str().unwrap()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url),
            ("OTEL_SERVICE_NAME", "my-kitchen"),
            PATIENT_API,
            PATIENT_WORKER[0],
            PATIENT_WORKER[1],
        ],
    )?;
    let api = program.says("orders    ").await?;
    let gateway = program.says("gateway   ").await?;
    let client = client(&api, &gateway)?;
    until_broker_is_up(&client).await?;
    let (trace, parent, traceparent) = begun(true);
    assert_eq!(post_with(&client, &[("traceparent", &traceparent)]).await?.status(), 202);
    let spans = whole(&sink, &trace, &parent).await?;
    assert!(spans.values().all(|span| span.service == "my-kitchen"));
    // What was not sent yet at the stop is sent at the stop.
    let (last, _, traceparent) = begun(true);
    assert_eq!(post_with(&client, &[("traceparent", &traceparent)]).await?.status(), 202);
    program.stop().await?;
    sink.trace(&last, &["accept"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_collector_that_is_away_or_hangs_disturbs_nothing() -> Result<()> {
    let away = {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        format!("http://{}", listener.local_addr()?)
    };
    // Connections are made, by the kernel, and nobody answers.
    let hanging = TcpListener::bind("127.0.0.1:0").await?;
    let hangs = format!("http://{}", hanging.local_addr()?);
    for url in [away.as_str(), &hangs] {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", url);
        let processes =
            Processes::with(&[("PAYMENT_MOCK_LATENCY_MAX", "50")], &[endpoint], &[endpoint]).await?;
        let ids = processes.client.orders(200, 32).await?;
        assert_eq!(ids.len(), 200);
        assert_eq!(settled(processes.database.url(), &processes.client, None).await?, 200);
        if url == away {
            for program in [&processes.api, &processes.worker] {
                line(program, "WARN", "cannot send traces").await?;
                assert_eq!(program.said().matches("cannot send traces").count(), 1, "said once");
            }
        }
        let stopping = Instant::now();
        processes.stop().await?;
        assert!(stopping.elapsed() < Duration::from_secs(12), "{:?}", stopping.elapsed());
    }
    Ok(())
}

/// What a gateway was asked with.
type Asked = Arc<Mutex<Vec<HeaderMap>>>;

/// A gateway that declines everything and keeps the headers.
async fn keeping_gateway(stop: Stop) -> Result<(String, Asked)> {
    let asked = Asked::default();
    let keep = Arc::clone(&asked);
    let decline = async move |headers: HeaderMap| {
        keep.lock().unwrap().push(headers);
        (StatusCode::PAYMENT_REQUIRED, Json(json!({"code": "card_declined", "message": "no"})))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let app = Router::new().route("/v1/charges", post(decline));
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(serve(listener, app, ServeLimits::default(), stop));
    Ok((url, asked))
}

#[tokio::test]
async fn without_a_collector_ids_go_to_the_gateway_as_they_came_and_no_trace_is_made() -> Result<()> {
    for via in [Via::InProcess, Via::RabbitMq(TestQueue::new()?)] {
        let (database, stop) = (TestDatabase::new().await?, Stop::new());
        let (url, asked) = keeping_gateway(stop.clone()).await?;
        let mut options = Options { gateway: Some(url), ..Options::new(via) };
        options.api.publish_grace = Duration::from_secs(60);
        let pipeline = Pipeline::start(&database, options).await?;
        let client = &pipeline.client;
        until_broker_is_up(client).await?;
        let (_, _, traceparent) = begun(true);
        let garbage = [("traceparent", "00-nonsense"), ("x-request-id", "two words")];
        for (headers, trace, id) in [
            (vec![("traceparent", &*traceparent), ("x-request-id", "a,b")], Some(&*traceparent), Some("a,b")),
            (vec![], None, None),
            (garbage.to_vec(), None, None),
        ] {
            let response = post_with(client, &headers).await?;
            assert_eq!(response.status(), 202);
            assert_eq!(header(&response, "traceparent"), trace);
            let returned = header(&response, "x-request-id").context("no id")?.to_owned();
            let order: Value = response.json().await?;
            assert_eq!(returned, id.unwrap_or_else(|| order["id"].as_str().unwrap()));
            client.until_status(order["id"].as_str().unwrap().parse()?, "PAYMENT_FAILED").await?;
            let sent = asked.lock().unwrap().pop().context("the gateway was not asked")?;
            assert_eq!(sent["x-request-id"], returned);
            assert_eq!(sent.get("traceparent").and_then(|value| value.to_str().ok()), trace);
        }
        let contract = client.get("/openapi.json").await?;
        let post = &contract["paths"]["/api/v1/orders"]["post"];
        let taken = post["parameters"].as_array().context("parameters")?;
        for name in ["X-Request-Id", "traceparent"] {
            assert!(taken.iter().any(|one| one["name"] == name && one["in"] == "header"), "{taken:?}");
            assert!(post["responses"]["202"]["headers"][name].is_object(), "{post}");
        }
        assert!(contract["components"]["schemas"]["ProblemBody"]["properties"]["trace_id"].is_object());
        let missing = client.http.get(format!("{}/nowhere", client.api)).send().await?;
        assert!(missing.json::<Value>().await?.get("trace_id").is_none(), "no trace, no id of one");
        pipeline.stop().await?;
        stop.stop();
    }
    Ok(())
}
