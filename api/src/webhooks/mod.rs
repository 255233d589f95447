//! `/webhooks`: who is told of what happens, set by managers for their locations. What is sent is sent by the follower.

pub(crate) mod deliveries;
mod theirs;
mod view;

use anyhow::{Context, Result as Anyhow, ensure};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as B64;
use domain::channel::name::ChannelName;
use domain::location::is_id;
use domain::told::{MAX_WANTED, Payload, Wanted};
use reqwest::Url;
use sqlx::PgConnection;
use store::Database;
use store::webhooks::{self, MAX_WEBHOOKS, Webhook};
use time::OffsetDateTime;
use uuid::Uuid;

use self::theirs::{all_locations, has_all, oversees};
use self::view::{NewSecret, NewWebhookBody, WebhookBody, WebhookView, WebhookWithSecret, WebhooksView};
use crate::http::error::{ApiError, ProblemBody};
use crate::http::fields::Fields;
use crate::http::problems::{BadBody, Faults, ManagersOnly};
use crate::http::work::to_the_end;
use crate::identity::Identity;
use crate::identity::caller::Keeper;
use crate::identity::key_file::random;
use crate::identity::secrets::{Secrets, Unsealed, webhook as purpose_of};
use crate::state::AppState;

/// Longest address.
pub(crate) const MAX_URL: usize = 2_000;
/// Locations, and channels, that a choice may name.
const MAX_NAMES: usize = 100;
/// Tries of a change that others are changing, too.
const TRIES: usize = 5;

/// Make a webhook.
///
/// The secret is shown this once. What happens from now on is sent to it.
#[utoipa::path(
    post, path = "/api/v1/webhooks", tag = "webhooks", operation_id = "make_webhook",
    request_body = NewWebhookBody,
    responses(
        (status = 201, description = "Made", body = WebhookWithSecret),
        (status = 409, description = "`too_many`: there are 1,000", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is missing, not valid or not known. What its schema cannot say: `url` is no address, or one with a name, a password or a # (`no_url`); nothing of that type happens (`unknown_type`); a location is none of the caller's (`unknown_location`); a name has what nobody sees, or spaces at its ends (`invisible_character`); or there is no key that secrets could be sealed with (`no_key`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn make(
    State(state): State<AppState>,
    by: Keeper,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of(&headers, body, &state.room).await?;
    let url = fields.text("url", MAX_URL);
    let url = url.map(|url| address(&mut fields, "url", url));
    let chosen = Chosen::read(&mut fields, &by);
    fields.finish()?;
    let id = Uuid::now_v7();
    let (secret, sealed) = new_secret(&state.identity, id)?;
    let mut new = Webhook {
        id,
        url: url.unwrap_or_default(),
        types: chosen.types.unwrap_or_default(),
        locations: chosen.locations.unwrap_or_else(|| all_locations(&by)),
        channels: chosen.channels.unwrap_or_default(),
        with_order: false,
        with_handover: false,
        secrets: vec![sealed],
        created_at: OffsetDateTime::UNIX_EPOCH,
        updated_at: OffsetDateTime::UNIX_EPOCH,
        created_by: by.id().to_owned(),
        disabled_at: None,
        because: None,
        failing_since: None,
        platform: None,
        dialect: None,
    };
    new.set_payload(chosen.payload.unwrap_or_default());
    let made = to_the_end(async move {
        let mut conn = state.reads.deciding().await?;
        if !webhooks::insert(&mut conn, &new).await? {
            return Ok(None);
        }
        webhooks::find(&mut conn, id).await
    });
    let made: Option<Webhook> = made.await?;
    let too_many = || ApiError::taken("url", "too_many", &format!("there are {MAX_WEBHOOKS} webhooks"));
    let made = made.ok_or_else(too_many)?;
    let webhook = WebhookView::from(made);
    Ok((StatusCode::CREATED, Json(WebhookWithSecret { webhook, secret })).into_response())
}

/// List webhooks.
#[utoipa::path(
    get, path = "/api/v1/webhooks", tag = "webhooks", operation_id = "list_webhooks",
    responses((status = 200, description = "Those of the caller's locations, oldest first", body = WebhooksView), ManagersOnly, Faults),
    security(("token" = []))
)]
pub(crate) async fn list(State(state): State<AppState>, by: Keeper) -> Result<Json<WebhooksView>, ApiError> {
    let all = to_the_end(async move {
        let mut conn = state.reads.deciding().await?;
        webhooks::list(&mut conn, true).await
    });
    let all: Vec<Webhook> = all.await?;
    let theirs = all.into_iter().filter(|webhook| oversees(&by, webhook)).map(WebhookView::from);
    Ok(Json(WebhooksView { webhooks: theirs.collect() }))
}

