//! Every 202 is asked for by the id that it gave: the api knows the order, and it has ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use domain::order::status::OrderStatus;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::load::Connection;

/// As many as the api has connections for reads by default.
const CONNECTIONS: usize = 8;

/// What came of the asking.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Asked {
    pub(super) asked: u64,
    /// Not there.
    pub(super) missing: u64,
    /// There, and not at an end.
    pub(super) unfinished: u64,
}

#[derive(Deserialize)]
struct Order {
    id: Uuid,
    status: OrderStatus,
}

/// Asks for each.
pub(super) async fn ask_each(addr: SocketAddr, token: &str, ids: Vec<Uuid>) -> Result<Asked> {
    let shown = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
    let (ids, shown) = (Arc::new(ids), Arc::<str>::from(shown));
    let next = Arc::new(AtomicUsize::new(0));
    let mut asking = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (ids, next, shown) = (Arc::clone(&ids), Arc::clone(&next), Arc::clone(&shown));
        asking.spawn(async move {
            let mut connection = Connection::open(addr).await?;
            let mut sum = Asked::default();
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                if connection.is_closing() {
                    connection = Connection::open(addr).await?;
                }
                let found = ask(&mut connection, addr, &shown, *id).await?;
                sum.asked += 1;
                sum.missing += u64::from(found.is_none());
                let unfinished = [OrderStatus::Pending, OrderStatus::PaymentProcessing];
                sum.unfinished += u64::from(found.is_some_and(|status| unfinished.contains(&status)));
            }
            anyhow::Ok(sum)
        });
    }
    let mut all = Asked::default();
    while let Some(sum) = asking.join_next().await {
        let sum = sum.context("a task panicked")??;
        all.asked += sum.asked;
        all.missing += sum.missing;
        all.unfinished += sum.unfinished;
    }
    Ok(all)
}

async fn ask(
    connection: &mut Connection,
    addr: SocketAddr,
    shown: &str,
    id: Uuid,
) -> Result<Option<OrderStatus>> {
    let request = format!("GET /api/v1/orders/{id} HTTP/1.1\r\nhost: {addr}\r\n{shown}\r\n");
    let answer = connection.ask(request.as_bytes()).await?;
    if answer.status == 404 {
        return Ok(None);
    }
    anyhow::ensure!(answer.status == 200, "order {id}: the api answered {}", answer.status);
    let order: Order = serde_json::from_slice(answer.body)?;
    Ok((order.id == id).then_some(order.status))
}
