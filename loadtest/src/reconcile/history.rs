//! The history: each order's events, read in their order, lead by legal moves to where the order stands.

use anyhow::Result;
use futures_util::TryStreamExt;
use shared::order::OrderStatus;
use sqlx::PgConnection;
use uuid::Uuid;

use super::orders::Orders;
use super::{Invariant, Report};

type EventRow = (Uuid, i32, Option<OrderStatus>, OrderStatus);

/// The last event seen.
struct Last {
    order: Uuid,
    version: i32,
    status: OrderStatus,
}

/// Reads all events and checks them; leaves their number with each order.
pub(super) async fn check(conn: &mut PgConnection, orders: &mut Orders, report: &mut Report) -> Result<()> {
    let mut rows = sqlx::query_as::<_, EventRow>(
        "SELECT order_id, version, from_status, to_status FROM order_events ORDER BY order_id, version",
    )
    .fetch(conn);
    let mut last: Option<Last> = None;
    while let Some((order, version, from, to)) = rows.try_next().await? {
        if let Some(ended) = last.take_if(|last| last.order != order) {
            end(&ended, orders, report);
        }
        let legal = from.map_or_else(|| to == begins_at(orders, order), |from| from.may_become(to));
        report.check(Invariant::HistoryLegal, legal, || {
            format!("order {order} version {version}: {} -> {}", name(from), to.as_str())
        });
        let (expected_version, expected_from) =
            last.as_ref().map_or((1, None), |last| (last.version + 1, Some(last.status)));
        let joined = version == expected_version && from == expected_from;
        report.check(Invariant::HistoryWhole, joined, || {
            let (from, expected) = (name(from), name(expected_from));
            format!(
                "order {order}: version {version} from {from}, expected {expected_version} from {expected}"
            )
        });
        last = Some(Last { order, version, status: to });
        if let Some(order) = orders.get_mut(order) {
            order.events += 1;
        }
    }
    if let Some(ended) = last {
        end(&ended, orders, report);
    }
    Ok(())
}

/// Where an order begins: one whose channel took the money waits for no charge.
fn begins_at(orders: &mut Orders, order: Uuid) -> OrderStatus {
    match orders.get_mut(order) {
        Some(order) if order.paid_elsewhere => OrderStatus::Confirmed,
        _ => OrderStatus::Pending,
    }
}

/// The last event of an order must be where it stands.
fn end(last: &Last, orders: &mut Orders, report: &mut Report) {
    let Last { order: id, status, .. } = last;
    let order = orders.get_mut(*id);
    report.check(Invariant::RowsBelong, order.is_some(), || format!("events of order {id}, which is not"));
    if let Some(order) = order {
        report.check(Invariant::HistoryWhole, order.status == *status, || {
            format!("order {id} is {}, its last event says {}", order.status.as_str(), status.as_str())
        });
    }
}

fn name(status: Option<OrderStatus>) -> &'static str {
    status.map_or("nothing", OrderStatus::as_str)
}