/// Read a webhook.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}", tag = "webhooks", operation_id = "read_webhook",
    params(("id" = String, Path, description = "The webhook's id")),
    responses(
        (status = 200, description = "The webhook, without its secrets", body = WebhookView),
        (status = 404, description = "There is no such webhook, or it is another location's", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn read(
    State(state): State<AppState>,
    by: Keeper,
    Path(id): Path<String>,
) -> Result<Json<WebhookView>, ApiError> {
    let id = parse_id(&id)?;
    to_the_end(async move {
        let mut conn = state.reads.deciding().await?;
        Ok::<_, ApiError>(Json(WebhookView::from(find(&mut conn, &by, id).await?)))
    })
    .await
}

/// Change a webhook.
///
/// What is left out stays. What happens while it is disabled is not sent later: `GET /events` has it.
#[utoipa::path(
    patch, path = "/api/v1/webhooks/{id}", tag = "webhooks", operation_id = "change_webhook",
    params(("id" = String, Path, description = "The webhook's id")),
    request_body = WebhookBody,
    responses(
        (status = 200, description = "As it is now", body = WebhookView),
        (status = 404, description = "There is no such webhook, or it is another location's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`set_with_channel`: it is a channel's platform", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is not valid or not known. What its schema cannot say: `url` is no address, or one with a name, a password or a # (`no_url`); nothing of that type happens (`unknown_type`); a location is none of the caller's (`unknown_location`); a name has what nobody sees, or spaces at its ends (`invisible_character`)", body = ProblemBody, content_type = "application/problem+json"),
        BadBody, ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn change(
    State(state): State<AppState>,
    by: Keeper,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<WebhookView>, ApiError> {
    let id = parse_id(&id)?;
    let mut fields = Fields::of(&headers, body, &state.room).await?;
    let url = fields.optional_text("url", MAX_URL);
    let url = url.map(|url| address(&mut fields, "url", url));
    let chosen = Chosen::read(&mut fields, &by);
    let disabled = fields.flag("disabled");
    fields.finish()?;
    let says_more = url.is_some() || chosen.is_some();
    let changed = changed(&state, by, id, move |webhook| {
        if says_more {
            expect_own(webhook)?;
        }
        let Chosen { types, locations, channels, payload } = chosen.clone();
        webhook.set_payload(payload.unwrap_or_else(|| webhook.payload()));
        webhook.url = url.clone().unwrap_or_else(|| std::mem::take(&mut webhook.url));
        webhook.types = types.unwrap_or_else(|| std::mem::take(&mut webhook.types));
        webhook.locations = locations.unwrap_or_else(|| std::mem::take(&mut webhook.locations));
        webhook.channels = channels.unwrap_or_else(|| std::mem::take(&mut webhook.channels));
        match disabled {
            // Also of one that is so because it failed: nobody minds it any more.
            Some(true) => {
                webhook.disabled_at = webhook.disabled_at.or_else(|| Some(OffsetDateTime::now_utc()));
                webhook.because = Some("told".to_owned());
            }
            Some(false) => (webhook.disabled_at, webhook.because) = (None, None),
            _ => {}
        }
        Ok(())
    });
    Ok(Json(WebhookView::from(changed.await?)))
}

/// Replace a webhook's secret.
///
/// The one before stays good until the next replacement: what is sent is signed with both, so that the receiver can take up
/// the new one at a time of its own.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/secrets", tag = "webhooks", operation_id = "replace_webhook_secret",
    params(("id" = String, Path, description = "The webhook's id")),
    responses(
        (status = 201, description = "Made. The secret is shown this once", body = NewSecret),
        (status = 404, description = "There is no such webhook, or it is another location's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`set_with_channel`: it is a channel's platform", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn replace_secret(
    State(state): State<AppState>,
    by: Keeper,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    let (secret, sealed) = new_secret(&state.identity, id)?;
    let replaced = changed(&state, by, id, move |webhook| {
        expect_own(webhook)?;
        webhook.secrets.insert(0, sealed.clone());
        webhook.secrets.truncate(2);
        Ok(())
    });
    replaced.await?;
    Ok((StatusCode::CREATED, Json(NewSecret { secret })).into_response())
}

/// Remove a webhook.
///
/// Nothing more is sent to it.
#[utoipa::path(
    delete, path = "/api/v1/webhooks/{id}", tag = "webhooks", operation_id = "remove_webhook",
    params(("id" = String, Path, description = "The webhook's id")),
    responses(
        (status = 204, description = "Removed"),
        (status = 404, description = "There is no such webhook, or it is another location's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`set_with_channel`: it is a channel's platform", body = ProblemBody, content_type = "application/problem+json"),
        ManagersOnly, Faults,
    ),
    security(("token" = []))
)]
pub(crate) async fn remove(
    State(state): State<AppState>,
    by: Keeper,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = parse_id(&id)?;
    to_the_end(async move {
        let mut conn = state.reads.deciding().await?;
        expect_own(&find(&mut conn, &by, id).await?)?;
        webhooks::remove(&mut conn, id).await?;
        Ok::<_, ApiError>(StatusCode::NO_CONTENT)
    })
    .await
}

fn parse_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| ApiError::not_found("webhook"))
}

/// One that is theirs.
async fn find(conn: &mut PgConnection, by: &Keeper, id: Uuid) -> Result<Webhook, ApiError> {
    let found = webhooks::find(conn, id).await?;
    found.filter(|webhook| oversees(by, webhook)).ok_or_else(|| ApiError::not_found("webhook"))
}

/// Whether it is set here, and not with a channel.
fn expect_own(webhook: &Webhook) -> Result<(), ApiError> {
    match &webhook.platform {
        None => Ok(()),
        Some(channel) => {
            let detail = format!("it is the platform of the channel {channel}, and set with that one");
            Err(ApiError::taken("id", "set_with_channel", &detail))
        }
    }
}

/// Changes one that is theirs, as whoever changes it at the same time left it.
async fn changed(
    state: &AppState,
    by: Keeper,
    id: Uuid,
    change: impl Fn(&mut Webhook) -> Result<(), ApiError> + Send + Sync + 'static,
) -> Result<Webhook, ApiError> {
    let reads = std::sync::Arc::clone(&state.reads);
    to_the_end(async move {
        let mut conn = reads.deciding().await?;
        for _ in 0..TRIES {
            let mut webhook = find(&mut conn, &by, id).await?;
            change(&mut webhook)?;
            if webhooks::update(&mut conn, &webhook).await? {
                return find(&mut conn, &by, id).await;
            }
        }
        Err(ApiError::unavailable("others are just changing this webhook"))
    })
    .await
}

/// A secret as its receiver is given it, and as it is kept.
fn new_secret(identity: &Identity, id: Uuid) -> Result<(String, Vec<u8>), ApiError> {
    let bytes = random::<32>().map_err(|error| ApiError::internal(&error))?;
    let secret = format!("whsec_{}", B64.encode(bytes));
    let sealed =
        identity.secrets().seal(&purpose_of(&id.to_string(), None), &secret).map_err(|why| match why {
            Unsealed::NoKeys => ApiError::invalid_one("secret", "no_key", why.to_string()),
            _ => ApiError::internal(&why),
        })?;
    Ok((secret, sealed))
}

/// An address that can be sent to, as it is kept. Where it leads is looked at when it is connected to.
pub(crate) fn address(fields: &mut Fields, name: &str, text: String) -> String {
    let url = Url::parse(&text).ok().filter(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    });
    if url.is_none() {
        let detail =
            "must be an address such as https://example.com/orders, without a name, a password or a #";
        fields.add(name, "no_url", detail);
    }
    url.map_or(text, String::from)
}

/// What its secrets are sealed for.
fn purpose(webhook: &Webhook) -> String {
    purpose_of(&webhook.id.to_string(), webhook.platform.as_deref())
}

/// What stands in the way of opening the webhooks' secrets, where there are any.
pub(crate) async fn expect_keys(database: &Database, secrets: &Secrets) -> Anyhow<()> {
    let all =
        webhooks::list(&mut database.connect().await?, true).await.context("cannot read the webhooks")?;
    for webhook in all {
        for sealed in &webhook.secrets {
            let opened = secrets.unseal(&purpose(&webhook), sealed);
            opened.with_context(|| format!("webhook {} has a secret that cannot be opened", webhook.id))?;
        }
    }
    Ok(())
}

/// Seals every secret anew with the newest of these keys.
pub(crate) async fn reseal(conn: &mut PgConnection, keys: &Secrets) -> Anyhow<()> {
    for mut webhook in webhooks::list(conn, true).await? {
        let purpose = purpose(&webhook);
        let again =
            |one: &Vec<u8>| keys.unseal(&purpose, one).and_then(|secret| keys.seal(&purpose, &secret));
        let sealed: Result<Vec<_>, _> = webhook.secrets.iter().map(again).collect();
        webhook.secrets = sealed.with_context(|| format!("the secrets of webhook {}", webhook.id))?;
        let done = webhooks::update(conn, &webhook).await?;
        ensure!(done, "somebody is just changing webhook {}: run this again", webhook.id);
    }
    Ok(())
}

/// What is chosen, as far as it is named.
#[derive(Debug, Clone)]
struct Chosen {
    types: Option<Vec<String>>,
    locations: Option<Vec<String>>,
    channels: Option<Vec<String>>,
    payload: Option<Payload>,
}

impl Chosen {
    const fn is_some(&self) -> bool {
        self.types.is_some() || self.locations.is_some() || self.channels.is_some() || self.payload.is_some()
    }

    fn read(fields: &mut Fields, by: &Keeper) -> Self {
        let types = fields.texts("types", MAX_WANTED, 100);
        if let Some(Err(unknown)) =
            types.as_ref().map(|types| Wanted::parse(types.iter().map(String::as_str)))
        {
            let known: Vec<&str> = domain::told::types().collect();
            let unknown =
                format!("{unknown} is none of {}, nor what one of them begins with", known.join(", "));
            fields.add("types", "unknown_type", unknown);
        }
        let locations = fields.texts("locations", MAX_NAMES, 50);
        let locations = locations.map(|named| if named.is_empty() { all_locations(by) } else { named });
        if locations.as_ref().is_some_and(|named| !has_all(by, named) || !named.iter().all(|id| is_id(id))) {
            fields.add("locations", "unknown_location", "must be locations of yours");
        }
        let channels = fields.texts("channels", MAX_NAMES, 50);
        let channels = channels.map(|named| {
            let mut channels = Vec::new();
            for (index, name) in named.iter().enumerate() {
                match ChannelName::parse(name) {
                    Ok(channel) => channels.push(channel.as_str().to_owned()),
                    Err((code, detail)) => fields.add(&format!("channels[{index}]"), code, detail),
                }
            }
            channels
        });
        let payload = fields.optional_text("payload", 50).and_then(|name| {
            let known = Payload::of_name(&name);
            if known.is_none() {
                let all: Vec<_> = Payload::ALL.into_iter().map(Payload::name).collect();
                fields.add("payload", "unknown_payload", format!("must be one of {}", all.join(", ")));
            }
            known
        });
        Self { types, locations, channels, payload }
    }
}
