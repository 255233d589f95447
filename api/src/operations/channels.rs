//! `GET`, `PUT` and `DELETE /internal/channels/{channel}`: how a channel speaks, and the secrets that it signs with, which can
//! be set and never read. On the operators' address only.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use anyhow::{Context, Result, ensure};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use domain::channel::dialect::Dialect;
use domain::channel::name::ChannelName;
use domain::channel::settings::{
    ChannelSettings, MAX_DIGITS, MAX_LOCATIONS, MAX_SECRETS, MAX_UNIQUE_DAYS, SECRET_CHARS, Unit,
};
use domain::limits::MAX_ID_CHARS;
use domain::money::{currency_of, decimal_places};
use serde::Serialize;
use store::Database;
use store::channels::{self, Channel};
use store::session::StoreError;
use store::webhooks::{self, Webhook};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::http::body;
use crate::http::channel::channel_name;
use crate::http::error::ApiError;
use crate::http::fields::Fields;
use crate::http::work::to_the_end;
use crate::identity::caller::Manager;
use crate::identity::secrets::{self, Secrets, Unsealed, purpose_of};
use crate::operations::platforms::{self, Back, Set};
use crate::operations::state::Internal;

/// What is set for a channel.
#[derive(Debug, Serialize)]
pub(crate) struct ChannelView {
    channel: ChannelName,
    dialect: &'static str,
    currency: Option<&'static str>,
    /// `decimals` or `minor`; null: as the dialect has it.
    unit: Option<&'static str>,
    /// Of amounts in minor units: how many digits stand behind the point.
    digits: Option<u8>,
    /// For how many days its numbers stay unique; null: for good.
    unique_days: Option<u16>,
    /// Its names for locations, and ours.
    locations: BTreeMap<String, String>,
    /// `by_plu`: its plus name products of the catalogue, whose stock its orders take; null: it takes none.
    products: Option<&'static str>,
    /// Where its signature is to stand.
    signature_header: &'static str,
    /// How many secrets it may sign with; what they are is not shown.
    secrets: usize,
    /// Where its platform is told what becomes of its orders; null: nowhere.
    status_url: Option<String>,
    /// The webhook under which that is to be looked at.
    status_webhook: Option<Uuid>,
    #[serde(with = "crate::http::times")]
    updated_at: OffsetDateTime,
    updated_by: String,
}

impl ChannelView {
    fn new(channel: ChannelName, row: Channel, platform: Option<Webhook>) -> Self {
        let Channel { settings, secrets, updated_at, updated_by } = row;
        let (unit, digits) = match settings.unit {
            Unit::Dialects => (None, None),
            Unit::Decimals => (Some("decimals"), None),
            Unit::Minor(digits) => (Some("minor"), Some(digits)),
        };
        Self {
            channel,
            dialect: settings.dialect.name(),
            currency: settings.currency.map(|currency| currency.code()),
            unit,
            digits,
            unique_days: settings.unique_days,
            locations: settings.locations,
            products: settings.products_by_plu.then_some("by_plu"),
            signature_header: settings.dialect.signature().header,
            secrets: secrets.len(),
            status_webhook: platform.as_ref().map(|webhook| webhook.id),
            status_url: platform.map(|webhook| webhook.url),
            updated_at,
            updated_by,
        }
    }
}

/// What is set for a channel.
pub(super) async fn read(
    State(state): State<Internal>,
    _: Manager,
    Path(channel): Path<String>,
) -> Result<Json<ChannelView>, ApiError> {
    let channel = channel_name(&channel)?;
    let view = to_the_end(async move {
        let mut conn = state.readers.acquire().await?;
        let found = channels::find(&mut conn, &channel).await?;
        let platform = webhooks::platform(&mut conn, &channel).await?;
        Ok::<_, sqlx::Error>(found.map(|row| ChannelView::new(channel, row, platform)))
    });
    view.await?.map(Json).ok_or_else(|| ApiError::not_found("channel with settings"))
}

/// Sets it as a whole, and shows it. Secrets stay as they are where none are named.
pub(super) async fn replace(
    State(state): State<Internal>,
    by: Manager,
    Path(channel): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ChannelView>, ApiError> {
    let channel = channel_name(&channel)?;
    let body = body::read_json(&headers, body, &state.room).await?;
    let (settings, secrets, back) = parse(&body)?;
    let seal = |secret: &String| state.identity.secrets().seal(&purpose_of(channel.as_str()), secret);
    let secrets: Option<Result<Vec<Vec<u8>>, _>> = secrets.map(|all| all.iter().map(seal).collect());
    let secrets = secrets.transpose().map_err(|why| match why {
        Unsealed::NoKeys => ApiError::invalid_one("secrets", "no_key", why.to_string()),
        _ => ApiError::internal(&why),
    })?;
    let back = back.map(|back| back.seal(state.identity.secrets(), &channel)).transpose()?;
    let input = Set { channel, settings, secrets, back, by: by.name() };
    let view = to_the_end(async move {
        let mut session = state.session.lock().await;
        let done = session.run(&input, |conn, input| Box::pin(platforms::set(conn, input))).await?;
        let view = done.map(|(row, platform)| ChannelView::new(input.channel, row, platform));
        Ok::<_, StoreError>(view)
    });
    let without_secret =
        || ApiError::invalid_one("status_secret", "required", "is required where there is none yet");
    view.await?.map(Json).ok_or_else(without_secret)
}

/// Nothing is set for the channel any more: it speaks the plain dialect, to those who show a token.
pub(super) async fn remove(
    State(state): State<Internal>,
    _: Manager,
    Path(channel): Path<String>,
) -> Result<StatusCode, ApiError> {
    let channel = channel_name(&channel)?;
    let gone = to_the_end(async move {
        let mut session = state.session.lock().await;
        session.run(&channel, |conn, channel| Box::pin(platforms::remove(conn, channel))).await
    });
    if gone.await? { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::not_found("channel with settings")) }
}

