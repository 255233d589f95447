//! A document that cannot be taken is kept, so that nothing is lost that a channel sent; and its platform is answered as it needs.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::channel::settings::Dialect;
use domain::problems::Problem;

use super::Sent;
use super::cancel::{cancel, read_off, seen_to};
use crate::http::error::ApiError;
use crate::orders::read::decisive;
use crate::state::AppState;

/// From the start, so that the first one is seen as one.
pub(crate) fn show_counters() {
    for dialect in Dialect::ALL {
        metrics::counter!("accept_refused_documents_total", "dialect" => dialect.name()).increment(0);
    }
}

/// Keeps a document, even one that nobody can read, and answers. A platform that would only send it again, and in the end send nothing
/// more, is told that it was received; where `is_signed` says that it was the platform that sent it.
pub(super) async fn keep(
    state: &AppState,
    from: Sent,
    document: Vec<u8>,
    refused: ApiError,
    is_signed: bool,
) -> Result<Response, ApiError> {
    let Some(problems) = refused.refusal() else { return Err(refused) };
    let settings = from.settings.unwrap_or_default();
    let dialect = settings.dialect;
    metrics::counter!("accept_refused_documents_total", "dialect" => dialect.name()).increment(1);
    let (channel, by, paid) = (from.channel, from.by, from.paid == Some(true));
    let off = refused.has("no_such_order").then(|| read_off(&document, &settings)).flatten();
    let mut problems = problems.to_vec();
    if problems.is_empty() {
        let detail = "is not JSON".to_owned();
        problems.push(Problem { code: "unreadable", detail, attr: "body".to_owned() });
    }
    // On a connection for what decides: seldom, and the answer is to be true when it says that it is kept.
    let (calls_off, of) = (off.as_ref().map(|off| off.order_id.clone()), channel.clone());
    let kept = decisive(state.clone(), move |conn| {
        Box::pin(async move {
            store::refused::keep(conn, &of, &document, paid, calls_off.as_deref(), &problems).await
        })
    });
    let kept = kept.await;
    // Its order may have come meanwhile, and have looked for this in vain: one of both finds the other.
    if let (Ok(id), Some(off)) = (&kept, off)
        && let Ok(done) = cancel(state, channel.clone(), off, by).await
    {
        seen_to(state, channel, *id).await;
        return Ok(done);
    }
    match kept {
        Ok(_) if is_signed && dialect.only_repeats() => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(_) => Err(refused),
        // It is to come again, and to be kept then.
        Err(error) if error.is_passing() => Err(error),
        Err(error) => {
            tracing::error!(cause = error.cause.as_deref(), "a refused document could not be kept");
            Err(refused)
        }
    }
}
