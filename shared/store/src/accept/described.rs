//! accept, for a batch in which an order has more than its items: a channel, details, a location whose kitchen has a time of its own,
//! or money that the channel took. Plain
//! batches never come here, and their statement knows nothing of it.

use std::collections::HashSet;
use std::time::Duration;

use domain::channel::name::ChannelKey;
use domain::order::details::NewDetails;
use domain::order::payment_method::{NoCharge, PaymentMethod};
use domain::payment::PaymentKind;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Accept;
use super::columns::{Columns, Written};

/// Writes all of `batch`, plain ones among it, in one transaction, and says which. The others it did
/// not write: their key or their channel's name for them is taken, or an earlier run has written them.
///
/// What a channel calls its orders is reserved first, then the keys: in the same order by everybody, so that two writers
/// cannot wait for each other.
pub(super) async fn insert(
    conn: &mut PgConnection,
    batch: &[&Accept],
    due_in: Duration,
) -> sqlx::Result<Written> {
    let mut tx = conn.begin().await?;
    let written = write(&mut tx, batch, due_in).await?;
    tx.commit().await?;
    Ok(written)
}

/// The same as a part of the caller's transaction.
pub(super) async fn write(
    conn: &mut PgConnection,
    batch: &[&Accept],
    due_in: Duration,
) -> sqlx::Result<Written> {
    let has_any = batch.iter().any(|one| one.order.details.is_some());
    let described = if has_any { describe(conn, batch).await? } else { HashSet::new() };
    let free = |one: &&&Accept| one.order.details.is_none() || described.contains(&one.order.id);
    let wanted: Vec<&Accept> = batch.iter().filter(free).copied().collect();
    let written = insert_orders(conn, &wanted, due_in).await?;
    let fresh: Vec<&Accept> = wanted.into_iter().filter(|one| written.has(one.order.id)).collect();
    set_expiry(conn, &fresh).await?;
    name_own_payments(conn, &fresh).await?;
    mark_named_at_gateway(conn, &fresh).await?;
    let is_orphan = |one: &&Accept| described.contains(&one.order.id) && !written.has(one.order.id);
    let orphans: Vec<&Accept> = batch.iter().copied().filter(is_orphan).collect();
    if !orphans.is_empty() {
        forget_orphans(conn, &orphans).await?;
    }
    Ok(written)
}

