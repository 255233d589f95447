//! The work behind a request that asks the database itself.

use runtime::tasks::uncancelled;

use crate::http::error::ApiError;

/// Runs `work` to its end even if the client hangs up meanwhile. A panic in it is a fault of ours.
pub(crate) fn to_the_end<T, E>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> impl Future<Output = Result<T, ApiError>> + Send
where
    T: Send + 'static,
    E: Into<ApiError> + Send + 'static,
{
    // In a place of its own, before anybody awaits: what it takes to open a connection is 12 KB, and each request would have room for it
    // twice, whether it asks the database or not.
    let work = Box::pin(work);
    async move {
        match uncancelled(work).await {
            Ok(done) => done.map_err(Into::into),
            Err(panic) => Err(ApiError::internal(&format!("{panic:#}"))),
        }
    }
}
