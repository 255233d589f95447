//! The work behind a request that asks the database itself.

use runtime::tasks::uncancelled;

use crate::http::error::ApiError;

/// Runs `work` to its end even if the client hangs up meanwhile. A panic in it is a fault of ours.
pub(crate) async fn to_the_end<T, E>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, ApiError>
where
    T: Send + 'static,
    E: Into<ApiError> + Send + 'static,
{
    match uncancelled(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(panic) => Err(ApiError::internal(&format!("{panic:#}"))),
    }
}