/// How it speaks; what it signs with, and how it is told, where that is to change.
type Wanted = (ChannelSettings, Option<Vec<String>>, Option<Back>);

/// `{dialect, currency?, unit?, digits?, unique_days?, locations?, products?, secrets?, status_url?, status_secret?}`
fn parse(body: &[u8]) -> Result<Wanted, ApiError> {
    let mut fields = Fields::read(body)?;
    let dialect = fields.text("dialect", 50).and_then(|name| {
        let known = Dialect::of_name(&name.to_lowercase());
        if known.is_none() {
            let all: Vec<_> = Dialect::ALL.into_iter().map(Dialect::name).collect();
            fields.add("dialect", "unknown_dialect", format!("must be one of {}", all.join(", ")));
        }
        known
    });
    let currency = fields.optional_text("currency", 50).and_then(|code| {
        let known = currency_of(&code.to_uppercase());
        if known.is_none() {
            fields.add(
                "currency",
                "unknown_currency",
                "must be the ISO 4217 code of money that one can pay with",
            );
        }
        known
    });
    let digits = fields.number("digits", 0..=MAX_DIGITS.into());
    let digits = digits.and_then(|digits| u8::try_from(digits).ok());
    let unit = match (fields.optional_text("unit", 50).as_deref(), digits) {
        (None, None) => Unit::Dialects,
        (Some("decimals"), None) => Unit::Decimals,
        (Some("minor"), digits) => match digits.or_else(|| u8::try_from(decimal_places(currency?)).ok()) {
            Some(digits) => Unit::Minor(digits),
            None => {
                fields.add("digits", "required", "is required where there is no currency to tell");
                Unit::Dialects
            }
        },
        (Some("decimals") | None, Some(_)) => {
            fields.add("digits", "conflict", "is for amounts in minor units: set unit to minor");
            Unit::Dialects
        }
        (Some(_), _) => {
            fields.add("unit", "unknown_unit", "must be decimals or minor");
            Unit::Dialects
        }
    };
    let unique_days = fields.number("unique_days", 1..=MAX_UNIQUE_DAYS.into());
    let unique_days = unique_days.and_then(|days| u16::try_from(days).ok());
    let locations = fields.pairs("locations", MAX_LOCATIONS, MAX_ID_CHARS).unwrap_or_default();
    let products = fields.optional_text("products", 50);
    let products_by_plu = products.as_deref() == Some("by_plu");
    if products.is_some() && !products_by_plu {
        fields.add("products", "unknown_products", "must be by_plu, or left out");
    }
    let secrets = fields.texts("secrets", MAX_SECRETS, *SECRET_CHARS.end());
    for (index, secret) in secrets.iter().flatten().enumerate() {
        if !SECRET_CHARS.contains(&secret.chars().count()) {
            let detail = format!("must have {} characters or more", SECRET_CHARS.start());
            fields.add(&format!("secrets[{index}]"), "too_short", detail);
        }
    }
    let back = Back::read(&mut fields, dialect);
    fields.finish()?;
    let dialect = dialect.unwrap_or_default();
    let settings = ChannelSettings { dialect, currency, unit, unique_days, locations, products_by_plu };
    Ok((settings, secrets, back))
}

/// What stands in the way of opening the channels' secrets, where they have any.
pub async fn expect_keys(database: &Database, secrets: &Secrets) -> Result<()> {
    let all = channels::sealed(&mut database.connect().await?).await.context("cannot read the channels")?;
    for (channel, sealed) in all {
        for one in sealed {
            let opened = secrets.unseal(&purpose_of(&channel), &one);
            opened.with_context(|| format!("channel {channel} has a secret that cannot be opened"))?;
        }
    }
    crate::webhooks::expect_keys(database, secrets).await
}

/// Seals every secret anew with the newest key of this file, and forgets older keys. Says of how many channels.
pub async fn reseal(database: &Database, file: &FilePath) -> Result<usize> {
    let keys = Secrets::open(Some(file))?;
    let mut conn = database.connect().await.context("cannot reach the database")?;
    let all = channels::sealed(&mut conn).await?;
    let count = all.len();
    for (channel, was) in all {
        let purpose = purpose_of(&channel);
        let again =
            |one: &Vec<u8>| keys.unseal(&purpose, one).and_then(|secret| keys.seal(&purpose, &secret));
        let sealed: Result<Vec<_>, _> = was.iter().map(again).collect();
        let sealed = sealed.with_context(|| format!("the secrets of channel {channel}"))?;
        let done = channels::reseal(&mut conn, &channel, &was, &sealed).await?;
        ensure!(done, "somebody is just setting channel {channel} anew: run this again");
    }
    crate::webhooks::reseal(&mut conn, &keys).await?;
    secrets::forget_old(file)?;
    Ok(count)
}