/// Of some of these orders, which say so, the charge is called off at a time of its own.
async fn set_expiry(conn: &mut PgConnection, orders: &[&Accept]) -> sqlx::Result<()> {
    let expiring = |one: &&Accept| Some((one.order.payment_id(), one.order.details.as_ref()?.expires_at?));
    let (ids, times): (Vec<Uuid>, Vec<OffsetDateTime>) = orders.iter().filter_map(expiring).unzip();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE open_charges c SET expires_at = i.expires_at
         FROM unnest($1::uuid[], $2::timestamptz[]) AS i(id, expires_at) WHERE c.id = ANY(ARRAY[i.id])",
        &ids,
        &times
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Some of these orders' own payments have names, which no later payment of the order may have.
async fn name_own_payments(conn: &mut PgConnection, orders: &[&Accept]) -> sqlx::Result<()> {
    let named = |one: &&Accept| {
        let reference = one.order.details.as_ref()?.payment.reference.clone()?;
        Some((one.order.payment_id(), reference))
    };
    let (ids, references): (Vec<Uuid>, Vec<String>) = orders.iter().filter_map(named).unzip();
    if ids.is_empty() {
        return Ok(());
    }
    // Each within its order, so that nobody else can have it.
    sqlx::query!(
        "INSERT INTO names (named, kind, scope, name)
         SELECT id, 'payment_reference', id::text, reference FROM unnest($1::uuid[], $2::text[]) AS i(id, reference)",
        &ids,
        &references
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Of some of these orders' charges the gateway has names for what is charged, or for who pays: whoever claims one asks for them.
async fn mark_named_at_gateway(conn: &mut PgConnection, orders: &[&Accept]) -> sqlx::Result<()> {
    let is_named = |one: &&&Accept| {
        one.order.details.as_ref().is_some_and(|details| details.payment.is_named_at_gateway())
    };
    let ids: Vec<Uuid> = orders.iter().filter(is_named).map(|one| one.order.payment_id()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!("UPDATE open_charges SET named = true WHERE id = ANY($1)", &ids)
        .execute(conn)
        .await
        .map(drop)
}

/// Takes back what was written for orders under whose `Idempotency-Key` another one stands. Few, and each name by its whole key:
/// a join of the two could be planned as a walk through all names of all channels.
pub(super) async fn forget_orphans(conn: &mut PgConnection, orphans: &[&Accept]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = orphans.iter().map(|one| one.order.id).collect();
    sqlx::query!("DELETE FROM order_details WHERE order_id = ANY($1)", &ids).execute(&mut *conn).await?;
    for (id, key) in orphans.iter().filter_map(|one| Some((one.order.id, one.channel_key()?))) {
        sqlx::query!(
            "DELETE FROM names WHERE kind = 'channel_order' AND scope = $1 AND name = $2 AND named = $3",
            key.scope(),
            key.order_id,
            id
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Writes what the orders have beside their items, and says for which it did.
async fn describe(conn: &mut PgConnection, batch: &[&Accept]) -> sqlx::Result<HashSet<Uuid>> {
    let detailed: Vec<(Uuid, &NewDetails)> =
        batch.iter().filter_map(|one| Some((one.order.id, one.order.details.as_deref()?))).collect();
    let ids: Vec<Uuid> = detailed.iter().map(|(id, _)| *id).collect();
    let all = || detailed.iter().map(|(_, details)| *details);
    let keys = || all().map(|one| one.key.as_ref());
    let payments = || all().map(|one| &one.payment);
    let elsewhere: Vec<bool> = payments().map(|one| one.method == PaymentMethod::Elsewhere).collect();
    let on_delivery: Vec<bool> =
        all().map(|one| one.uncharged.is_some_and(|one| one.because == NoCharge::OnDelivery)).collect();
    let references: Vec<Option<&str>> = payments().map(|one| one.reference.as_deref()).collect();
    let methods: Vec<Option<&str>> = payments().map(|one| one.gateway_payment_method.as_deref()).collect();
    let customers: Vec<Option<&str>> = payments().map(|one| one.gateway_customer.as_deref()).collect();
    let metadata: Vec<Option<&str>> = all().map(|one| Some(one.metadata.as_ref()?.get())).collect();
    let channels: Vec<Option<String>> =
        keys().map(|key| key.map(|key| key.channel.as_str().to_owned())).collect();
    let scopes: Vec<Option<String>> = keys().map(|key| key.map(ChannelKey::scope)).collect();
    let order_ids: Vec<Option<String>> = keys().map(|key| key.map(|key| key.order_id.clone())).collect();
    let named_ms: Vec<Option<i64>> = keys().map(|key| key?.keep.map(crate::millis)).collect();
    let contents: Vec<Option<Vec<u8>>> = keys().map(|key| key.map(|key| key.content.to_vec())).collect();
    let handovers: Vec<String> = all()
        .map(|one| serde_json::to_string(&one.handover))
        .collect::<Result<_, _>>()
        .map_err(|error| sqlx::Error::Encode(error.into()))?;
    let imported: Vec<Option<String>> =
        all().map(|one| one.imported.as_ref().map(|imported| imported.get().to_owned())).collect();
    let documents: Vec<Option<String>> = all()
        .map(|one| one.document.as_ref().map(serde_json::to_string).transpose())
        .collect::<Result<_, _>>()
        .map_err(|error| sqlx::Error::Encode(error.into()))?;
    let expire: Vec<Option<OffsetDateTime>> = all().map(|one| one.expires_at).collect();
    let wanted: Vec<Option<OffsetDateTime>> = all().map(|one| one.wanted_at).collect();
    let held: Vec<Option<OffsetDateTime>> = all().map(|one| one.held_until).collect();
    let left_out: Vec<Option<String>> = all()
        .map(|one| (!one.left_out.is_empty()).then(|| serde_json::to_string(&one.left_out)).transpose())
        .collect::<Result<_, _>>()
        .map_err(|error| sqlx::Error::Encode(error.into()))?;
    let described = sqlx::query_scalar!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::bool[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[],
                                 $8::timestamptz[], $9::bool[], $10::text[], $11::text[], $12::text[], $13::text[],
                                 $14::bigint[], $15::text[], $16::timestamptz[], $17::timestamptz[], $18::text[], $19::text[])
                AS input(order_id, paid_elsewhere, channel, channel_order_id, content_hash, handover, imported, expires_at,
                         on_delivery, payment_reference, gateway_payment_method, gateway_customer, metadata,
                         named_ms, document, wanted_at, held_until, scope, left_out)
        ), called AS (
            INSERT INTO names (named, until, kind, scope, name, hash)
            SELECT order_id, now() + named_ms * interval '1 ms', 'channel_order', scope, channel_order_id, content_hash
            FROM input WHERE channel IS NOT NULL ORDER BY scope, channel_order_id
            ON CONFLICT (kind, scope, name) DO NOTHING
            RETURNING named
        )
        INSERT INTO order_details (order_id, paid_elsewhere, channel, channel_order_id, handover, imported, expires_at,
                                   on_delivery, payment_reference, gateway_payment_method, gateway_customer, metadata,
                                   named_until, document, wanted_at, held_until, left_out)
        SELECT order_id, paid_elsewhere, channel, channel_order_id, handover::jsonb, imported::json, expires_at,
            on_delivery, payment_reference, gateway_payment_method, gateway_customer, metadata::json, now() + named_ms * interval '1 ms',
            document::jsonb, wanted_at, CASE WHEN held_until > now() THEN held_until END, left_out::json
        FROM input WHERE channel IS NULL OR order_id IN (SELECT named FROM called)
        ON CONFLICT DO NOTHING
        RETURNING order_id
        "#,
        &ids,
        &elsewhere,
        &channels as &[Option<String>],
        &order_ids as &[Option<String>],
        &contents as &[Option<Vec<u8>>],
        &handovers,
        &imported as &[Option<String>],
        &expire as &[Option<OffsetDateTime>],
        &on_delivery,
        &references as &[Option<&str>],
        &methods as &[Option<&str>],
        &customers as &[Option<&str>],
        &metadata as &[Option<&str>],
        &named_ms as &[Option<i64>],
        &documents as &[Option<String>],
        &wanted as &[Option<OffsetDateTime>],
        &held as &[Option<OffsetDateTime>],
        &scopes as &[Option<String>],
        &left_out as &[Option<String>],
    )
    .fetch_all(conn)
    .await?;
    Ok(described.into_iter().collect())
}

/// The statement of `plain.rs`, for orders of which some have amounts beside their lines, and for some of which nothing is
/// charged: those are confirmed from the start, with the kitchen's deadline, and have a payment that nobody will claim. The charge of one
/// for later is held until its time comes, and does not enter the queue before. What is there already is passed over.
async fn insert_orders(
    conn: &mut PgConnection,
    batch: &[&Accept],
    due_in: Duration,
) -> sqlx::Result<Written> {
    let columns = Columns::of(batch.iter().copied());
    let uncharged = || batch.iter().map(|one| one.order.uncharged());
    let accept_in: Vec<Option<i64>> =
        uncharged().map(|one| one.map(|one| crate::millis(one.accept_in))).collect();
    let own_accept_in = batch.iter().map(|one| one.order.accept_in.map(crate::millis));
    let own_accept_in: Vec<Option<i64>> = own_accept_in.collect();
    let times = || batch.iter().map(|one| one.order.details.as_ref());
    let held: Vec<Option<OffsetDateTime>> = times().map(|one| one?.held_until).collect();
    let expire: Vec<Option<OffsetDateTime>> = times().map(|one| one?.expires_at).collect();
    let locations: Vec<&str> = batch.iter().map(|one| one.order.location()).collect();
    let stocked: Vec<Option<bool>> =
        batch.iter().map(|one| (!one.order.takes.is_empty()).then_some(true)).collect();
    let kinds: Vec<Option<PaymentKind>> = uncharged().map(|one| Some(one?.because.into())).collect();
    let adjustments = batch.iter().map(|one| {
        let adjustments = &one.order.details.as_ref()?.adjustments;
        (!adjustments.is_empty()).then(|| serde_json::to_string(adjustments))
    });
    let adjustments: Vec<Option<String>> = adjustments
        .map(Option::transpose)
        .collect::<Result<_, _>>()
        .map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query_as!(
        Written,
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                                 $7::text[], $8::bytea[], $9::bigint[], $10::bigint[], $12::payment_kind[], $13::text[],
                                 $14::bigint[], $15::text[], $16::timestamptz[], $17::timestamptz[], $18::bool[])
                AS input(id, total_minor, currency, customer_id, items, principal, key, request_hash, keep_ms, accept_ms,
                         kind, adjustments, own_accept_ms, location, held_until, expires_at, stocked)
        ), keyed AS (
            INSERT INTO names (named, until, kind, scope, name, hash)
            SELECT id, now() + keep_ms * interval '1 ms', 'idempotency_key', principal, key, request_hash
            FROM input WHERE key IS NOT NULL ORDER BY principal, key
            ON CONFLICT (kind, scope, name) DO NOTHING
            RETURNING named
        ), fresh AS (
            -- The kitchen's time counts from when the order is put before it.
            SELECT *, CASE WHEN held_until > now() THEN held_until END AS waits_until,
                greatest(now(), held_until) + accept_ms * interval '1 ms' AS accept_by FROM input
            WHERE key IS NULL OR id IN (SELECT named FROM keyed)
        ), ordered AS (
            INSERT INTO orders (id, total_minor, created_at, updated_at, accept_by, version, status, currency, customer_id,
                                location, stocked)
            SELECT id, total_minor, now(), now(), accept_by, 1,
                CASE WHEN kind IS NULL THEN 'PENDING' ELSE 'CONFIRMED' END::order_status, currency, customer_id, location,
                stocked
            FROM fresh
            ON CONFLICT DO NOTHING
            RETURNING id, total_minor, created_at, accept_by, status, currency
        ), paid AS (
            INSERT INTO payments (id, order_id, amount_minor, created_at, answer_by, kind, status, currency)
            SELECT o.id, o.id, o.total_minor, o.created_at, o.accept_by, f.kind,
                CASE WHEN f.kind = 'on_delivery' THEN 'due' ELSE 'succeeded' END::payment_status, o.currency
            FROM ordered o JOIN fresh f ON f.id = o.id WHERE f.kind IS NOT NULL
        ), charged AS (
            INSERT INTO open_charges (id, amount_minor, created_at, due_at, currency, accept_ms)
            SELECT o.id, o.total_minor, o.created_at, o.created_at + $11::bigint * interval '1 ms', o.currency, f.own_accept_ms
            FROM ordered o JOIN fresh f ON f.id = o.id WHERE o.status = 'PENDING' AND f.waits_until IS NULL
        ), held AS (
            INSERT INTO payments (id, order_id, amount_minor, created_at, expires_at, held_until, kind, status, currency)
            SELECT o.id, o.id, o.total_minor, o.created_at, f.expires_at, f.waits_until, 'charge', 'held', o.currency
            FROM ordered o JOIN fresh f ON f.id = o.id WHERE o.status = 'PENDING' AND f.waits_until IS NOT NULL
        ), noted AS (
            INSERT INTO order_events (subject, at, amount_minor, version, what, to_status, actor, reason, items, adjustments)
            SELECT id, now(), total_minor, 1, 'accepted',
                CASE WHEN kind IS NULL THEN 'PENDING' ELSE 'CONFIRMED' END::order_status, 'api',
                CASE WHEN kind = 'elsewhere' THEN 'paid_elsewhere' ELSE kind::text END, items::json, adjustments::json
            FROM fresh
            ON CONFLICT DO NOTHING
        )
        SELECT now() AS "at!", ARRAY(SELECT id FROM ordered) AS only
        "#,
        &columns.ids,
        &columns.totals,
        &columns.currencies as &[&str],
        &columns.customers as &[&str],
        &columns.items as &[&str],
        &columns.principals as &[Option<&str>],
        &columns.keys as &[Option<&str>],
        &columns.hashes as &[Option<&[u8]>],
        &columns.keeps as &[Option<i64>],
        &accept_in as &[Option<i64>],
        crate::millis(due_in),
        &kinds as &[Option<PaymentKind>],
        &adjustments as &[Option<String>],
        &own_accept_in as &[Option<i64>],
        &locations as &[&str],
        &held as &[Option<OffsetDateTime>],
        &expire as &[Option<OffsetDateTime>],
        &stocked as &[Option<bool>],
    )
    .fetch_one(conn)
    .await
}
