//! Pages of refunds, newest first. As with orders no page costs more than a bounded look: where not each refund matches, so many
//! are looked at, and the answer says where that ended. Those that are not final have an index of their own: what waits for a
//! person is found at once, however many refunds there were.

use domain::money::Money;
use domain::payment::PaymentStatus;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{MAX_SCATTERED, PageStart, rows};
use crate::read::money;

/// A refund and how far it got.
#[derive(Debug, Clone)]
pub struct Refund {
    /// Its id, and the gateway's idempotency key.
    pub id: Uuid,
    /// The order that it is for.
    pub order_id: Uuid,
    /// The charge that it gives back.
    pub charge_id: Uuid,
    /// The client's name for that charge.
    pub payment_reference: Option<String>,
    /// How much.
    pub amount: Money,
    /// Why: `rejected`, `cancelled`, `accept_deadline`, `late_capture`, ..
    pub reason: String,
    /// Where it stands.
    pub status: PaymentStatus,
    /// The gateway's last answer was no. It is asked again, slowly, and somebody should find out why.
    pub refused: bool,
    /// Tries made.
    pub attempts: i32,
    /// The code of the last try that was answered, where it did not succeed.
    pub code: Option<String>,
    /// Since when it is there.
    pub created_at: OffsetDateTime,
    /// When it is looked at again; `None` once it is final.
    pub due_at: Option<OffsetDateTime>,
}

/// Which refunds to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundFilter {
    /// All.
    All,
    /// Those that stand here.
    At(PaymentStatus),
    /// Those that are not final, and that the gateway refused at the last try.
    Refused,
}

/// Some of the refunds that match.
#[derive(Debug)]
pub struct RefundPage {
    /// Newest first.
    pub refunds: Vec<Refund>,
    /// Behind which refund the next page begins; `None`: this is the last. There may be a next page though this one is not full:
    /// so far was looked.
    pub next: Option<Uuid>,
}

/// Up to `limit` refunds from `start` on; `None`: that is behind no refund.
pub async fn page(
    conn: &mut PgConnection,
    filter: RefundFilter,
    start: PageStart,
    limit: usize,
) -> sqlx::Result<Option<RefundPage>> {
    let (after, passed) = match start {
        PageStart::Offset(offset) => (None, offset),
        PageStart::After(id) => match place(conn, id).await? {
            Some(place) => (Some(place), 0),
            None => return Ok(None),
        },
    };
    // One more than is shown tells whether there is a next page.
    let wanted = passed + limit + 1;
    let most = if filter.is_picky() { MAX_SCATTERED } else { wanted };
    let mut found = find(conn, filter, after, wanted, most).await?;
    let is_full = found.len() == wanted;
    found.drain(..passed.min(found.len()));
    found.truncate(limit);
    let next = if is_full {
        found.last().copied()
    } else if filter.is_picky() {
        last_looked_at(conn, filter, after, most).await?
    } else {
        None
    };
    Ok(Some(RefundPage { refunds: shown(conn, &found).await?, next }))
}

/// Where a refund stands among all.
type Place = (OffsetDateTime, Uuid);

async fn place(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Place>> {
    let found =
        sqlx::query_scalar!("SELECT created_at FROM payments WHERE id = $1 AND refund_of IS NOT NULL", id)
            .fetch_optional(conn)
            .await?;
    Ok(found.map(|created_at| (created_at, id)))
}

impl RefundFilter {
    /// Whether not every refund that is met matches.
    const fn is_picky(self) -> bool {
        !matches!(self, Self::All)
    }

    /// Whether what it looks for is final.
    const fn is_over(self) -> bool {
        matches!(self, Self::All | Self::At(PaymentStatus::Succeeded | PaymentStatus::Failed))
    }
}

/// The newest `most` behind `after`, along the index that has what is looked for.
fn looked_at(query: &mut QueryBuilder<Postgres>, filter: RefundFilter, after: Option<Place>, most: usize) {
    query.push("SELECT id, created_at, status FROM payments WHERE refund_of IS NOT NULL");
    if !filter.is_over() {
        query.push(" AND due_at IS NOT NULL");
    }
    if let Some((created_at, id)) = after {
        query.push(" AND (created_at, id) < (").push_bind(created_at).push(", ").push_bind(id).push(")");
    }
    query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(rows(most));
}

/// Whether the gateway refused refund `p` at its last try.
const IS_REFUSED: &str = "p.status = 'waiting' AND (
    SELECT a.outcome IN ('declined', 'voided', 'refused') FROM payment_attempts a
    WHERE a.payment_id = p.id AND a.outcome IS NOT NULL ORDER BY a.number DESC LIMIT 1)";

/// Up to `wanted` that match, of the newest `most` behind `after`.
async fn find(
    conn: &mut PgConnection,
    filter: RefundFilter,
    after: Option<Place>,
    wanted: usize,
    most: usize,
) -> sqlx::Result<Vec<Uuid>> {
    let mut query = QueryBuilder::new("SELECT id FROM (");
    looked_at(&mut query, filter, after, most);
    query.push(") p WHERE ");
    match filter {
        RefundFilter::All => query.push("true"),
        RefundFilter::At(status) => query.push("p.status = ").push_bind(status),
        RefundFilter::Refused => query.push(IS_REFUSED),
    };
    query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(rows(wanted));
    query.build_query_scalar().fetch_all(conn).await
}

/// The last of the newest `most` behind `after`, if there are so many.
async fn last_looked_at(
    conn: &mut PgConnection,
    filter: RefundFilter,
    after: Option<Place>,
    most: usize,
) -> sqlx::Result<Option<Uuid>> {
    let mut query = QueryBuilder::new("SELECT id FROM (");
    looked_at(&mut query, filter, after, most);
    query.push(") p ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET ").push_bind(rows(most) - 1);
    query.build_query_scalar().fetch_optional(conn).await
}

/// These refunds.
async fn shown(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Refund>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"
        SELECT p.id, p.order_id, p.refund_of AS "charge_id!",
            coalesce(c.reference, d.payment_reference) AS payment_reference, p.amount_minor, p.currency,
            coalesce(p.reason, '') AS "reason!", p.status AS "status: PaymentStatus", p.attempts, p.created_at, p.due_at,
            coalesce(p.status = 'waiting' AND last.outcome IN ('declined', 'voided', 'refused'), false) AS "refused!",
            last.code AS "code?"
        FROM payments p
        LEFT JOIN payments c ON c.id = p.refund_of
        -- Of an order's own charge, which has the order's id.
        LEFT JOIN order_details d ON d.order_id = p.refund_of
        LEFT JOIN LATERAL (
            SELECT a.outcome, a.code FROM payment_attempts a
            WHERE a.payment_id = p.id AND a.outcome IS NOT NULL ORDER BY a.number DESC LIMIT 1) last ON true
        WHERE p.id = ANY($1) ORDER BY p.created_at DESC, p.id DESC
        "#,
        ids
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Refund {
                id: row.id,
                order_id: row.order_id,
                charge_id: row.charge_id,
                payment_reference: row.payment_reference,
                amount: money(row.amount_minor, &row.currency)?,
                reason: row.reason,
                status: row.status,
                refused: row.refused,
                attempts: row.attempts,
                code: row.code,
                created_at: row.created_at,
                due_at: row.due_at,
            })
        })
        .collect()
}
