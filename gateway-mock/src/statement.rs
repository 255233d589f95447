//! What the gateway tells about itself: the ledger in full or in sums, the switches, and that it is alive. All of
//! it answers while the gateway plays down.

use std::iter::once;
use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Gateway;
use crate::books::Books;
use crate::faults::Faults;
use crate::keys::SHARDS;
use crate::problem::{Problem, read_json};
use crate::wire::{AskedAgain, DeclinedKey, LedgerSummary};

/// Rows copied under one lock and sent as one piece: some 100 KB, for which a charge may have to wait some tens of
/// microseconds.
const ROWS_A_PIECE: usize = 512;

/// What `GET /v1/ledger` may be asked.
#[derive(Debug, Deserialize)]
pub(crate) struct LedgerQuery {
    /// How many charges, of the oldest, to leave out: what a summary counted before a run is not of that run.
    #[serde(default)]
    charges_from: usize,
}

/// `GET /v1/ledger`. Streamed in pieces: a million charges need no memory here, and hold up nobody. Rows are only
/// ever added, so those that stood in the books when the request came make one consistent picture.
pub(crate) async fn ledger(
    State(gateway): State<Arc<Gateway>>,
    query: Result<Query<LedgerQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query
        .map_err(|_| Problem::unprocessable("query_invalid", "charges_from must be a number of rows"))?;
    let requests = serde_json::to_string(&gateway.ledger.requests()).map_err(|_| Problem::internal())?;
    let [charges, refunds, voided, declined] = lengths(&gateway.ledger.books());
    let charges = pieces(
        &gateway,
        query.charges_from.min(charges)..charges,
        |books, rows| books.charges[rows].to_vec(),
        |row, charge| charge.receipt(row),
    );
    let refunds = pieces(
        &gateway,
        0..refunds,
        |books, rows| books.refunds[rows].to_vec(),
        |row, refund| refund.receipt(row),
    );
    let voided = pieces(&gateway, 0..voided, |books, rows| books.voided[rows].to_vec(), |_, key| key);
    let declined = pieces(
        &gateway,
        0..declined,
        |books, rows| books.declined[rows].to_vec(),
        |_, (key, code)| DeclinedKey { key: key.to_string(), code: code.words().0.to_owned() },
    );
    let gateway_names = gateway.ledger.named();
    let again = move |shard| gateway.ledger.charge_keys.asked_again(shard).into_iter();
    let asked_again = (0..SHARDS).map(move |shard| {
        again(shard).map(|(key, requests)| AskedAgain { key: key.to_string(), requests }).collect()
    });
    let body = once(format!(r#"{{"requests":{requests}"#).into_bytes())
        .chain(list("charges", charges))
        .chain(list("refunds", refunds))
        .chain(list("voided", voided))
        .chain(list("declined", declined))
        .chain(list("asked_again", asked_again))
        .chain(list("named", once(gateway_names)))
        .chain(once(b"}".to_vec()))
        .filter(|piece| !piece.is_empty())
        .map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(stream::iter(body))).into_response())
}

/// `GET /v1/ledger/summary`.
pub(crate) async fn summary(State(gateway): State<Arc<Gateway>>) -> Json<LedgerSummary> {
    let requests = gateway.ledger.requests();
    let books = gateway.ledger.books();
    let [charges, refunds, voided, declined] = lengths(&books).map(|length| length as u64);
    Json(LedgerSummary { requests, charges, refunds, voided, declined, totals: books.totals() })
}

/// `GET /v1/faults`.
pub(crate) async fn faults(State(gateway): State<Arc<Gateway>>) -> Json<Faults> {
    Json(gateway.faults())
}

/// `PUT /v1/faults`: sets what the body names, all of it or (422) nothing, and answers all switches.
pub(crate) async fn set_faults(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Result<Json<Faults>, Problem> {
    let Value::Object(patch) = read_json(request).await? else {
        return Err(Problem::unprocessable("faults_invalid", "must be a JSON object of switches"));
    };
    let faults =
        gateway.set_faults(patch).map_err(|wrong| Problem::unprocessable("faults_invalid", wrong))?;
    tracing::info!(faults = serde_json::to_string(&faults).unwrap_or_default(), "faults set");
    Ok(Json(faults))
}

/// `GET /health`: alive, also while playing down.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

fn lengths(books: &Books) -> [usize; 4] {
    [books.charges.len(), books.refunds.len(), books.voided.len(), books.declined.len()]
}

/// These rows, copied piece by piece as they are asked for, and shown outside the lock.
fn pieces<Row, Shown: Serialize>(
    gateway: &Arc<Gateway>,
    rows: Range<usize>,
    copy: fn(&Books, Range<usize>) -> Vec<Row>,
    show: fn(u32, Row) -> Shown,
) -> impl Iterator<Item = Vec<Shown>> + use<Row, Shown> {
    let gateway = Arc::clone(gateway);
    let end = rows.end;
    rows.step_by(ROWS_A_PIECE).map(move |from| {
        let rows = copy(&gateway.ledger.books(), from..end.min(from + ROWS_A_PIECE));
        // The books number their rows with 32 bits, so no row is lost here.
        (u32::try_from(from).unwrap_or(u32::MAX)..).zip(rows).map(|(row, copied)| show(row, copied)).collect()
    })
}

/// `,"name":[...]`, as bytes, piece by piece.
fn list<Row: Serialize>(
    name: &'static str,
    pieces: impl Iterator<Item = Vec<Row>>,
) -> impl Iterator<Item = Vec<u8>> {
    let mut first = true;
    let rows = pieces.map(move |piece| {
        let mut bytes = Vec::new();
        for row in piece {
            if !std::mem::take(&mut first) {
                bytes.push(b',');
            }
            serde_json::to_writer(&mut bytes, &row).expect("rows are plain JSON, and memory takes them");
        }
        bytes
    });
    once(format!(r#","{name}":["#).into_bytes()).chain(rows).chain(once(b"]".to_vec()))
}
